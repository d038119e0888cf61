"""Gates: what is decoded, what passes, and what a mismatch says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import GateError, UserError
from hw_build.gates import (
    GateResult,
    Variation,
    argmax_ties,
    compare,
    compare_layers,
    decode,
)
from hw_build.graph import Meaning


def meaning(scale, offset=0.0):
    return Meaning("acc", np.asarray(scale, np.float64), np.asarray(offset, np.float64))


@given(
    st.lists(st.integers(-(2**30), 2**30), min_size=3, max_size=3),
    st.floats(2.0**-20, 8.0, width=32),
    st.floats(-1, 1, width=32),
)
def test_decode_inverts_meaning(integers, scale, offset):
    scales = np.array([scale, -scale, 3 * scale])
    given_meaning = meaning(scales, np.float64(offset) * scales)
    integers = np.array([integers])
    got = decode(given_meaning.to_real(integers), given_meaning, "layer")
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, integers)


@pytest.mark.parametrize("wrong", [0.5, 1e-5, np.nan, np.inf])
def test_decode_refuses_what_is_off_the_grid(wrong):
    real = np.array([[0.25, 0.5], [0.75, 1.0 + 0.25 * wrong], [0.0, 0.0]])
    text = r"tensor acc isn't on the grid(.|\n)*layer 'fc1', frame 1, channel 1(.|\n)*1 of 6 values"
    with pytest.raises(GateError, match=text):
        decode(real, meaning(0.25), "fc1")


def test_compare_counts_honestly():
    integers = np.arange(12).reshape(4, 3)
    assert compare("golden = rtl", "fc1", integers, integers.copy()) == GateResult(
        "golden = rtl", 4
    )
    assert compare("g", "l", integers.astype(np.uint8), integers.astype(np.int32)).mismatches == 0


def test_compare_names_the_first_difference():
    expected = np.zeros((4, 3), int)
    got = expected.copy()
    got[2, 1] = 7
    got[3] = 1
    with pytest.raises(GateError) as caught:
        compare("golden = rtl", "fc2", expected, got)
    text = str(caught.value)
    assert "gate 'golden = rtl', layer 'fc2', frame 2, channel 1" in text
    assert "7; 4 of 12 values differ, in 2 of 4 frames" in text
    assert "expected: 0" in text


@pytest.mark.parametrize(
    ("expected", "got", "text"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 4), int), r"shape \(2, 4\)(.|\n)*shape \(2, 3\)"),
        (np.zeros((2, 3), int), np.zeros((2, 1), int), "disagree on a shape"),  # no broadcasting
        (np.zeros((0, 3), int), np.zeros((0, 3), int), "0 vectors"),
    ],
)
def test_compare_refuses_other_shapes_and_nothing(expected, got, text):
    with pytest.raises(GateError, match=text):
        compare("g", "l", expected, got)


def test_reals_are_not_compared():
    with pytest.raises(TypeError, match="float64"):
        compare("g", "l", np.zeros((1, 1)), np.zeros((1, 1)))


def test_the_first_layer_in_the_networks_order_is_named():
    expected = {name: np.zeros((5, 2), int) for name in ("fc3", "fc1", "fc2")}
    got = {name: array.copy() for name, array in expected.items()}
    assert compare_layers("g", expected, got, ["fc1", "fc2", "fc3"]) == GateResult("g", 5)
    got["fc3"] += 1
    got["fc2"][4, 1] += 1
    with pytest.raises(GateError, match="layer 'fc2', frame 4, channel 1"):
        compare_layers("g", expected, got, ["fc1", "fc2", "fc3"])


def test_layers_left_out_or_cut_short_are_mismatches():
    layers = {"a": np.zeros((5, 2), int), "b": np.zeros((4, 2), int)}
    with pytest.raises(GateError, match=r"left a layer out(.|\n)*'b'"):
        compare_layers("g", layers, {"a": layers["a"]}, ["a", "b"])
    with pytest.raises(GateError, match=r"different numbers of frames(.|\n)*4, 5"):
        compare_layers("g", layers, layers, ["a", "b"])
    with pytest.raises(GateError, match="without layers"):
        compare_layers("g", layers, layers, [])


def test_argmax_ties():
    assert argmax_ties(np.array([[1, 3, 3], [2, 2, 3], [4, 4, 4], [5, 1, 1]])) == 2


def varied(**layers: np.ndarray) -> Variation:
    variation = Variation()
    variation.add(layers)
    return variation


def test_constant_channels_are_counted_and_dead_layers_refused():
    live = np.array([[1, 5, 2], [1, 6, 2], [1, 5, 2]])
    variation = varied(fc1=live, fc2=live[:, 1:2], dead=live[:, ::2])
    assert [variation.constant_channels(name) for name in ("fc1", "fc2", "dead")] == [2, 0, 2]
    variation.require(["fc1", "fc2"])
    text = r"dead network(.|\n)*layer 'dead'(.|\n)*all 2 channels constant over 3 inputs"
    with pytest.raises(UserError, match=text):
        variation.require(["fc1", "dead"])


def test_channels_that_vary_between_batches_only_vary():
    variation = varied(fc1=np.array([[1, 5], [1, 5]]))
    variation.add({"fc1": np.array([[1, 6], [1, 6]])})
    assert variation.constant_channels("fc1") == 1


def test_one_input_tells_nothing_of_variation():
    with pytest.raises(UserError, match="too few inputs"):
        varied(fc1=np.zeros((1, 3), int)).require(["fc1"])
