"""Foldings of graphs of images, with branches: the searches against all foldings there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from small_images import SMALL_IMAGES
from test_hw_build_folding import all_foldings

from hw_build import folding_search
from hw_build.blocks import Block
from hw_build.boards import board_named
from hw_build.estimate import block_resources
from hw_build.fifo_sizing import full_interval, size_fifos
from hw_build.fifos import with_fifos
from hw_build.folding_search import choose_folding
from hw_build.folding_target import estimate_of, excesses, folding_for_rate, folding_for_share
from hw_build.graph import Graph
from hw_build.lowering import lower
from hw_build.resources import PRICES, Resources
from hw_build.timing import port_cycles, predict

WORSE = 1.05
"""What a search may miss the best of all foldings by."""

BOARD = board_named("pynq_z2")

CASES = [
    *((family, 2) for family in SMALL_IMAGES),
    *(
        pytest.param((family, seed), marks=pytest.mark.nightly)
        for family in SMALL_IMAGES
        for seed in (0, 1, 3, 4, 5)
    ),
]
"""Families and seeds of graphs."""


@dataclass(frozen=True)
class Known:
    """A folding: beats of its busiest block, cycles a frame by the exact model, cost and size."""

    beats: int
    cycles: Fraction
    cost: float
    used: Resources


def cost_of(blocks: tuple[Block, ...]) -> float:
    """What the search says it minimises, added up from the blocks that are built."""
    return sum(PRICES.cost(block_resources(block)) for block in blocks)


@dataclass(frozen=True)
class Small:
    """A graph and all of its foldings."""

    graph: Graph
    known: list[Known]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def small(request: pytest.FixtureRequest) -> Small:
    family, seed = request.param
    graph = SMALL_IMAGES[family](np.random.default_rng(seed))
    alone: dict[tuple, Fraction] = {}

    def cycles_alone(block: Block) -> Fraction:
        """Asked once of what occurs in many foldings; joins and forks wait for nothing."""
        if len(block.sources) + len(block.sinks) > 2:
            return Fraction(block.cycles)
        numbers = [item for item in block.parameters.items() if isinstance(item[1], int)]
        key = (block.module, block.source.beats, *numbers)
        if key not in alone:
            alone[key] = full_interval((block,))
        return alone[key]

    known = []
    for folding in all_foldings(graph):
        blocks = lower(graph, folding)
        cycles = max(Fraction(port_cycles(blocks)), *map(cycles_alone, blocks))
        beats = max(block.cycles for block in blocks)
        known.append(Known(beats, cycles, cost_of(blocks), estimate_of(blocks)))
    return Small(graph, known)


def some_between(low: float, high: float, n: int = 8) -> list[int]:
    """From half of `low`, which can't be reached, to `high`."""
    return sorted({int(low) // 2, *(int(low * (high / low) ** (i / n)) for i in range(n + 1))})


def test_the_choice_is_nearly_the_cheapest_at_any_interval(small: Small) -> None:
    graph, known = small.graph, small.known
    beats = [one.beats for one in known]
    for interval in some_between(min(beats), max(beats)):
        blocks = lower(graph, choose_folding(graph, interval))
        reached = max(interval, min(beats))
        assert max(block.cycles for block in blocks) <= reached
        assert cost_of(blocks) <= WORSE * min(one.cost for one in known if one.beats <= reached)


def test_a_rate_is_met_in_exact_cycles_for_nearly_the_least_cost(small: Small) -> None:
    graph, known = small.graph, small.known
    cycles = [one.cycles for one in known]
    for interval in some_between(min(cycles), max(cycles)):
        blocks = lower(graph, folding_for_rate(graph, interval, 64))
        reached = max(interval, min(cycles))
        assert full_interval(blocks) <= reached
        assert cost_of(blocks) <= WORSE * min(one.cost for one in known if one.cycles <= reached)
    # what is said of the blocks one by one holds for all of them together, with their FIFOs
    assert predict(with_fifos(blocks, size_fifos(blocks))).interval == full_interval(blocks)


def test_the_fastest_that_fits_is_nearly_found(small: Small) -> None:
    graph, known = small.graph, small.known
    luts = sorted(one.used.lut for one in known)
    for quantile in (0, 0.1, 0.3, 0.6, 0.9):
        board = replace(BOARD, lut=int(2 * luts[int(quantile * len(luts))]) + 1)
        blocks = lower(graph, folding_for_share(graph, board, 0.5, lambda _: {}))
        assert not excesses(estimate_of(blocks), board, 0.5)
        best = min(one.cycles for one in known if not excesses(one.used, board, 0.5))
        assert full_interval(blocks) <= WORSE * best


def test_more_branches_than_can_be_weighed_are_folded_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = SMALL_IMAGES["three_branches"](np.random.default_rng(0))
    exact = lower(graph, choose_folding(graph, 100))
    monkeypatch.setattr(folding_search, "MOST_PATHS", 5)
    blocks = lower(graph, choose_folding(graph, 100))
    assert max(block.cycles for block in blocks) <= 100
    assert cost_of(exact) <= cost_of(blocks) <= 1.5 * cost_of(exact)
