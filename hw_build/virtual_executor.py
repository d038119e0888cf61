"""Executors of a run for a virtual board: its RTL under Verilator, or its golden model.

As a command it serves one to `python -m deploy`, which imports nothing of this package:
`python -m hw_build.virtual_executor RUN [--golden]`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from deploy.errors import NarrowgaugeError, UserError
from deploy.executors import GOLDEN, RTL, Execution, serve
from deploy.registers import OFFSETS
from deploy.run_directory import RunDirectory
from deploy.terminal import complain

from . import graph_file
from .blocks import memories_of, ports
from .boards import board_named
from .emit import identity_of
from .folded import load_blocks
from .golden import execute
from .lower_streams import flat
from .pipeline import folders
from .simulator import Simulator
from .verilator import build_model

MADE_BY = "python -m hw_build.flow run RUN"


class RtlExecutor:
    """A run's accelerator under Verilator: the host's beats go in as they are. Close it."""

    source = RTL

    def __init__(self, simulator: Simulator, identity: str) -> None:
        self._simulator, self.identity = simulator, identity

    def run(self, data: np.ndarray, frames: int) -> Execution:
        """See `deploy.executors.Executor`."""
        beats = np.frombuffer(np.ascontiguousarray(data).tobytes(), "<u8")
        done = self._simulator.run_beats(beats, frames)
        out = done.beats.astype("<u8").view(np.uint8)
        return Execution(out, done.frame_ends, done.input_stalls, done.output_stalls)

    def write(self, register: int, value: int) -> None:
        """See `deploy.executors.Executor`."""
        self._simulator.write_register(register, value)

    def reset(self) -> None:
        """Holds the accelerator's reset."""
        self._simulator.reset()

    def close(self) -> None:
        """Ends the simulation."""
        self._simulator.close()

    def __enter__(self) -> RtlExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class GoldenExecutor:
    """The golden model between the packings of the accelerator's ports; it knows no cycles.

    It has the weights of its run, and answers only where those were written: `weights` is what
    register WEIGHTS must hold, or 0 where they are fixed.
    """

    source = GOLDEN

    def __init__(self, graph, sent, received, identity: str, weights: int) -> None:
        self._graph, self._sent, self._received = graph, sent, received
        self.identity = identity
        self._weights, self._written = weights, 0

    def run(self, data: np.ndarray, frames: int) -> Execution:
        """See `deploy.executors.Executor`; UserError where other weights were written."""
        if self._weights and self._written != self._weights:
            raise UserError(
                "the golden model is that of another network on the same hardware",
                where="register WEIGHTS",
                found=f"{self._written:08x}",
                expected=f"{self._weights:08x}, of the golden model's own weights",
                fix="name the run that made the bundle (--model RUN)",
            )
        name = self._graph.output.name
        inputs = self._sent.unpack(data)[:frames]
        shaped = inputs.reshape(frames, *self._graph.input.shape)
        outputs = execute(self._graph, shaped, keep=[name])[name].reshape(frames, -1)
        return Execution(self._received.pack(outputs).reshape(-1))

    def write(self, register: int, value: int) -> None:
        """See `deploy.executors.Executor`."""
        if register == OFFSETS["WEIGHTS"]:
            self._written = value

    def reset(self) -> None:
        """Nothing is written yet."""
        self._written = 0

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> GoldenExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_rtl(run: Path) -> RtlExecutor:
    """The RTL of a run, its model from the store or newly built.

    Raises:
        UserError: the run has no RTL.
    """
    directory = RunDirectory(run)
    graph_folder = directory.stage(folders.GRAPH, made_by=MADE_BY)
    folding = directory.stage(folders.FOLDING, made_by=MADE_BY)
    rtl = directory.stage(folders.RTL, made_by=MADE_BY)
    port_bits = directory.manifest(folders.RTL, made_by=MADE_BY)["config"]["port_bits"]
    graph = graph_file.load(graph_folder).graph
    blocks = load_blocks(folding, graph, port_bits)
    library = build_model(rtl, blocks)
    return RtlExecutor(
        Simulator(library, blocks, graph, rtl, port_bits=port_bits), identity_of(rtl)
    )


def open_golden(run: Path) -> GoldenExecutor:
    """The golden model of a run.

    Raises:
        UserError: the run has no folded graph.
    """
    directory = RunDirectory(run)
    graph = graph_file.load(directory.stage(folders.GRAPH, made_by=MADE_BY)).graph
    folder = directory.stage(folders.FOLDING, made_by=MADE_BY)
    board = directory.manifest(folders.FOLDING, made_by=MADE_BY)["config"]["board"]
    bits = board_named(board).dma_bits
    blocks = load_blocks(folder, graph, bits)
    sent, received = (flat(stream).packing(bits) for stream in ports(blocks))
    rtl = directory.stage(folders.RTL, made_by=MADE_BY)
    weights = memories_of(blocks).digest
    return GoldenExecutor(graph, sent, received, identity_of(rtl), weights)


def main() -> int:
    """Serves one executor on stdin and stdout."""
    parser = argparse.ArgumentParser(prog="python -m hw_build.virtual_executor")
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--golden", action="store_true", help="the golden model, not the RTL")
    options = parser.parse_args()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the messages
    try:
        opened = open_golden(options.run) if options.golden else open_rtl(options.run)
        with opened as executor:
            serve(executor, sys.stdin.buffer, replies)
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
