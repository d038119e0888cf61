"""Foldings for a share of a board: against all there are, and what is said where none fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_hw_build_folding import all_foldings, network

from deploy.errors import UserError
from hw_build.boards import board_named
from hw_build.fifo_sizing import full_interval, size_fifos
from hw_build.fifos import with_fifos
from hw_build.folding_target import estimate_of, excesses, folding_for_share
from hw_build.graph import Graph
from hw_build.lowering import lower
from hw_build.resources import Resources

BOARD = board_named("pynq_z2")


def small_network(seed: int) -> Graph:
    return network(seed, np.random.default_rng(seed).integers(2, 6, 3).tolist())


@pytest.mark.parametrize("seed", [1, 3, 6])
def test_the_choice_is_the_fastest_that_fits(seed: int) -> None:
    """Within 5 % of the best of all foldings, FIFOs left out as the small ones need none."""
    graph = small_network(seed)
    known = []
    for folding in all_foldings(graph):
        blocks = lower(graph, folding)
        known.append((full_interval(blocks), estimate_of(blocks)))
    luts = sorted(used.lut for _, used in known)
    for quantile in (0.1, 0.3, 0.7):
        board = replace(BOARD, lut=int(2 * luts[int(quantile * len(luts))]))
        chosen = lower(graph, folding_for_share(graph, board, 0.5, lambda _: {}))
        assert not excesses(estimate_of(chosen), board, 0.5)
        best = min(interval for interval, used in known if not excesses(used, board, 0.5))
        assert full_interval(chosen) <= 1.05 * best


def test_fifos_count() -> None:
    graph = network(2, [40, 30, 10])
    blocks = lower(graph, folding_for_share(graph, BOARD, 0.07))
    whole = with_fifos(blocks, size_fifos(blocks))
    assert not excesses(estimate_of(whole), BOARD, 0.07)

    # with FIFOs that are far too deep, the same share leaves less for the rest
    def too_deep(found: tuple) -> dict[str, int]:
        return {block.sink.name: 1024 for block in found[:-1]}

    assert excesses(estimate_of(with_fifos(blocks, too_deep(blocks))), BOARD, 0.07)
    slower = lower(graph, folding_for_share(graph, BOARD, 0.07, too_deep))
    assert full_interval(slower) > full_interval(blocks)


def test_a_larger_share_is_never_slower() -> None:
    graph = network(5, [24, 16, 8])
    intervals = [
        full_interval(lower(graph, folding_for_share(graph, BOARD, share, lambda _: {})))
        for share in (0.015, 0.03, 0.1)
    ]
    assert intervals == sorted(intervals, reverse=True)
    assert intervals[0] > intervals[-1]


def test_what_does_not_fit_names_the_resource_that_binds() -> None:
    graph = network(0, [20, 12, 5])
    with pytest.raises(UserError, match=r"slowest folding(.|\n)*LUT estimated, 53 allowed, \d+%"):
        folding_for_share(graph, BOARD, 0.001)
    few_registers = replace(BOARD, ff=200)
    with pytest.raises(UserError, match=r"found: +\d+ FF estimated, 100 allowed"):
        folding_for_share(graph, few_registers, 0.5)


def test_excesses_come_worst_first() -> None:
    used = Resources(lut=60_000, ff=1_000, bram36=280, dsp=0)
    found = excesses(used, BOARD)
    assert [excess.name for excess in found] == ["block RAM", "LUT"]
    assert str(found[0]) == "280 block RAM estimated, 140 allowed, 100% too many"
    assert not excesses(Resources(lut=53_200, bram36=140), BOARD)
