"""Cycles that an accelerator takes, predicted before simulation, beat by beat and exact.

A beat is handed down the chain with the cycle from which it is offered; each block answers in which
cycle it takes it. A block knows that as soon as it knows what became of all beats before, its own
output's included: nothing further up can change it. So one pass over some frames is enough, until
frames leave at a steady pace. The busiest block alone would be too optimistic a prediction: one
that puts out beats evenly has to wait while the next works off a burst, and is late ever after.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from .blocks import Block

UNIT_STAGES = 3
"""Cycles from a beat's entry into a matrix-vector unit's pipeline to its sum's being offered."""

FRAMES = (16, 96)
"""Least and most frames that are followed."""

STEPS = 200_000
"""Beats that are followed in all, if that leaves the least number of frames."""


@dataclass(frozen=True)
class Cycles:
    """`interval`: cycles from frame to frame, a mean where it alternates; `latency`: from the cycle
    that offers a frame's first beat to the one in which its last result leaves, both counted, in
    an empty pipeline; `port`: the interval of the slower of the two ports alone."""

    interval: int | float
    latency: int
    port: int


def predict(blocks: tuple[Block, ...]) -> Cycles:
    """Interval and latency of the chain, in cycles."""
    n_in, n_out = blocks[0].source.beats, blocks[-1].sink.beats
    host = _Host()
    chain: _Taker = host
    for block in reversed(blocks):
        chain = _MODELS[block.module](block, chain)
    steps = sum(block.source.beats + block.sink.beats for block in blocks)
    n_frames = min(max(STEPS // steps, FRAMES[0]), FRAMES[1])
    cycle = -1
    for _ in range(n_frames * n_in):
        cycle = chain.take(cycle + 1)
    ends = host.taken[n_out - 1 :: n_out]
    return Cycles(_steady_pace(ends), ends[0] + 1, max(n_in, n_out))


def _steady_pace(ends: list[int]) -> int | float:
    """Mean cycles between frames over the shortest period in which their distances repeat."""
    gaps = [after - before for before, after in pairwise(ends)]
    for period in range(1, len(gaps) // 2 + 1):
        if gaps[-period:] == gaps[-2 * period : -period]:
            break
    mean = sum(gaps[-period:]) / period
    return int(mean) if mean.is_integer() else mean


class _Taker(Protocol):
    """The input side of a block: beats are offered to it in order, one after another."""

    def take(self, offered: int) -> int:
        """The cycle, `offered` or later, in which the next beat is taken."""


class _Host:
    """Takes every beat at once."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self, offered: int) -> int:
        self.taken.append(offered)
        return offered


class _Splitter:
    """Passes a beat on in parts, and takes it with the last of them."""

    def __init__(self, block: Block, sink: _Taker) -> None:
        self._ratio, self._parts = int(block.parameters["RATIO"]), block.sink.vector_beats
        self._sink, self._passed = sink, 0

    def take(self, offered: int) -> int:
        n_parts = min(self._ratio, self._parts - self._passed)
        self._passed = (self._passed + n_parts) % self._parts
        cycle = offered - 1
        for _ in range(n_parts):
            cycle = self._sink.take(cycle + 1)
        return cycle


class _Joiner:
    """Gathers beats, and padding at a cycle each; takes none while a gathered one waits."""

    def __init__(self, block: Block, sink: _Taker) -> None:
        self._ratio, self._vector = int(block.parameters["RATIO"]), block.source.vector_beats
        self._sink, self._count, self._left, self._last = sink, 0, -1, -1

    def take(self, offered: int) -> int:
        cycle = max(offered, self._left, self._last + 1)
        self._last = cycle
        self._count += 1
        if self._count == self._vector:
            self._last += -self._vector % self._ratio
            self._count = 0
        if self._count % self._ratio == 0:
            self._left = self._sink.take(self._last + 1)
        return cycle


class _ArgMax:
    """Takes a beat a cycle; a vector's last one not before the previous index has left."""

    def __init__(self, block: Block, sink: _Taker) -> None:
        self._beats, self._sink = block.source.vector_beats, sink
        self._count, self._left = 0, -1

    def take(self, offered: int) -> int:
        self._count += 1
        if self._count < self._beats:
            return offered
        self._count = 0
        cycle = max(offered, self._left)
        self._left = self._sink.take(cycle + 1)
        return cycle


class _Unit:
    """A matrix-vector unit: an input buffer, and a pipeline that stands still as a whole while a
    result would overwrite one that still waits."""

    def __init__(self, block: Block, sink: _Taker) -> None:
        p = {name: int(block.parameters[name]) for name in ("FOLD_IN", "FOLD_OUT", "LEVEL_BITS")}
        self._fold_in, self._fold_out = p["FOLD_IN"], p["FOLD_OUT"]
        self._stages = UNIT_STAGES - 1 + max(0, p["LEVEL_BITS"] - 1)
        self._sink, self._taken = sink, 0
        # The buffer frees whole vectors where it replays them, otherwise single beats.
        self._freed_at_once = self._fold_in if self._fold_out > 1 else 1
        self._depth = 1 << (2 * self._freed_at_once - 1).bit_length()  # beats
        self._freed: list[int] = []  # in which cycle
        self._fired = -1  # the cycle in which the last beat entered the pipeline
        self._left = -1  # the cycle in which the last result left
        self._stops: deque[tuple[int, int]] = deque()  # the pipeline stands still from, until

    def take(self, offered: int) -> int:
        overwritten = (self._taken - self._depth) // self._freed_at_once
        cycle = max(offered, self._freed[overwritten] + 1) if overwritten >= 0 else offered
        self._taken += 1
        self._fired = self._moving(max(self._fired + 1, cycle + 1))
        if self._fold_out == 1:
            self._freed.append(self._fired)
        if self._taken % self._fold_in == 0:
            self._put_out()
            for _ in range(self._fold_out - 1):
                self._fired = self._after(self._fired, self._fold_in)
                self._put_out()
            if self._fold_out > 1:
                self._freed.append(self._fired)
        return cycle

    def _put_out(self) -> None:
        """The result whose last beat has just entered the pipeline goes through it and leaves."""
        cycle = self._after(self._fired, self._stages)
        if cycle < self._left:
            self._stops.append((cycle, self._left))
            cycle = self._left
        self._left = self._sink.take(cycle + 1)
        while self._stops and self._stops[0][1] <= self._fired:
            self._stops.popleft()

    def _moving(self, cycle: int) -> int:
        """The first cycle from `cycle` on in which the pipeline moves."""
        for start, end in self._stops:
            if start <= cycle < end:
                cycle = end
        return cycle

    def _after(self, cycle: int, n: int) -> int:
        """The n-th cycle after `cycle` in which the pipeline moves."""
        reached = cycle + n
        for start, end in self._stops:
            if cycle < start <= reached:
                reached += end - start
        return reached


_MODELS = {
    "lane_splitter": _Splitter,
    "lane_joiner": _Joiner,
    "mvu": _Unit,
    "arg_max": _ArgMax,
}
