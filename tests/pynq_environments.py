"""Environments with each supported pynq, and one with an ssh server, made once and kept
beside .venv.

pynq wants numpy below 2 and an old pycparser, which the project's own environment can't have; and
one process can import one pynq alone. So each version gets an environment of its own, pinned to
the last package, and runs the driver's tests in a process of its own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from deploy.durable import locked

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.0.1", "3.1.2", "4.0.0")

DRIVER_TESTS = [
    f"tests/test_deploy_{name}.py"
    for name in (
        *("virtual_board", "virtual_board_faults", "virtual_board_measurement"),
        *("virtual_board_pynq_users", "commands", "records", "transfers", "board_image"),
    )
]
"""What runs in each of these environments: they need pynq, numpy and pytest alone."""


def requirements_of(version: str) -> str:
    """The pinned packages of one environment, one a line."""
    return f"pynq=={version}\n" + pins_of("pynq_requirements.txt")


def pins_of(name: str) -> str:
    """The pinned packages in a file beside this one, one a line."""
    lines = (ROOT / "tests" / name).read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))


def environment_of(version: str) -> Path:
    """The Python of the environment with this pynq."""
    return make_environment(f"pynq-{version}", requirements_of(version))


def finn_driver_environment() -> Path:
    """The Python of the environment with finn-plus-driver."""
    more = pins_of("finn_driver_requirements.txt")
    return make_environment("finn-driver", requirements_of("3.1.2") + more)


def ssh_environment() -> Path:
    """The Python of the environment with an ssh server."""
    return make_environment(
        "ssh",
        "asyncssh==2.24.1\ncryptography==50.0.2\ncffi==2.1.1\n"
        "pycparser==2.23\ntyping_extensions==4.16.0\n",
    )


def own_environ() -> dict[str, str]:
    """The environment variables without those that let another pynq in."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def make_environment(name: str, wanted: str) -> Path:
    """The environment's Python, the environment made or made anew where its pins have changed.

    Raises:
        subprocess.CalledProcessError: pip can't install it.
    """
    folder = ROOT / f".venv-{name}"
    python, stamp = folder / "bin" / "python", folder / ".made-from"
    digest = hashlib.sha256((wanted + sys.version).encode()).hexdigest()
    with locked(ROOT / f".venv-{name}.lock", wait=True):
        if not stamp.exists() or stamp.read_text() != digest:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            listing = folder / "requirements.txt"
            listing.write_text(wanted)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(listing)]
            subprocess.run([*pip, "--disable-pip-version-check"], check=True)
            stamp.write_text(digest)
    return python
