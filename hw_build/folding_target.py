"""Folding to a target: a frame rate, or a share of a board's resources.

Both search over the interval that `FoldingSearch` is asked for, and judge by what is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from deploy.errors import UserError

from .blocks import Block
from .boards import Board
from .estimate import block_resources
from .fifo_sizing import full_interval, size_fifos
from .fifos import with_fifos
from .folding import Folding
from .folding_search import FoldingSearch
from .graph import Graph
from .lowering import lower
from .resources import PRICES, Prices, Resources
from .synthesis import with_port_blocks

MOST_TRIES = 10

RESOURCES = {"lut": "LUT", "ff": "FF", "bram36": "block RAM", "dsp": "DSP"}
"""What a board holds, by the fields of `Resources` and `Board`, in words."""

ALTERNATIVES = (PRICES, *(Prices(bram36, ff) for bram36, ff in ((50, 0.1), (800, 0), (200, 0.5))))
"""Prices that foldings are searched at where a share is to be kept: whatever runs out first."""

SLOWEST = 1 << 40
"""An interval that every folding meets."""

FINENESS = 0.01
"""The search for an interval ends at this relative step; then what lies above is tried."""


def folding_for_rate(graph: Graph, interval: int, port_bits: int) -> dict[str, Folding]:
    """The cheapest folding found whose interval meets `interval`, or comes nearest.

    `FoldingSearch` counts the beats of every block; one that has to wait for its own first ones
    can need a little more, and is then folded for a little less. FIFOs see to the rest.
    """
    search = FoldingSearch(graph, port_bits)
    wanted, best, fewest = interval, {}, float("inf")
    for _ in range(MOST_TRIES):
        folding = search.at(wanted)
        blocks = lower(graph, folding, port_bits)
        cycles = full_interval(blocks)
        if cycles < fewest:
            best, fewest = folding, cycles
        if cycles <= interval or wanted == 1 or busiest(blocks) > wanted:  # nothing is faster
            break
        wanted = max(1, min(wanted - 1, int(wanted * interval / cycles)))
    return best


def busiest(blocks: tuple[Block, ...]) -> int:
    """The beats a frame of the busiest block."""
    return max(block.cycles for block in blocks)


def estimate_of(blocks: tuple[Block, ...]) -> Resources:
    """All blocks together, with those beside the pipeline."""
    return sum((block_resources(block) for block in with_port_blocks(blocks)), Resources())


@dataclass(frozen=True)
class Excess:
    """A resource of which an accelerator needs more than it may."""

    name: str
    used: float
    allowed: float

    @property
    def factor(self) -> float:
        return self.used / self.allowed if self.allowed else float("inf")

    def __str__(self) -> str:
        by = f", {self.factor - 1:.0%} too many" if self.allowed else ""
        return f"{self.used:,.0f} {self.name} estimated, {self.allowed:,.0f} allowed{by}"


def excesses(used: Resources, board: Board, share: float = 1.0) -> list[Excess]:
    """The resources of which `used` is more than `share` of the board's; the worst first."""
    found = [
        Excess(name, getattr(used, key), share * getattr(board, key))
        for key, name in RESOURCES.items()
        if getattr(used, key) > share * getattr(board, key)
    ]
    return sorted(found, key=lambda excess: -excess.factor)


Sizing = Callable[[tuple[Block, ...]], Mapping[str, int]]
"""FIFO depths of blocks, as `size_fifos` gives them."""


def folding_for_share(
    graph: Graph, board: Board, share: float, size: Sizing = size_fifos
) -> dict[str, Folding]:
    """The fastest folding found whose estimate, FIFOs included, is within `share` of the board's.

    Of equally fast ones the cheapest.

    Raises:
        UserError: not even the slowest one is; says which resource binds, and by how much.
    """
    return _ForShare(graph, board, share, size).run()


