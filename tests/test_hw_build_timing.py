"""Predicted cycles by hand; tests/test_hw_build_rtl.py holds them against the simulated RTL."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import random_case

from hw_build.cycle_model.run import CycleRun
from hw_build.folding import Folding
from hw_build.graph import BIPOLAR, Graph, Input, IntType, MatVec
from hw_build.lowering import lower
from hw_build.timing import Cycles, predict


def one_unit(rows: int, columns: int, bits: int, pe: int, simd: int) -> Cycles:
    kind = BIPOLAR if bits == 1 else IntType(bits, signed=False)
    weights = np.tile([1, -1], (rows, columns))[:, :columns]
    graph = Graph((Input("input", (columns,), kind), MatVec("fc0", "input", weights)))
    return predict(lower(graph, {"fc0": Folding(pe, simd)}))


def test_one_unit_by_hand() -> None:
    # a beat is taken in cycle 0, read in 1, summed in 2 and 3, leaves in 4
    assert one_unit(4, 6, 1, 4, 6) == Cycles(interval=1, latency=5, port=1)
    # the port's 6 lanes are split to 2: taken in 0, 1, 2, read to 3, leaves in 6
    assert one_unit(4, 6, 1, 4, 2) == Cycles(interval=3, latency=7, port=1)
    # 2 groups of 3 beats: read from 1 to 6, the groups leave in 6 and 9, joined in 10
    assert one_unit(4, 6, 1, 2, 2) == Cycles(interval=6, latency=11, port=1)
    # 20 integers of 8 bits are 3 beats of a 64-bit port, split to 4 lanes: 5 beats
    assert one_unit(2, 20, 8, 2, 4) == Cycles(interval=5, latency=9, port=3)


@pytest.mark.parametrize("seed", range(40))
def test_no_frame_comes_faster_than_the_busiest_block(seed: int) -> None:
    case = random_case(seed, n_inputs=1)
    blocks = lower(case.graph, case.folding)
    cycles = predict(blocks)
    assert cycles.interval >= max(cycles.port, *(block.cycles for block in blocks))
    assert cycles.latency >= cycles.port


def test_the_pace_is_that_of_the_end_even_if_it_alternates() -> None:
    assert CycleRun(np.array([4, 10, 14, 18, 22, 26]), 0, False, {}, {}).interval == 4
    assert CycleRun(np.array([0, 9, 12, 16, 19, 23, 26, 30]), 0, False, {}, {}).interval == 3.5
