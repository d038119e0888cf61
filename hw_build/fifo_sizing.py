"""How deep FIFOs have to be so that an accelerator is as fast as with unbounded ones.

Between FIFOs without bounds every block keeps its own pace, so the slowest block, by itself, sets
the interval. With the host at that pace, the most beats that each FIFO ever holds are depths that
suffice: no FIFO is then ever full. Most of them are there for nothing, though, and where FIFOs lie
behind each other one can do the work of the other; so they are first left out, by groups, and the
remaining ones are made smaller one after another, as long as the pace is kept. The exact model of
the streams is the judge in every step. Deeper FIFOs never make an accelerator slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil

from .blocks import Block
from .cycle_model.deadlock import DeadlockError
from .cycle_model.run import follow_frames
from .fifos import LEAST_DEPTH, fifo_places, with_fifos
from .timing import port_cycles

UNBOUNDED = 1 << 30
"""Beats of a FIFO that is never full; the model holds no data."""

TOLERANCE = 16
"""The search for a depth ends where the rest is less than the depth's 16th part."""

FRAMES = 64
"""Frames that are followed at most, if they do not repeat themselves before."""


def full_interval(blocks: tuple[Block, ...]) -> Fraction:
    """Cycles from frame to frame between unbounded FIFOs: those of the slowest block by itself."""
    slowest = Fraction(port_cycles(blocks))
    for block in sorted(blocks, key=lambda block: -block.cycles):
        alone = Fraction(block.cycles)
        if len(block.sources) == len(block.sinks) == 1:
            alone = follow_frames((block,), FRAMES, until_periodic=True).interval
        slowest = max(slowest, alone)
    return slowest


def size_fifos(blocks: tuple[Block, ...], *, minimal: bool = False) -> dict[str, int]:
    """Depths by the names of streams, for `with_fifos`: free of deadlock, at the full interval.

    Streams that need none are left out. No FIFO can be made smaller, the others as they are: not
    by a single beat if `minimal`, otherwise not by much more than the 16th part.
    """
    return _Search(blocks, minimal).run()


class _Search:
    def __init__(self, blocks: tuple[Block, ...], minimal: bool) -> None:
        self.blocks, self.minimal = blocks, minimal
        self.pace = full_interval(blocks)
        self.streams = {stream.name: stream for stream in fifo_places(blocks)}

    def run(self) -> dict[str, int]:
        if self._suffice({}):
            return {}
        depths = self._bounds()
        # the smallest first: they are many, and most are needed for nothing
        self._leave_out(depths, sorted(depths, key=lambda name: depths[name]))
        for name in sorted(depths, key=lambda name: -self._bits(name, depths[name])):
            self._shrink(depths, name)
        return {name: depths[name] for name in self.streams if name in depths}

    def _bits(self, name: str, depth: int) -> int:
        return self.streams[name].width * depth

    def _suffice(self, depths: Mapping[str, int]) -> bool:
        """Whether an accelerator with these FIFOs keeps the pace."""
        try:
            run = follow_frames(
                with_fifos(self.blocks, depths), FRAMES, pace=self.pace, until_periodic=True
            )
        except DeadlockError:
            return False
        return not run.slow and run.interval <= self.pace

    def _bounds(self) -> dict[str, int]:
        """A depth for every stream, such that all together suffice."""
        unbounded = with_fifos(self.blocks, dict.fromkeys(self.streams, UNBOUNDED))
        run = follow_frames(unbounded, FRAMES, pace=self.pace, until_periodic=True)
        # one place more, since a full FIFO takes none even while one leaves it
        depths = {
            name: max(LEAST_DEPTH, run.most_held[f"{name}_fifo"] + 1) for name in self.streams
        }
        while not self._suffice(depths):
            depths = {name: depth + ceil(depth / 4) for name, depth in depths.items()}
        return depths

    def _leave_out(self, depths: dict[str, int], names: list[str]) -> None:
        """Removes from `depths` as many of `names` as possible, by halves where not all can go."""
        if not names:
            return
        kept = {name: depth for name, depth in depths.items() if name not in names}
        if self._suffice(kept):
            for name in names:
                del depths[name]
        elif len(names) > 1:
            half = len(names) // 2
            self._leave_out(depths, names[:half])
            self._leave_out(depths, names[half:])

    def _shrink(self, depths: dict[str, int], name: str) -> None:
        """Makes one FIFO as small as the others allow."""
        too_small, enough = LEAST_DEPTH - 1, depths[name]
        while enough - too_small > 1:
            if not self.minimal and (enough - too_small) * TOLERANCE < enough:
                break
            middle = (too_small + enough) // 2
            if self._suffice({**depths, name: middle}):
                enough = middle
            else:
                too_small = middle
        depths[name] = enough
