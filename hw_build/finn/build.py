"""FINN's own flow to a bitstream: its code for our graph, then Vivado and Vitis HLS, if found.

Not yet run on Vivado by this project, as our own flow: what FINN does without a tool of the vendor
is run for real, the steps behind that have only been started on stand-ins.
"""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from deploy.errors import MachineError, UserError

from .flow import run_process

BOARDS = {
    "pynq_z1": "Pynq-Z1",
    "pynq_z2": "Pynq-Z2",
    "zcu104": "ZCU104",
    "ultra96": "Ultra96-V2",
    "kv260": "KV260_SOM",
}
"""FINN's names of our boards."""

HLS_TOOLS = ("vitis_hls", "vitis-run")  # the second from 2024.2 on
LIBRARY = "finn-hlslib"


def missing_for_bitstream() -> tuple[str, ...]:
    """What FINN's vendor steps need and this machine lacks, an item each; empty if all is there."""
    missing = []
    if shutil.which("vivado") is None:
        missing.append("no vivado on the PATH")
    if not os.environ.get("XILINX_VIVADO"):
        missing.append("XILINX_VIVADO is not set")
    if not any(shutil.which(tool) for tool in HLS_TOOLS):
        missing.append(f"no {' or '.join(HLS_TOOLS)} on the PATH")
    if not (_libraries() / LIBRARY).is_dir():
        missing.append(f"no {LIBRARY} in {_libraries()}")
    return tuple(missing)


def generate(folder: Path, board: str, clock_mhz: float, *, vendor: bool) -> None:
    """FINN's code for the graph that `run_finn` left in `folder`; a bitstream too if `vendor`.

    Raises:
        UserError: a board that FINN does not know, or a layer that FINN does not generate.
        MachineError: FINN was killed, or a package is missing.
    """
    if board not in BOARDS:
        raise UserError("FINN does not know this board", where=board, expected=", ".join(BOARDS))
    job = {"board": BOARDS[board], "clock_mhz": clock_mhz, "vendor": vendor}
    (folder / "build.json").write_text(json.dumps(job, indent=1))
    shutil.rmtree(folder / "code", ignore_errors=True)
    kept = ("XILINX_", "FINN_DEPS") if vendor else ()
    run_process("hw_build.finn.generate", folder, "generate_log.txt", kept)


def require_tools(missing: tuple[str, ...], code: Path) -> None:
    """Raises:
    MachineError: something is missing; the message lists all of it.
    """
    if missing:
        raise MachineError(
            "FINN's steps to a bitstream need what is not here",
            where=f"FINN's code for every layer lies in {code}",
            found="; ".join(missing),
            expected="Vivado, Vitis HLS, and FINN's HLS library",
            fix="source VIVADO/settings64.sh and VITIS_HLS/settings64.sh; `finn deps update`; "
            "then the same command goes on",
        )


def _libraries() -> Path:
    """Where FINN looks for its own libraries: $FINN_DEPS, or a folder in its package."""
    if chosen := os.environ.get("FINN_DEPS"):
        return Path(chosen)
    spec = find_spec("finn")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0] if places else ".") / "finn_deps"
