"""The gate between the golden model and the netlist that is placed: golden vectors over its UART.

Everything takes part that will be on the board: the bridge, the registers, the memories' content.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from deploy.errors import GateError
from deploy.registers import CLEAR_COUNTERS
from deploy.uart import BAUD, Port, UartAccelerator

from ..blocks import Block, memories_of, ports
from ..gates import GateResult, compare
from ..golden import execute
from ..graph import Graph
from ..lower_streams import flat
from .uart_line import SimulatedLine

NAME = "golden model = ECP5 netlist over its UART (Verilator)"
N_FRAMES = 32
"""Of the vectors. A bit on the line takes as long as it will on the board: some 20,000 cycles for
a frame of 64 bytes."""


def open_netlist(netlist: Path, blocks: tuple[Block, ...], clock_mhz: float) -> SimulatedLine:
    """The host's end of the UART of a netlist under Verilator, which is built now. Close it."""
    patience = 10_000 + 20 * sum(block.cycles for block in blocks)
    bit = clock_mhz * 1e6 / BAUD
    return SimulatedLine([netlist], bit, netlist.parent, gaps=1.0, patience=patience)


def check_over_uart(
    port: Port,
    graph: Graph,
    blocks: tuple[Block, ...],
    identity: str,
    inputs: np.ndarray,
    name: str = NAME,
    progress: Callable[[int, int], None] | None = None,
) -> GateResult:
    """Sends all `inputs` (N, ...) to what is behind `port`, and reads registers before and after.

    Raises:
        GateError: an output differs from the golden model's, or a register from what it must read.
        MachineError: nothing comes back.
    """
    n, output = len(inputs), graph.output.name
    expected = execute(graph, inputs, keep=[output])[output].reshape(n, -1)
    sent, received = (flat(stream).packing(64) for stream in ports(blocks))
    board = UartAccelerator(port)
    board.require(identity)
    memories_of(blocks).write(board.write_register)
    board.write_register("FRAMES", n)
    board.write_register("CONTROL", CLEAR_COUNTERS)
    results = []
    for done, frame in enumerate(sent.pack(inputs.reshape(n, -1)), 1):
        board.send(frame)
        results.append(received.unpack(board.receive(received.beats_per_frame)))
        if progress is not None:
            progress(done, n)
    if (frames_done := board.read_register("FRAMES_DONE")) != n:
        raise GateError(
            "a counter of the accelerator is wrong",
            where="register FRAMES_DONE",
            found=str(frames_done),
            expected=str(n),
        )
    return compare(name, output, expected, np.concatenate(results))
