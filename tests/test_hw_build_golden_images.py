"""Layers of images against their definitions, written out as loops over single integers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_build.golden import execute
from hw_build.graph import (
    BIPOLAR,
    Add,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    IntType,
    MaxPool,
    Pad,
    TopK,
    Upsample,
    Window,
)
from hw_build.layer_file import layer_from_json, layer_to_json

INT4 = IntType(4, signed=True)
SIDES = st.integers(1, 3)


def run(layers: tuple, shape: tuple[int, ...], kind: IntType = INT4, n: int = 2) -> tuple:
    """Random frames, what the last layer makes of them; its proven range holds it."""
    arrays: dict[str, np.ndarray] = {}
    written = [layer_to_json(layer, arrays) for layer in layers]
    kept = tuple(layer_from_json(document, arrays) for document in written)
    graph = Graph((Input("input", shape, kind), *kept))
    rng = np.random.default_rng(1)
    x = rng.choice([-1, 1], (n, *shape)) if kind.bipolar else rng.integers(-8, 8, (n, *shape))
    y = execute(graph, x)[kept[-1].name]
    info = graph.infer()[kept[-1].name]
    assert y.shape == (n, *info.shape)
    assert (y >= info.lo).all()
    assert (y <= info.hi).all()
    return x, y, info


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kernel=st.tuples(SIDES, SIDES), stride=st.tuples(SIDES, SIDES), dilation=st.tuples(SIDES, SIDES)
)
def test_a_window_is_what_lies_under_the_kernel(kernel, stride, dilation):
    x, y, info = run((Window("w", "input", kernel, stride, dilation),), (9, 8, 2))
    n_rows, n_columns = info.shape[:2]
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    assert (n_rows - 1) * stride[0] + reach[0] < 9 <= n_rows * stride[0] + reach[0]
    assert (n_columns - 1) * stride[1] + reach[1] < 8 <= n_columns * stride[1] + reach[1]
    for r, c in product(range(n_rows), range(n_columns)):
        under = [
            x[:, r * stride[0] + i * dilation[0], c * stride[1] + j * dilation[1]]
            for i, j in product(range(kernel[0]), range(kernel[1]))
        ]
        assert (y[:, r, c] == np.concatenate(under, axis=1)).all()


def test_padding_puts_a_real_zero_around_bipolar_pixels():
    x, y, info = run((Pad("p", "input", 1, 2, 0, 1, 0),), (2, 3, 1), BIPOLAR)
    assert info.type == IntType(2, signed=True)
    assert (y[:, 1:, 2:5] == x).all()
    assert not y[:, 0].any()
    assert not y[:, :, :2].any()
    assert not y[:, :, 5].any()


def test_padding_with_what_the_type_does_not_hold_is_refused():
    with pytest.raises(ValueError, match="99 is no INT4"):
        run((Pad("p", "input", 1, 1, 1, 1, 99),), (2, 2, 1))


@pytest.mark.parametrize("per_channel", [1, 2])
def test_depthwise_sums_each_channel_by_itself(per_channel):
    rng = np.random.default_rng(2)
    weights = rng.integers(-8, 8, (3 * per_channel, 4))
    layers = (Window("w", "input", (2, 2)), Depthwise("d", "w", weights))
    x, y, _ = run(layers, (3, 3, 3))
    for r, c, o in product(range(2), range(2), range(3 * per_channel)):
        pixels = x[:, r : r + 2, c : c + 2, o // per_channel].reshape(2, 4)
        assert (y[:, r, c, o] == pixels @ weights[o]).all()


def test_max_pool_and_flatten():
    layers = (Window("w", "input", (2, 2), (2, 2)), MaxPool("m", "w", 4), Flatten("f", "m"))
    x, y, info = run(layers, (4, 4, 3))
    assert info.shape == (12,)
    assert (y == x.reshape(2, 2, 2, 2, 2, 3).max(axis=(2, 4)).reshape(2, 12)).all()


def test_add_concat_and_upsample():
    layers = (
        Upsample("u", "input", (2, 3)),
        Concat("c", ("u", "u")),
        Add("a", "c", "c", (3, -1)),
    )
    x, y, _ = run(layers, (2, 2, 2))
    assert y.shape == (2, 4, 6, 4)
    for r, c, o in product(range(4), range(6), range(4)):
        assert (y[:, r, c, o] == 2 * x[:, r // 2, c // 3, o % 2]).all()


def test_top_k_takes_the_lowest_index_among_equals():
    graph = Graph((Input("input", (5,), INT4), TopK("t", "input", 3)))
    y = execute(graph, np.array([[1, 7, 7, -8, 1], [0, 0, 0, 0, 0]]))["t"]
    assert y.tolist() == [[1, 2, 0], [0, 1, 2]]
