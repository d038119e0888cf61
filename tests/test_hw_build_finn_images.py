"""FINN on convolutional chains: its integers equal numpy's, faults are caught, refusals named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from finn_graphs import OUTPUTS, PART, WEIGHTS, Chain, check, cnv, draw, golden
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.onnx_exec import execute_onnx

from benchmarks.untrained import untrained
from deploy.errors import GateError, UserError
from hw_build.finn.build import generate
from hw_build.finn.dialect import to_finn
from hw_build.finn.execution import first_outside
from hw_build.finn.flow import run_finn
from hw_build.finn.folding import Folding, cycles_per_frame
from hw_build.finn.result import FinnResult
from hw_build.folding_target import folding_for_rate
from hw_build.golden import execute
from hw_build.graph import (
    BIPOLAR,
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    IntType,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    Threshold,
    TopK,
    Upsample,
    Window,
)
from hw_build.importer import import_qonnx
from hw_build.pipeline.finn import n_finn_inputs
from training.qonnx_export import to_qonnx

UINT8 = IntType(8, signed=False)
BINARY = ["binary"] * 4
SIGNS = ["bipolar"] * 3

# The dialect, executed by qonnx


def steps(most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, most), st.integers(1, most))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    input_type=st.sampled_from([BIPOLAR, IntType(2, signed=True), UINT8]),
    weights=st.lists(st.sampled_from(sorted(WEIGHTS)), min_size=3, max_size=3),
    outputs=st.lists(st.sampled_from(sorted(OUTPUTS)), min_size=2, max_size=2),
    sides=st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0)]),
    window=st.tuples(steps(3), steps(2), steps(2)),
    pool=st.sampled_from([None, ((2, 2), (2, 2)), ((2, 1), (1, 1)), ((1, 2), (1, 1))]),
)
def test_dialect_computes_images(seed, input_type, weights, outputs, sides, window, pool):
    chain = Chain(seed, (12, 13, 2), input_type)
    if any(sides):
        chain.pad("pad0", sides)
    chain.window("win0", *window)
    chain.matvec("conv0", 4, weights[0])
    chain.threshold("act0", outputs[0])
    if pool is not None:
        chain.pool("pool0", *pool)
    chain.pad("pad1", sides)
    chain.window("win1", (2, 1))
    chain.matvec("conv1", 3, weights[1])
    chain.threshold("act1", outputs[1])
    chain.flatten()
    chain.matvec("fc0", 5, weights[2])
    graph = chain.graph
    model = to_finn(graph)
    inputs = draw(graph, 2, seed)
    expected = golden(graph, inputs)
    for row, image in enumerate(model.carried["in"].encode(inputs)):
        context = execute_onnx(model.model, {"in": image[None]}, return_full_exec_context=True)
        seen = {name for name, carried in model.carried.items() if carried.tensor in context}
        assert set(model.carried) - seen == set(model.windows.values())
        for name in seen:
            found = model.carried[name].decode(context[name])[0]
            assert (found == expected[name][row]).all(), name


def held(chain: Chain) -> dict[str, str]:
    model = to_finn(chain.graph).model
    return {name: model.get_tensor_datatype(name).name for name in model.get_all_tensor_names()}


@pytest.mark.parametrize(
    ("padded", "pooled", "weights", "kind"),
    [
        (False, False, "binary", "BINARY"),  # bits for an XNOR unit, through pools and padding
        (False, True, "binary", "BINARY"),
        (True, True, "binary", "INT2"),  # 0 is no bipolar value
        (False, False, "ternary", "BIPOLAR"),
        (False, True, "ternary", "INT2"),  # in BIPOLAR's ap_int<1>, +1 is the lesser one
    ],
)
def test_how_a_bipolar_image_is_held(padded, pooled, weights, kind):
    chain = Chain(1, (6, 6, 3), UINT8)
    chain.matvec("conv0", 4, "binary")
    chain.threshold("act0", "bipolar")
    if pooled:
        chain.pool("pool0", (2, 2), (2, 2))
    if padded:
        chain.pad("pad1", (1, 1, 1, 1))
    chain.window("win1", (3, 3))
    chain.matvec("conv1", 4, weights)
    types = held(chain)
    assert {types[name] for name in ("act0", "win1")} == {kind}


def test_a_max_pool_may_be_padded_where_the_least_is_held_as_0():
    chain = Chain(1, (6, 6, 3), BIPOLAR)
    chain.pad("pad0", (1, 1, 1, 1), -1)
    chain.pool("pool0", (3, 3), (2, 2))
    chain.matvec("conv0", 4, "binary")
    assert held(chain)["pad0"] == "BINARY"
    chain.layers[-1] = MatVec("conv0", "pool0", np.zeros((4, 3), np.int64))
    with pytest.raises(UserError, match="FINN pads images with 0 alone"):
        to_finn(chain.graph)


# What is refused


X = Input("in", (6, 6, 4), UINT8)
ONES = np.ones((4, 1), np.int64)
REFUSED: list[tuple[tuple[Layer, ...], str]] = [
    ((Depthwise("dw0", "in", ONES),), "dw0\n.*Depthwise: a depthwise convolution, an average pool"),
    ((Add("add0", "in", "in"),), "add0\n.*Add: a residual connection"),
    ((Concat("cat0", ("in", "in")),), "cat0\n.*Concat: branches joined"),
    ((Upsample("up0", "in", (2, 2)),), "up0\n.*Upsample: pixels repeated"),
    ((TopK("top5", "in", 2),), "top5\n.*TopK: the indices of several scores"),
    ((MaxPool("pool0", "in", 2),), "FINN pools what lies under a window"),
    ((Pad("pad0", "in", 1, 1, 1, 1, 7),), "FINN pads images with 0 alone\n.*pad0\n.*7 around in"),
    ((ArgMax("class", "in"),), "the class of a vector, not of every pixel"),
    ((Flatten("flat", "in"),), "FINN drops a Flatten between two layers of hardware"),
    (
        (Window("w", "in", (2, 2), (3, 3)), MaxPool("pool0", "w", 4)),
        r"FINN's max pool takes no pixels apart.*\n.*pool0\n.*stride \(3, 3\)",
    ),
    (
        (Window("w", "in", (2, 2), (1, 1), (2, 1)), MaxPool("pool0", "w", 4)),
        r"FINN's max pool takes no pixels apart.*\n.*pool0\n.*dilation \(2, 1\)",
    ),
]


@pytest.mark.parametrize(("layers", "message"), REFUSED, ids=[r[0][-1].name for r in REFUSED])
def test_what_the_dialect_is_not_written_for(layers, message):
    with pytest.raises(UserError, match=message):
        to_finn(Graph((X, *layers)))


# FINN itself


def test_a_value_beyond_its_type_is_found():
    model = to_finn(cnv(1, UINT8, BINARY, SIGNS)).model
    values = np.ones(model.get_tensor_shape("act0"), np.float32)
    assert first_outside(model, "act0", 7, values) is None
    values[0, 2, 3, 1] = 2
    found = first_outside(model, "act0", 7, values)
    assert found == {"tensor": "act0", "type": "BINARY", "index": [7, 2, 3, 1], "value": 2.0}


def test_finn_runs_a_binary_cnv_as_folded(tmp_path):
    graph = cnv(2, UINT8, BINARY, SIGNS, padded=True)
    folding = {"conv0": (1, 6), "pool0": (2, 1), "conv1": (2, 3), "fc0": (2, 8), "fc1": (1, 3)}
    result = check(graph, tmp_path, folding=folding)
    assert (result.folding, result.vectors) == ("given", 100)
    blocks = [
        *("FMPadding_rtl", "ConvolutionInputGenerator_rtl", "MVAU_hls"),
        *("ConvolutionInputGenerator_rtl", "Pool_hls"),
        *("FMPadding_rtl", "ConvolutionInputGenerator_rtl", "MVAU_hls", "MVAU_hls", "MVAU_hls"),
    ]
    assert [layer.op_type for layer in result.layers] == blocks
    computed = [["pad0"], ["win0"], ["conv0", "act0"], ["pool0_window"], ["pool0"], ["pad1"]]
    computed += [["win1"], ["conv1", "act1"], ["fc0", "act2"], ["fc1"]]
    assert [layer.layers for layer in result.layers] == computed
    lanes = [(layer.pe, layer.simd) for layer in result.layers]
    assert lanes[2:5] == [(1, 6), (None, 2), (2, None)]  # a pool and its generator alike
    assert lanes[1] == (None, 2)  # of the 6, as many as a pixel has channels
    assert lanes[6:9] == [(None, 3), (2, 3), (2, 8)]
    assert result.cycles_per_frame == 64 * 6 * 18 // 6 == cycles_per_frame(graph, folding)
    assert result.compared == ["pad0", "act0", "pool0", "pad1", "act1", "act2", "fc1"]


@pytest.mark.parametrize("layer", ["fc0", pytest.param("conv1", marks=pytest.mark.nightly)])
def test_columns_in_another_order_are_caught(tmp_path, layer):
    """Channel, row, column, as QONNX has them, in place of row, column, channel."""
    graph = cnv(3, UINT8, BINARY, SIGNS)
    inputs = draw(graph, 20)
    expected = golden(graph, inputs)
    weights = graph[layer].weights
    n_channels = 6 if layer == "conv1" else 8
    swapped = weights.reshape(len(weights), -1, n_channels).swapaxes(1, 2).reshape(weights.shape)
    layers = [
        MatVec(layer, one.source, swapped) if one.name == layer else one for one in graph.layers
    ]
    behind = {"conv1": "act1", "fc0": "act2"}[layer]
    with pytest.raises(GateError, match=f"differs from the golden integers\n.*layer {behind}, "):
        run_finn(Graph(tuple(layers)), inputs, expected, tmp_path, part=PART, clock_mhz=100.0)
    assert not (tmp_path / "finn.json").exists()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "weights", "outputs", "padded", "standalone"),
    [
        (BIPOLAR, BINARY, SIGNS, False, False),
        (UINT8, BINARY, SIGNS, False, True),
        (UINT8, ["ternary"] * 4, SIGNS, True, False),
        (IntType(2, signed=True), ["no +1", "binary", "ternary", "int4"], ["int2"] * 3, True, True),
        (UINT8, ["int4"] * 4, ["uint4", "bit", "uint2 from 1"], False, False),
    ],
)
def test_finn_all_types_of_images(tmp_path, kind, weights, outputs, padded, standalone):
    """Folded by FINN, for want of a folding."""
    graph = cnv(5, kind, weights, outputs, padded=padded)
    result = check(graph, tmp_path, standalone_thresholds=standalone, target_fps=1e5)
    assert result.folding == "FINN"
    assert result.cycles_per_frame <= 1000


@pytest.mark.nightly
def test_finn_an_unusual_chain(tmp_path):
    """Steps and kernels that differ by side, a threshold behind a pool, a class at the end."""
    chain = Chain(6, (9, 12, 4), IntType(2, signed=True))
    chain.pad("pad0", (2, 0, 1, 1))
    chain.window("win0", (3, 2), (2, 1), (1, 2))
    chain.matvec("conv0", 6, "ternary")
    chain.pool("pool0", (2, 3), (1, 2))
    chain.threshold("act0", "bipolar")
    chain.matvec("conv1", 8, "binary")
    chain.threshold("act1", "ternary")
    chain.flatten()
    chain.matvec("fc0", 10, "ternary")
    chain.argmax()
    result = check(chain.graph, tmp_path)
    assert [layer.op_type for layer in result.layers[2:6]] == [
        *("MVAU_hls", "ConvolutionInputGenerator_rtl", "Pool_hls", "Thresholding_rtl")
    ]
    assert result.compared == ["pad0", "conv0", "pool0", "act0", "act1", "fc0", "class"]


CNV_FOLDING = {
    "conv0": (16, 3),
    "conv1": (32, 32),
    "conv2": (16, 32),
    "conv3": (16, 32),
    "conv4": (4, 32),
    "conv5": (1, 32),
    "fc0": (1, 4),
    "fc1": (1, 8),
    "fc2": (5, 1),
}
"""The folding of FINN's own example of a CNV."""


