"""Accelerators built for tests: emitted, compiled, and opened as often as a test likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from random_networks import Case

from hw_build.blocks import Block, inner_streams
from hw_build.cycle_model.run import CycleRun, follow_frames
from hw_build.emit import emit
from hw_build.fifos import with_fifos
from hw_build.lowering import lower
from hw_build.rtl_gate import RtlGate
from hw_build.simulator import SimulationResult, Simulator, Stalls
from hw_build.verilator import build_model


@dataclass(frozen=True, eq=False)
class Accelerator:
    """A case's RTL in `folder`, and its simulation model."""

    case: Case
    blocks: tuple[Block, ...]
    folder: Path
    library: Path

    @property
    def gate(self) -> RtlGate:
        return RtlGate.of(self.case.graph, self.blocks, self.case.inputs)

    @property
    def streams(self) -> list[str]:
        return [stream.name for stream in inner_streams(self.blocks)]

    def open(self) -> Simulator:
        return Simulator(self.library, self.blocks, self.case.graph, self.folder)


def build(
    case: Case,
    folder: Path,
    *,
    compress: bool = False,
    change: Callable[[Path], None] | None = None,
    fifos: Mapping[str, int] | None = None,
) -> Accelerator:
    """The accelerator of a case; `change` may rewrite the emitted files before they are built.

    `fifos` are depths by the names of streams.
    """
    blocks = with_fifos(lower(case.graph, case.folding), fifos or {})
    emit(blocks, folder)
    if change is not None:
        change(folder)
    return Accelerator(case, blocks, folder, build_model(folder, blocks, compress=compress))


def rewriting(module: str, old: str, new: str) -> Callable[[Path], None]:
    """A `change` that replaces the one occurrence of `old` in a module."""

    def change(folder: Path) -> None:
        path = folder / f"{module}.sv"
        text = path.read_text()
        assert text.count(old) == 1, f"{module}.sv holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    return change


def simulated_cycles(
    made: Accelerator, model: Simulator, n: int, stalls: Stalls | None
) -> SimulationResult:
    """The cycles of all beats of `n` frames on all streams, from the RTL."""
    inputs = made.case.inputs[:n]
    return model.run(inputs, record=made.streams, record_cycles=True, stalls=stalls)


def streams_that_differ(simulated: SimulationResult, modelled: CycleRun) -> list[str]:
    """Streams with a beat in another cycle in the model than in the RTL.

    The model ends with the last result; what no result depends on may come later.
    """
    differing = []
    for name, cycles in simulated.beat_cycles.items():
        known = modelled.beat_cycles[name]
        late = cycles[len(known) :]
        if not np.array_equal(cycles[: len(known)], known) or (
            late.size and late.min() <= modelled.frame_ends[-1]
        ):
            differing.append(name)
    return differing


def check_cycles(made: Accelerator, model: Simulator, n: int, stalls: Stalls | None) -> None:
    """The model of the streams is exact: every beat of every stream, in the very cycle."""
    simulated = simulated_cycles(made, model, n, stalls)
    modelled = follow_frames(made.blocks, n, stalls=stalls, record=made.streams)
    assert streams_that_differ(simulated, modelled) == []
    assert all(len(cycles) for cycles in modelled.beat_cycles.values())
    if stalls is None:
        assert np.array_equal(simulated.frame_ends, modelled.frame_ends)
