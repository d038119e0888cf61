"""What blocks do over time: held against the RTL's own counters, and against what must be so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from accelerators import build
from random_networks import random_case

from hw_build.activity import activity
from hw_build.folding import Folding
from hw_build.lowering import lower
from hw_build.simulator import Stalls

STALLS = (None, Stalls(0.5, 0.5, 3), Stalls(0.0, 0.9, 5))


def test_waits_are_those_that_the_registers_count(tmp_path: Path) -> None:
    made = build(random_case(7), tmp_path)
    n = 12
    with made.open() as model:
        for stalls in STALLS:
            model.reset()
            model.run(made.case.inputs[:n], stalls=stalls)
            counted = [model.read_register(f"{side}_STALLS") for side in ("INPUT", "OUTPUT")]
            lanes = activity(made.blocks, n, stalls)
            assert [int(lanes[0].waits.sum()), int(lanes[-1].waits.sum())] == counted
            if stalls is not None:
                assert counted[1] > 0


def test_every_beat_is_offered_after_the_one_before_it_left() -> None:
    case = random_case(7)
    for lane in activity(lower(case.graph, case.folding), 6, STALLS[1]):
        assert (lane.waits >= 0).all(), lane.name
        assert (lane.offered[1:] > lane.passed[:-1]).all(), lane.name
        assert len(lane.frame) == len(lane.passed)


def test_a_bottleneck_is_waited_for_before_it_and_waits_for_nobody_behind_it() -> None:
    case = random_case(7)
    slow = dict.fromkeys(case.folding, Folding(1, 1))
    first, *_, last = slow
    slow[first] = Folding(*case.graph[first].weights.shape)
    lanes = {lane.name: lane for lane in activity(lower(case.graph, slow), 8)}
    assert lanes[first].waits.sum() > 0
    assert lanes[last].waits.sum() == 0


def test_shares_are_of_the_cycles_asked_for() -> None:
    case = random_case(2)
    lane = activity(lower(case.graph, case.folding), 3)[0]
    whole = np.zeros(int(lane.passed[-1]) + 1, int)
    for offered, passed in zip(lane.offered, lane.passed, strict=True):
        whole[offered:passed] = 1
        whole[passed] = 2
    for first, last in ((0, len(whole)), (3, 9)):
        seen = whole[first:last]
        counted = [float((seen == state).mean()) for state in (2, 1, 0)]
        assert np.allclose(lane.shares(first, last), counted)