def run_shipped(name: str, n: int, folding: Folding | None, folder: Path) -> FinnResult:
    """A network of training/configs with drawn weights, from QONNX on, through FINN."""
    network, inputs = untrained(name, n)
    path = folder / "model.onnx"
    path.write_bytes(to_qonnx(network).SerializeToString())
    imported = import_qonnx(path)
    graph, integers = imported.graph, imported.quantiser(inputs)
    expected = execute(graph, integers)
    scores = expected[graph.output.name]
    assert (scores != scores[0]).any(), "a dead network"
    if folding is None:
        folds = folding_for_rate(graph, 200_000, 64)
        folding = {one: (fold.pe, fold.simd) for one, fold in folds.items() if one != "input"}
    options = {"part": PART, "clock_mhz": 100.0, "folding": folding}
    result = run_finn(graph, integers, expected, folder / "finn", **options)
    assert result.folding == "given"
    assert result.cycles_per_frame == cycles_per_frame(graph, folding)
    values = [layer.name for layer in graph if isinstance(layer, Pad | Threshold | MaxPool)]
    assert result.compared == [*values, graph.output.name]
    return result


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "lut", "bram18"),
    [("cnv_w1a1", 23_795, 147), ("cnv_w1a2", 38_964, 284), ("cnv_w2a2", 38_887, 284)],
)
def test_finn_cnv(tmp_path: Path, name: str, lut: int, bram18: int) -> None:
    result = run_shipped(name, 20, CNV_FOLDING, tmp_path)
    assert result.cycles_per_frame == 32_768
    # FINN's formulas know sizes and types; of the drawn weights, the accumulators' widths alone.
    assert result.total == {"lut": lut, "bram18": bram18, "uram": 0, "dsp": 0}


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["lenet5_w2a2", "conv1d_w1a1"])
def test_finn_shipped_networks(tmp_path: Path, name: str) -> None:
    run_shipped(name, 40, None, tmp_path)


