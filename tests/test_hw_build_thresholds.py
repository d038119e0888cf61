"""Thresholds against brute force: QONNX's own quantiser on every accumulator of the range."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.custom_op.general.bipolar_quant import binary_quant
from qonnx.custom_op.general.intquant import int_quant

from deploy.errors import UserError
from hw_build.importer import thresholds as module
from hw_build.importer.thresholds import Staircase, find_staircase
from hw_build.scalar import Step, direction, evaluate

N_CHANNELS = 4
# Halves and quarters make ties; the float32 numbers make none but round.
FACTORS = st.sampled_from([0.5, 0.25, 1.0, 2.0, -0.5, -1.0, 0.0, 0.1, -0.37, 1 / 3])
ADDENDS = st.sampled_from([0.0, 0.5, -0.5, 0.25, 1.5, -3.0, 0.1, -7.77])
ROUNDING = st.sampled_from(["ROUND", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN"])


def per_channel(values: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    rows = st.lists(values, min_size=N_CHANNELS, max_size=N_CHANNELS)
    return st.one_of(values.map(np.float64), rows.map(np.array))


STEPS = st.one_of(
    per_channel(FACTORS).map(lambda by: Step("mul", {"by": by})),
    per_channel(FACTORS.filter(bool)).map(lambda by: Step("div", {"by": by})),
    per_channel(ADDENDS).map(lambda to: Step("add", {"to": to})),
    per_channel(ADDENDS).map(lambda less: Step("sub", {"less": less})),
    per_channel(ADDENDS).map(lambda whole: Step("sub_from", {"whole": whole})),
    st.just(Step("clip", {"low": np.float64(0), "high": np.float64(6)})),
    st.just(Step("leaky", {"slope": np.float64(0.125)})),
    st.just(Step("tanh", {})),
    st.just(Step("sigmoid", {})),
)


@st.composite
def quantisers(draw: st.DrawFn) -> tuple[Step, Callable[[np.ndarray], np.ndarray]]:
    """A quantiser step, and its levels by QONNX's own code."""
    if draw(st.integers(0, 3)) == 0:
        parameters = {"scale": np.float64(0.5), "low": np.float64(-1), "high": np.float64(1)}
        return Step("bipolar", parameters), lambda x: binary_quant(x, 1.0)
    bits, signed = draw(st.integers(1, 4)), draw(st.booleans())
    narrow = draw(st.booleans()) and (signed or bits > 1)
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    rounding = mode = draw(ROUNDING)
    if bits == 1 and signed:
        low, high, rounding = -1, 1, "SIGN"
    scale = draw(per_channel(st.sampled_from([0.5, 1.0, 0.25, 0.3])))
    zero_point = np.float64(draw(st.sampled_from([0, 0, 2, -1])))
    parameters = {
        "scale": scale,
        "zero_point": zero_point,
        "low": np.float64(low),
        "high": np.float64(high),
        "rounding": rounding,
    }

    def by_qonnx(x: np.ndarray) -> np.ndarray:
        real = int_quant(x, scale, zero_point, np.float64(bits), signed, narrow, mode)
        return np.rint(real / scale + zero_point)

    return Step("quant", parameters), by_qonnx


def counted(found: Staircase, step: Step, x: np.ndarray) -> np.ndarray:
    turned = np.where(found.flipped, -x, x)
    return step.low + step.stride * (turned[..., None] >= found.thresholds).sum(axis=-1)


@given(
    st.lists(STEPS, max_size=4),
    quantisers(),
    st.integers(-60, 10),
    st.integers(0, 80),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_thresholds_are_the_function(
    steps: list[Step],
    quantiser: tuple[Step, Callable[[np.ndarray], np.ndarray]],
    lo: int,
    span: int,
    bisect: bool,
) -> None:
    last, by_qonnx = quantiser
    lows = lo - np.arange(N_CHANNELS)
    highs = lows + span + 2 * np.arange(N_CHANNELS)
    runs = direction([*steps, last], N_CHANNELS)
    targets = np.arange(last.low, last.high, last.stride) + last.stride
    with pytest.MonkeyPatch.context() as patch:
        if bisect:
            patch.setattr(module, "TABLE_LIMIT", 0)
        found = find_staircase(
            lambda x: last.levels(evaluate(steps, x)), lows, highs, targets, runs, "test"
        )
    assert found.tabulated != bisect
    for x in range(int(lows.min()), int(highs.max()) + 1):
        inside = (lows <= x) & (x <= highs)
        reals = evaluate(steps, np.full(N_CHANNELS, float(x)))
        expected = by_qonnx(reals)
        assert (counted(found, last, np.full(N_CHANNELS, x)) == expected)[inside].all()
    assert (np.diff(found.thresholds, axis=1) >= 0).all()
    for c in range(N_CHANNELS):
        every = np.arange(lows[c], highs[c] + 1, dtype=float)[:, None]
        levels = last.levels(evaluate(steps, np.broadcast_to(every, (len(every), N_CHANNELS))))
        assert found.constant[c] == (len(set(levels[:, c])) == 1)


def test_levels_never_or_always_reached_lie_at_the_ends() -> None:
    lo, hi = np.array([-5]), np.array([9])
    step = Step("quant", {**_unit(), "low": np.float64(-8), "high": np.float64(7)})
    found = find_staircase(
        lambda x: step.levels(np.clip(x, 0, 3)), lo, hi, np.arange(-7, 8), None, "test"
    )
    assert found.thresholds.tolist() == [[-5] * 8 + [1, 2, 3] + [10] * 4]


def test_ties_go_to_even() -> None:
    step = Step("quant", {**_unit(), "low": np.float64(0), "high": np.float64(3)})
    found = find_staircase(
        lambda x: step.levels(x / 2), np.array([-2]), np.array([9]), np.arange(1, 4), None, "test"
    )
    # x / 2 = 0.5 goes down to 0, 1.5 up to 2, 2.5 down to 2.
    assert found.thresholds.tolist() == [[2, 3, 6]]


def test_a_channel_that_rises_and_falls_is_refused_by_name() -> None:
    step = Step("quant", {**_unit(), "low": np.float64(0), "high": np.float64(3)})

    def rises_and_falls(x: np.ndarray) -> np.ndarray:
        return step.levels(np.abs(x - [-9, 1]))

    with pytest.raises(UserError, match=r"not monotone[\s\S]*here, channel 1[\s\S]*falls, then"):
        find_staircase(
            rises_and_falls, np.array([-4, -4]), np.array([4, 4]), np.arange(1, 4), None, "here"
        )


def test_an_unknown_direction_needs_an_affordable_table() -> None:
    lo, hi = np.array([0]), np.array([module.TABLE_LIMIT])
    with pytest.raises(UserError, match=r"table is too large[\s\S]*here"):
        find_staircase(np.sign, lo, hi, np.array([1]), None, "here")


def _unit() -> dict:
    return {"scale": np.float64(1), "zero_point": np.float64(0), "rounding": "ROUND"}