@dataclass(frozen=True)
class _Candidate:
    """A folding with its blocks, before FIFOs, and their estimated resources."""

    folding: dict[str, Folding]
    blocks: tuple[Block, ...]
    used: Resources

    @property
    def cycles(self) -> int:
        return busiest(self.blocks)


class _ForShare:
    def __init__(self, graph: Graph, board: Board, share: float, size: Sizing) -> None:
        self.graph, self.board, self.share, self.size = graph, board, share, size
        self.searches = {
            prices: FoldingSearch(graph, board.dma_bits, prices, worth=0) for prices in ALTERNATIVES
        }

    def run(self) -> dict[str, Folding]:
        best: tuple[Fraction, float, dict[str, Folding]] | None = None
        misses: list[list[Excess]] = []
        for prices in ALTERNATIVES:
            if best is not None and not self._faster_fits(best[0], prices):
                continue
            for candidate in self._fastest_first(prices):
                used = candidate.used
                missing = excesses(used, self.board, self.share)
                if not missing:
                    interval = full_interval(candidate.blocks)
                    if best is not None and (interval, PRICES.cost(used)) >= best[:2]:
                        break
                    # sized last, as that takes long; FIFOs only add to what is used
                    used = estimate_of(with_fifos(candidate.blocks, self.size(candidate.blocks)))
                    missing = excesses(used, self.board, self.share)
                if missing:
                    misses.append(missing)
                    continue
                rank = (interval, PRICES.cost(used), candidate.folding)
                if best is None or rank[:2] < best[:2]:
                    best = rank
                break
        if best is None:
            self._refuse(misses)
        return best[2]

    def _candidate(self, interval: int, prices: Prices) -> _Candidate:
        folding = self.searches[prices].at(interval)
        blocks = lower(self.graph, folding, self.board.dma_bits)
        return _Candidate(folding, blocks, estimate_of(blocks))

    def _fits(self, candidate: _Candidate) -> bool:
        return not excesses(candidate.used, self.board, self.share)

    def _faster_fits(self, interval: Fraction, prices: Prices) -> bool:
        """Whether other prices matter: whether they make something faster fit, before FIFOs."""
        candidate = self._candidate(max(1, ceil(interval) - 1), prices)
        return candidate.cycles < interval and self._fits(candidate)

    def _fastest_first(self, prices: Prices) -> Iterator[_Candidate]:
        """Candidates that fit before FIFOs, each slower than the last; the slowest in any case."""
        slowest = self._candidate(SLOWEST, prices)
        if not self._fits(slowest):
            yield slowest
            return
        found = {slowest.cycles: slowest}
        too_fast, enough = 0, slowest.cycles
        while enough - too_fast > max(1, FINENESS * enough):
            middle = max(too_fast + 1, int((max(too_fast, 1) * enough) ** 0.5))
            candidate = self._candidate(middle, prices)
            if self._fits(candidate):
                found[candidate.cycles] = candidate
                if candidate.cycles > middle:  # nothing is faster
                    break
                enough = candidate.cycles
            else:
                too_fast = middle
        # more resources don't always make it faster: what lies a little above may fit again
        for percent in range(80, 100, 4):
            candidate = self._candidate(max(1, enough * percent // 100), prices)
            if self._fits(candidate):
                found[candidate.cycles] = candidate
        wanted, step = min(found), 1.02
        while wanted < slowest.cycles:
            candidate = found.get(wanted) or self._candidate(wanted, prices)
            if self._fits(candidate):
                yield candidate
            wanted, step = max(wanted + 1, int(step * wanted)), step**1.5
        yield slowest

    def _refuse(self, misses: list[list[Excess]]) -> None:
        """UserError with what binds where least is missing."""
        least = min(misses, key=lambda missing: missing[0].factor)
        raise UserError(
            f"even the slowest folding needs more than {self.share:.0%} of {self.board.name}",
            found="; ".join(map(str, least)),
            fix="a larger share, a larger board, or a smaller network",
        )