@pytest.mark.nightly
def test_finn_generates_the_blocks_of_images(tmp_path: Path) -> None:
    graph = cnv(7, UINT8, BINARY, SIGNS, padded=True)
    folding = {"conv0": (1, 6), "pool0": (2, 1), "conv1": (2, 3), "fc0": (2, 8), "fc1": (1, 3)}
    check(graph, tmp_path, folding=folding)
    generate(tmp_path, "pynq_z2", 100.0, vendor=False)
    files = {
        made["node"]: made["files"] for made in json.loads((tmp_path / "code.json").read_text())
    }
    assert files["FMPadding_rtl_1"] == ["FMPadding_rtl_1.v"]
    assert "top_Pool_hls_0.cpp" in files["Pool_hls_0"]
    name = "ConvolutionInputGenerator_rtl_2"
    assert sorted(files[name]) == [f"{name}_impl.sv", f"{name}_wrapper.v"]
    words = (tmp_path / "code" / "MVAU_hls_2" / "memblock.dat").read_text().split()
    weights = graph["fc0"].weights  # type: ignore[union-attr]
    rows = weights.reshape(6, 2, 16, 8).transpose(0, 2, 1, 3)  # (NF, SF, PE, SIMD), lane 0 lowest
    bits = (rows.reshape(len(words), -1) > 0).astype(int)
    assert [int(word, 16) for word in words] == [int(row @ (1 << np.arange(16))) for row in bits]


def test_fewer_inputs_of_a_network_with_many_products():
    chain = Chain(1, (64, 64, 3), UINT8)
    chain.matvec("conv0", 8, "binary")  # 98,304 products a frame
    assert n_finn_inputs(chain.graph) == 100
    square = MatVec("conv1", "conv0", np.ones((80_000, 8), np.int64))  # 2.6 thousand million more
    assert n_finn_inputs(Graph((*chain.layers, square))) == 38
    chain.layers.append(MatVec("conv1", "conv0", np.ones((400_000, 8), np.int64)))
    assert n_finn_inputs(chain.graph) == 10
