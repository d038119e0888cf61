"""The integer graph: types, ranges and what its constructors refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import UserError
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold

SIGNED_OR_NOT = st.booleans()
INTEGERS = st.integers(-(2**31), 2**31 - 1)


@given(st.integers(1, 32), SIGNED_OR_NOT)
def test_types_read_back_from_their_text(bits: int, signed: bool) -> None:
    kind = IntType(bits, signed)
    assert IntType.parse(str(kind)) == kind
    assert IntType.parse("BIPOLAR") is BIPOLAR


@given(INTEGERS, INTEGERS)
def test_holding_is_the_narrowest_type(a: int, b: int) -> None:
    lo, hi = min(a, b), max(a, b)
    kind = IntType.holding(lo, hi)
    assert kind.lo <= lo <= hi <= kind.hi
    if kind.bits > 1:
        narrower = IntType(kind.bits - 1, kind.signed)
        assert not narrower.lo <= lo <= hi <= narrower.hi


@pytest.mark.parametrize(("bits", "signed", "bipolar"), [(0, True, False), (33, False, False)])
def test_no_such_type(bits: int, signed: bool, bipolar: bool) -> None:
    with pytest.raises(ValueError, match="no such integer type"):
        IntType(bits, signed, bipolar)


def test_ranges_hold_every_value_and_are_reached() -> None:
    weights = np.array([[1, -2, 3], [0, 0, 0], [-1, -1, -1]])
    thresholds = np.array([[-5, 0, 6], [0, 0, 1], [-2, -1, 3]])
    graph = Graph(
        (
            Input("input", (3,), IntType(2, signed=True)),
            MatVec("fc0", "input", weights),
            Threshold("fc0_act", "fc0", thresholds, -1, 1, IntType(3, signed=True)),
            ArgMax("class", "fc0_act"),
        )
    )
    infos = graph.infer()
    values = np.arange(-2, 2)
    every = np.stack(np.meshgrid(values, values, values), -1).reshape(-1, 3)
    sums = every @ weights.T
    assert (infos["fc0"].lo == sums.min(axis=0)).all()
    assert (infos["fc0"].hi == sums.max(axis=0)).all()
    levels = -1 + (sums[:, :, None] >= thresholds).sum(axis=2)
    assert (infos["fc0_act"].lo == levels.min(axis=0)).all()
    assert (infos["fc0_act"].hi == levels.max(axis=0)).all()
    assert infos["class"].shape == (1,)


@pytest.mark.parametrize(
    ("values", "kind", "bits"),
    [
        ([-1, 1], "binary", 1),
        ([-1, 0], "ternary", 2),
        ([2, -1], "quinary", 3),
        ([3, 0], "int", 3),
        ([-4, 1], "int", 3),
        ([-128, 127], "int", 8),
    ],
)
def test_weight_kinds(values: list[int], kind: str, bits: int) -> None:
    layer = MatVec("fc0", "input", np.array([values]))
    assert (layer.weight_kind, layer.weight_bits) == (kind, bits)


def test_a_layer_runs_after_its_source() -> None:
    source = Input("input", (2,), BIPOLAR)
    with pytest.raises(ValueError, match="runs before its source"):
        Graph((source, MatVec("fc0", "fc1", np.ones((1, 2), np.int64))))
    with pytest.raises(ValueError, match="starts with its Input"):
        Graph(())


def test_an_unknown_layer_is_named_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"fc7[\s\S]*one of input"):
        Graph((Input("input", (2,), BIPOLAR),))["fc7"]


def test_thresholds_must_ascend() -> None:
    layer = Threshold("act", "input", np.array([[3, 1]]), 0, 1, IntType(2, signed=False))
    with pytest.raises(ValueError, match="do not ascend"):
        layer.infer(Input("input", (1,), IntType(4, signed=True)).infer())
