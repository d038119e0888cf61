"""Cycles that an accelerator takes, predicted before simulation by the exact model of its streams.

The busiest block alone would be too optimistic a prediction: one that puts out beats evenly has to
wait while the next works off a burst, and is late ever after.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from .blocks import Block, ports
from .cycle_model.run import CycleRun, follow_frames

FRAMES = (16, 1000)
"""Least and most frames that are followed, unless they repeat themselves before."""

CYCLES = 4_000_000
"""Cycles that are followed in all, if that leaves the least number of frames."""


@dataclass(frozen=True)
class Cycles:
    """`interval`: cycles from frame to frame, a mean where it alternates; `latency`: from the cycle
    that offers a frame's first beat to the one in which its last result leaves, both counted, in
    an empty pipeline; `port`: the interval of the slower of the two ports alone."""

    interval: int | float
    latency: int
    port: int


def predict(blocks: tuple[Block, ...]) -> Cycles:
    """Interval and latency, in cycles.

    Raises:
        DeadlockError: the blocks wait for each other, which is said by name.
    """
    busiest = max(block.cycles for block in blocks)
    n_frames = min(max(CYCLES // busiest, FRAMES[0]), FRAMES[1])
    run = follow_frames(blocks, n_frames, until_periodic=True)
    return Cycles(interval_of(run), int(run.frame_ends[0]) + 1, port_cycles(blocks))


def port_cycles(blocks: tuple[Block, ...]) -> int:
    """Beats of a frame at the slower of the two ports."""
    return max(stream.beats for stream in ports(blocks))


def interval_of(run: CycleRun) -> int | float:
    """Cycles from frame to frame at the end of a run, exact if it is known to repeat itself."""
    return run.interval if run.period else _steady_pace([int(end) for end in run.frame_ends])


def _steady_pace(ends: list[int]) -> int | float:
    """Mean cycles between frames over the shortest period in which their distances repeat."""
    gaps = [after - before for before, after in pairwise(ends)]
    for period in range(1, len(gaps) // 2 + 1):
        if gaps[-period:] == gaps[-2 * period : -period]:
            break
    mean = sum(gaps[-period:]) / period
    return int(mean) if mean.is_integer() else mean
