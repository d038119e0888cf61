"""Cycles that an accelerator takes, predicted before simulation by the exact model of its streams.

The busiest block alone would be too optimistic a prediction: one that puts out beats evenly has to
wait while the next works off a burst, and is late ever after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    run = _follow(blocks, FRAMES[1])
    mean = run.interval
    interval = int(mean) if mean.denominator == 1 else float(mean)
    return Cycles(interval, int(run.frame_ends[0]) + 1, port_cycles(blocks))


def predicted_ends(blocks: tuple[Block, ...], n_frames: int) -> np.ndarray:
    """The cycles in which the frames' last beats leave, int64, counted as `CycleRun.frame_ends`.

    Of all `n_frames` where it is certain that they repeat themselves, otherwise of the first ones
    that are followed.
    """
    run = _follow(blocks, n_frames)
    ends = run.frame_ends.tolist()
    if run.period:
        step = ends[-1] - ends[-1 - run.period]
        while len(ends) < n_frames:
            ends.append(ends[-run.period] + step)
    return np.array(ends[:n_frames], np.int64)


def _follow(blocks: tuple[Block, ...], most: int) -> CycleRun:
    busiest = max(block.cycles for block in blocks)
    n_frames = min(max(CYCLES // busiest, FRAMES[0]), FRAMES[1], most)
    return follow_frames(blocks, n_frames, until_periodic=True)


def port_cycles(blocks: tuple[Block, ...]) -> int:
    """Beats of a frame at the slower of the two ports."""
    return max(stream.beats for stream in ports(blocks))
