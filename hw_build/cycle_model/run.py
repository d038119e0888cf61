"""Follows frames through the blocks of an accelerator, cycle by cycle and exact."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ..blocks import Block, Stream, inner_streams, ports
from ..simulator import Stalls
from .deadlock import deadlock
from .library import POINTER, Job, load_library

_STUCK = 2
_FOREVER = 1 << 62


@dataclass(frozen=True, eq=False)
class CycleRun:
    """What happened, in cycles from the one that offers the first beat, which is number 0.

    `frame_ends` are the cycles in which the frames' last beats left. `period` is not 0 if the last
    so many frames are repeated for ever. `beat_cycles` tells for each recorded stream when its
    beats passed. `most_held` is by the names of the deep_fifo blocks: the beats held at most.
    """

    frame_ends: np.ndarray
    period: int
    beat_cycles: dict[str, np.ndarray]
    most_held: dict[str, int]

    @property
    def interval(self) -> int | float:
        """Mean cycles from frame to frame over the last period; it has to be known."""
        ends = self.frame_ends
        mean = int(ends[-1] - ends[-1 - self.period]) / self.period
        return int(mean) if mean.is_integer() else mean


def follow_frames(
    blocks: tuple[Block, ...],
    n_frames: int,
    *,
    stalls: Stalls | None = None,
    record: Collection[str] = (),
    pace: int | None = None,
    until_periodic: bool = False,
    most_cycles: int = _FOREVER,
    library: ctypes.CDLL | None = None,
) -> CycleRun:
    """Runs the model from its reset until `n_frames` have left.

    Args:
        stalls: random back-pressure, cycle for cycle that of a `Simulator` with the same stalls.
        record: names of streams whose beats' cycles are kept.
        pace: the host spreads a frame's beats evenly over so many cycles; otherwise it always
            offers one.
        until_periodic: stop as soon as it is certain that the last frames repeat themselves.
        most_cycles: stop then; fewer frames may have left.
        library: another build of the model.

    Raises:
        DeadlockError: nothing moves any more; it names the blocks that wait for each other.
    """
    library = library or load_library()
    numbers = {stream.name: i for i, stream in enumerate(_streams(blocks))}
    source, sink = ports(blocks)
    ends = np.zeros(n_frames, np.uint64)
    beats = (ctypes.c_uint64 * len(numbers))()
    capacities = (ctypes.c_uint64 * len(numbers))()
    recorded = (POINTER * len(numbers))()
    kept: dict[str, np.ndarray] = {}
    for stream in _streams(blocks):
        if stream.name in record:
            kept[stream.name] = np.zeros(n_frames * stream.beats, np.uint64)
            recorded[numbers[stream.name]] = kept[stream.name].ctypes.data
            capacities[numbers[stream.name]] = len(kept[stream.name])
    stalls = stalls or Stalls()
    job = Job(
        frame_ends=ends.ctypes.data,
        recorded=ctypes.addressof(recorded) if kept else None,
        recorded_beats=ctypes.addressof(beats),
        capacities=ctypes.addressof(capacities),
        n_frames=n_frames,
        input_beats=source.beats,
        output_beats=sink.beats,
        most_cycles=most_cycles,
        pace_cycles=pace or 0,
        pace_beats=source.beats if pace else 0,
        random_state=stalls.state,
        input=numbers[source.name],
        output=numbers[sink.name],
        stall_input=round(stalls.input * 256),
        stall_output=round(stalls.output * 256),
        stop_if_periodic=until_periodic,
    )
    model = library.model_open(describe(blocks).encode())
    try:
        status = library.model_run(model, job)
        if status == _STUCK:
            states = {name: library.model_stream_state(model, i) for name, i in numbers.items()}
            raise deadlock(blocks, states, job.cycle)
        held = {
            block.name: library.model_most_held(model, i)
            for i, block in enumerate(blocks)
            if block.module == "deep_fifo"
        }
    finally:
        library.model_close(model)
    cycles = {name: array[: beats[numbers[name]]].astype(np.int64) for name, array in kept.items()}
    return CycleRun(ends[: job.frames_done].astype(np.int64), int(job.period), cycles, held)


def describe(blocks: tuple[Block, ...]) -> str:
    """The blocks as cycle_model.cpp reads them: a line each, streams by their numbers."""
    numbers = {stream.name: str(i) for i, stream in enumerate(_streams(blocks))}
    lines = []
    for block in blocks:
        ends = [",".join(numbers[s.name] for s in side) for side in (block.sources, block.sinks)]
        values = [f"{k}={v}" for k, v in block.parameters.items() if not isinstance(v, str)]
        lines.append(" ".join((block.module, *ends, *values)))
    return "\n".join(lines)


def _streams(blocks: tuple[Block, ...]) -> tuple[Stream, ...]:
    return (ports(blocks)[0], *inner_streams(blocks))
