"""An accelerator for a frame rate: what the flow chooses, in one call."""

from __future__ import annotations

import pytest
from random_networks import random_case

from deploy.errors import UserError
from hw_build.boards import board_named
from hw_build.design import design_for

GRAPH = random_case(7).graph
BOARD = board_named("pynq_z2")
TARGETS = (2e5, 1e6, 4e6)


def test_a_target_is_met_with_no_more_than_a_faster_one_needs() -> None:
    designs = [design_for(GRAPH, fps, BOARD) for fps in TARGETS]
    for fps, design in zip(TARGETS, designs, strict=True):
        assert design.frames_per_second >= fps
        assert design.clock_mhz == BOARD.clock_mhz
    luts = [design.resources.lut for design in designs]
    assert luts == sorted(luts)
    assert luts[0] < luts[-1]


def test_the_clock_counts() -> None:
    slow, fast = (design_for(GRAPH, 1e6, BOARD, clock) for clock in (50.0, 200.0))
    assert slow.cycles.interval <= 50 < fast.cycles.interval <= 200


def test_more_than_a_frame_a_cycle_is_refused() -> None:
    with pytest.raises(UserError, match="above one frame a clock cycle"):
        design_for(GRAPH, 2e8, BOARD)


def test_a_target_out_of_reach_gets_the_fastest_design() -> None:
    fastest = design_for(GRAPH, 1e8, BOARD)
    assert fastest.cycles.interval > 1
    assert fastest.cycles.interval <= design_for(GRAPH, 4e6, BOARD).cycles.interval
