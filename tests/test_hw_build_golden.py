"""The golden model against plain int64 arithmetic, layer by layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.errors import UserError
from hw_build.golden import CHUNK_ROWS, execute
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold


def reference(graph: Graph, batch: np.ndarray) -> dict[str, np.ndarray]:
    """The layers' docstrings, word for word, in int64."""
    values: dict[str, np.ndarray] = {}
    for layer in graph:
        x = values[layer.sources[0]] if layer.sources else batch.astype(np.int64)
        match layer:
            case MatVec():
                x = np.einsum("ni,oi->no", x, layer.weights)
            case Threshold():
                x = layer.base + layer.step * (x[:, :, None] >= layer.thresholds).sum(axis=2)
            case ArgMax():
                x = np.array([[row.tolist().index(row.max())] for row in x]).reshape(len(x), 1)
        values[layer.name] = x
    return values


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 9))
    kinds = [BIPOLAR, IntType(1, False), IntType(2, True), IntType(8, True), IntType(8, False)]
    kind = draw(st.sampled_from(kinds))
    layers = [Input("input", (n,), kind)]
    width, info = n, layers[0].infer()
    for i in range(draw(st.integers(1, 3))):
        m, bits = draw(st.integers(1, 7)), draw(st.integers(1, 8))
        weights = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (m, width))
        layers.append(MatVec(f"fc{i}", layers[-1].name, weights))
        info, width = layers[-1].infer(info), m
        if draw(st.booleans()):
            k, base, step, kind = 1, -1, 2, BIPOLAR
        else:
            bits = draw(st.integers(1, 6))
            k, base, step, kind = 2**bits - 1, 0, 1, IntType(bits, False)
        thresholds = np.sort(rng.integers(info.lo.min() - 2, info.hi.max() + 3, (m, k)), axis=1)
        layers.append(Threshold(f"fc{i}_act", f"fc{i}", thresholds, base, step, kind))
        info = layers[-1].infer(info)
    layers.append(ArgMax("class", layers[-1].name))
    frames = rng.integers(layers[0].type.lo, layers[0].type.hi + 1, (draw(st.integers(0, 30)), n))
    if layers[0].type.bipolar:
        frames = np.where(frames > 0, 1, -1)
    return Graph(tuple(layers)), frames


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_equals_int64_arithmetic(drawn: tuple[Graph, np.ndarray]) -> None:
    graph, batch = drawn
    expected, got = reference(graph, batch), execute(graph, batch)
    assert list(got) or not graph.layers
    for layer in graph:
        assert got[layer.name].dtype.kind in "iu"
        assert got[layer.name].shape == expected[layer.name].shape
        assert (got[layer.name] == expected[layer.name]).all()


def one_layer(weight: int, n: int, kind: IntType) -> Graph:
    return Graph((Input("input", (n,), kind), MatVec("fc0", "input", np.full((2, n), weight))))


@pytest.mark.parametrize(("weight", "n", "bits"), [(127, 61, 8), (127, 9001, 8), (2**14, 6, 14)])
def test_large_sums_stay_exact(weight: int, n: int, bits: int) -> None:
    """Sums on both sides of float32's 2**24, ending in an odd unit that rounding would lose."""
    graph = one_layer(weight, n, IntType(bits, signed=False))
    graph["fc0"].weights[:, 0] = 1
    top = graph.input.type.hi
    batch = np.full((3, n), top)
    expected = top * (weight * (n - 1) + 1)
    assert expected % 2
    assert execute(graph, batch)["fc0"].tolist() == [[expected] * 2] * 3


def test_partial_sums_beyond_float64_are_refused() -> None:
    """The accumulator's own range is 0, but not that of its partial sums."""
    always = np.full((2, 1), -(2**31))
    graph = Graph(
        (
            Input("input", (2,), IntType(2, signed=True)),
            Threshold("act", "input", always, 2**31, 1, IntType(32, signed=False)),
            MatVec("fc0", "act", np.array([[2**23, -(2**23)]])),
        )
    )
    with pytest.raises(UserError, match=r"too large to be computed exactly[\s\S]*fc0"):
        execute(graph, np.zeros((1, 2), np.int64))


def test_chunks_and_kept_layers() -> None:
    graph = one_layer(3, 5, IntType(4, signed=True))
    batch = np.random.default_rng(0).integers(-8, 8, (2 * CHUNK_ROWS + 1, 5))
    got = execute(graph, batch, keep=["fc0"])
    assert list(got) == ["fc0"]
    assert (got["fc0"] == reference(graph, batch)["fc0"]).all()
    with pytest.raises(UserError, match="no such layer"):
        execute(graph, batch, keep=["fc9"])


@pytest.mark.parametrize(
    ("kind", "value"),
    [(BIPOLAR, 0), (BIPOLAR, 2), (IntType(3, True), 4), (IntType(3, False), -1)],
)
def test_inputs_outside_the_type_are_named(kind: IntType, value: int) -> None:
    batch = np.ones((4, 3), np.int8)
    batch[2, 1] = value
    with pytest.raises(UserError, match=rf"frame 2, channel 1[\s\S]*{value}[\s\S]*{kind}"):
        execute(one_layer(1, 3, kind), batch)


def test_wrong_batches() -> None:
    graph = one_layer(1, 3, BIPOLAR)
    with pytest.raises(UserError, match=r"wrong shape[\s\S]*\(frames, 3\)"):
        execute(graph, np.ones((2, 4), np.int8))
    with pytest.raises(UserError, match="takes integers"):
        execute(graph, np.ones((2, 3), np.float32))
