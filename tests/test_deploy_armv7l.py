"""The driver's tests under the Python of a Zynq-7000's processor, by qemu's user emulation.

Debian's Python 3.11 and numpy 1.24 for armhf stand for the image's; pynq is the one of the
environment with 3.1.2, but for its compiled packages.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from debian_packages import NoMirror, unpacked
from pynq_environments import (
    DRIVER_TESTS,
    ROOT,
    environment_of,
    own_environ,
    requirements_of,
)

DEBIAN = (
    *("python3-numpy", "python3-cffi", "python3-distutils", "python3-psutil"),
    *("python3-ply", "libmagic1"),
)
COMPILED = ("pydantic_core", "rpds-py")
"""What has wheels for armv7l."""


@pytest.mark.nightly
def test_the_driver_passes_its_tests_on_armv7l() -> None:
    try:
        host = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        qemu = unpacked("qemu", ["qemu-user-static"], host, with_dependencies=False)
        root = unpacked("armhf", DEBIAN, "armhf")
    except (NoMirror, KeyError) as error:
        pytest.skip(f"no emulated armv7l here: {error}")
    libraries = root / "usr/lib/arm-linux-gnueabihf"
    searched = ":".join(str(libraries / part) for part in ("", "blas", "lapack"))
    python = [
        *(str(qemu / "usr/bin/qemu-arm-static"), "-L", str(root)),
        *("-E", f"LD_LIBRARY_PATH={searched}", "-E", f"PYTHONPATH={packages(root)}"),
        *(str(root / "usr/bin/python3.11"), "-W", "ignore"),
    ]
    shown = "import platform, numpy, pynq; print(platform.machine(), numpy.__version__)"
    assert re.match(r"armv7l 1\.24", run(python, "-c", shown).stdout)
    done = run(python, *("-m", "pytest", "-q", "-p", "no:cacheprovider"), *DRIVER_TESTS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) >= 80


def run(python: list[str], *arguments: str) -> subprocess.CompletedProcess:
    environ = {**own_environ(), "TESTED_PYTHON": shlex.join(python)}
    return subprocess.run(
        [*python, *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def packages(root: Path) -> str:
    """Where the emulated Python finds what Debian has not: compiled wheels, then links to pure
    packages of pynq's own environment."""
    wanted = requirements_of("3.1.2").splitlines()
    pins = [pin for pin in wanted if pin.split("==")[0] in COMPILED]
    compiled, pure = root / "compiled", root / "pure"
    if not compiled.exists():
        for_arm = ("--platform", "manylinux_2_17_armv7l", "--only-binary=:all:", "--no-deps")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        version = ("--python-version", "3.11", "--target", str(compiled))
        subprocess.run([*pip, *version, *for_arm, *pins], check=True)
    environment = environment_of("3.1.2").parent.parent
    pure.mkdir(exist_ok=True)
    (site,) = environment.glob("lib/python*/site-packages")
    debian = {path.name for path in (root / "usr/lib/python3/dist-packages").iterdir()}
    for path in site.iterdir():
        link, is_pure = pure / path.name, path.suffix != ".so" and not any(path.rglob("*.so"))
        if is_pure and path.name not in debian and not link.exists():
            link.symlink_to(path)
    return f"{compiled}:{pure}"
