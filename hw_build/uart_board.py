"""A real board that a run's bitstream was loaded onto: golden vectors over its UART."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.errors import UserError
from deploy.run_directory import RunDirectory, sha256_of
from deploy.serial_port import SerialPort

from . import graph_file
from .bitstream.netlist_gate import check_over_uart
from .boards import board_named
from .emit import identity_of
from .folded import load_blocks
from .gates import GateResult
from .pipeline.folders import BITSTREAM, FOLDING, GOLDEN, GRAPH, RTL
from .progress import progress

NAME = "golden model = board over its UART"


def check_uart_board(run: Path, port: str, frames: int | None = None) -> GateResult:
    """Sends the run's vectors to the board at the serial port `port`, and compares its outputs.

    Args:
        frames: how many of them; all if None.

    Raises:
        UserError: the run has no bitstream for a board with a UART, or one of an earlier RTL.
        MachineError: no such port, or the board does not answer.
        GateError: another build is loaded, or an output differs.
    """
    directory = RunDirectory(run)
    made_by = f"python -m hw_build.flow run {run} --board ecp5-85k --until bitstream"
    made = directory.manifest(BITSTREAM, made_by=made_by)
    rtl = directory.stage(RTL, made_by=made_by)
    board = board_named(made["config"]["board"])
    if board.has_pynq or made["inputs"]["rtl"]["sha256"] != sha256_of(rtl):
        raise UserError(
            "the run has no bitstream of its RTL for a board with a UART",
            where=str(run),
            found=f"one for {board.name}",
            fix=made_by,
        )
    graph = graph_file.load(directory.stage(GRAPH, made_by=made_by)).graph
    folding = directory.stage(FOLDING, made_by=made_by)
    blocks = load_blocks(folding, graph, board.dma_bits)
    with np.load(directory.stage(GOLDEN, made_by=made_by) / "golden.npz") as file:
        inputs = file["inputs"][:frames]
    with SerialPort(port) as line, progress("frames") as show:
        return check_over_uart(line, graph, blocks, identity_of(rtl), inputs, NAME, show)
