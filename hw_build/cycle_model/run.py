"""Follows frames through the blocks of an accelerator, cycle by cycle and exact."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ..blocks import Block, Stream, inner_streams, ports
from ..simulator import Stalls
from .deadlock import deadlock
from .library import POINTER, Job, load_library

_STUCK, _SLOW = 2, 3


@dataclass(frozen=True, eq=False)
class CycleRun:
    """What happened, in cycles from the one that offers the first beat, which is number 0.

    `frame_ends` are the cycles in which the frames' last beats left. `period` is not 0 if the last
    so many frames are repeated for ever. `slow` tells that the host's pace was too fast.
    `beat_cycles` holds for each recorded stream when its beats passed, `offer_cycles` when each of
    these was first offered; `most_held` by the names of deep_fifo blocks the beats held at most.
    """

    frame_ends: np.ndarray
    period: int
    slow: bool
    beat_cycles: dict[str, np.ndarray]
    most_held: dict[str, int]
    offer_cycles: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def interval(self) -> Fraction:
        """Mean cycles from frame to frame, exact where the period is known.

        Otherwise over the shortest period in which the last frames' distances repeat.
        """
        ends = self.frame_ends
        period = self.period or _steady_period(np.diff(ends).tolist())
        return Fraction(int(ends[-1] - ends[-1 - period]), period)


def follow_frames(
    blocks: tuple[Block, ...],
    n_frames: int,
    *,
    stalls: Stalls | None = None,
    record: Collection[str] = (),
    pace: Fraction | None = None,
    until_periodic: bool = False,
    library: ctypes.CDLL | None = None,
) -> CycleRun:
    """Runs the model from its reset until `n_frames` have left.

    Args:
        stalls: random back-pressure, cycle for cycle that of a `Simulator` with the same stalls.
        record: names of streams whose beats' cycles are kept.
        pace: the host spreads a frame's beats evenly over so many cycles, and the run ends where
            that proves too fast; otherwise it always offers a beat.
        until_periodic: stop as soon as it is certain that the last frames repeat themselves.
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
    recorded, offered = (POINTER * len(numbers))(), (POINTER * len(numbers))()
    kept: dict[str, np.ndarray] = {}
    offers: dict[str, np.ndarray] = {}
    for stream in _streams(blocks):
        if stream.name in record:
            kept[stream.name] = np.zeros(n_frames * stream.beats, np.uint64)
            recorded[numbers[stream.name]] = kept[stream.name].ctypes.data
            offers[stream.name] = np.zeros(len(kept[stream.name]), np.uint64)
            offered[numbers[stream.name]] = offers[stream.name].ctypes.data
            capacities[numbers[stream.name]] = len(kept[stream.name])
    stalls = stalls or Stalls()
    job = Job(
        frame_ends=ends.ctypes.data,
        recorded=ctypes.addressof(recorded) if kept else None,
        offered=ctypes.addressof(offered) if kept else None,
        recorded_beats=ctypes.addressof(beats),
        capacities=ctypes.addressof(capacities),
        n_frames=n_frames,
        input_beats=source.beats,
        output_beats=sink.beats,
        pace_cycles=pace.numerator if pace else 0,
        pace_frames=pace.denominator if pace else 0,
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
    cycles, first = (
        {name: array[: beats[numbers[name]]].astype(np.int64) for name, array in arrays.items()}
        for arrays in (kept, offers)
    )
    left = ends[: job.frames_done].astype(np.int64)
    return CycleRun(left, int(job.period), status == _SLOW, cycles, held, first)


def _steady_period(gaps: list[int]) -> int:
    """The shortest period in which the last gaps repeat; half of them if there is none."""
    for period in range(1, len(gaps) // 2 + 1):
        if gaps[-period:] == gaps[-2 * period : -period]:
            return period
    return max(1, len(gaps) // 2)


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
