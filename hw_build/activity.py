"""What every block of an accelerator does over time: beats that leave it, and beats that wait."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .blocks import Block, Stream, ports
from .cycle_model.run import follow_frames
from .simulator import Stalls


@dataclass(frozen=True, eq=False)
class Lane:
    """The beats of one stream, in order: `offered` is the cycle in which each was first valid,
    `passed` the one in which it was taken, `frame` the frame it belongs to; int64 (beats,)."""

    name: str
    stream: Stream
    offered: np.ndarray
    passed: np.ndarray
    frame: np.ndarray

    @property
    def waits(self) -> np.ndarray:
        """Cycles that each beat waited for its receiver: 0 where it passed at once."""
        return self.passed - self.offered

    def shares(self, first: int, last: int) -> tuple[float, float, float]:
        """Shares of the cycles first <= cycle < last: a beat passes, one waits, none is there."""
        n_cycles = last - first
        n_passed = int(((self.passed >= first) & (self.passed < last)).sum())
        waiting = np.clip(self.passed, first, last) - np.clip(self.offered, first, last)
        n_waiting = int(waiting.sum())
        return n_passed / n_cycles, n_waiting / n_cycles, 1 - (n_passed + n_waiting) / n_cycles


def activity(
    blocks: tuple[Block, ...], n_frames: int, stalls: Stalls | None = None
) -> tuple[Lane, ...]:
    """The accelerator's input, then what each block puts out, by the exact model of the streams.

    Cycle 0 offers the first beat, in an empty pipeline. A block with several outputs has a lane
    for each, named `block.stream`.

    Raises:
        DeadlockError: the blocks wait for each other.
    """
    source, _ = ports(blocks)
    named = [("input", source)]
    for block in blocks:
        one = len(block.sinks) == 1
        named += [(block.name if one else f"{block.name}.{s.name}", s) for s in block.sinks]
    run = follow_frames(blocks, n_frames, stalls=stalls, record=[s.name for _, s in named])
    return tuple(
        Lane(
            name,
            stream,
            run.offer_cycles[stream.name][: len(run.beat_cycles[stream.name])],
            run.beat_cycles[stream.name],
            np.arange(len(run.beat_cycles[stream.name])) // stream.beats,
        )
        for name, stream in named
    )
