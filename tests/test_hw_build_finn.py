"""FINN on random integer graphs: its integers equal numpy's, faults are caught, errors are named.

Vectors are here, images in the file beside this one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from finn_graphs import OUTPUTS, PART, WEIGHTS, check, draw, golden, mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.onnx_exec import execute_onnx

from deploy.errors import GateError, MachineError, UserError
from hw_build.finn import flow as finn_flow
from hw_build.finn.build import generate, missing_for_bitstream, require_tools
from hw_build.finn.dialect import to_finn
from hw_build.finn.flow import run_finn
from hw_build.finn.folding import folding_refusal
from hw_build.graph import BIPOLAR, Graph, Input, IntType, MatVec, Threshold

SMALL = [64, 32, 32, 10]
MIXED = ["bipolar", "ternary"]


# The dialect, executed by qonnx


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    input_type=st.sampled_from([BIPOLAR, IntType(2, signed=True), IntType(8, signed=False)]),
    weights=st.lists(st.sampled_from(sorted(WEIGHTS)), min_size=3, max_size=3),
    outputs=st.lists(st.sampled_from(sorted(OUTPUTS)), min_size=2, max_size=2),
    argmax=st.booleans(),
)
def test_dialect_computes_the_graph(seed, input_type, weights, outputs, argmax):
    graph = mlp(seed, [12, 7, 6, 5], input_type, weights, outputs, argmax=argmax)
    model = to_finn(graph)
    inputs = draw(graph, 4, seed)
    expected = golden(graph, inputs)
    for row, vector in enumerate(model.carried["in"].encode(inputs)):
        context = execute_onnx(model.model, {"in": vector[None]}, return_full_exec_context=True)
        for name, carried in model.carried.items():
            found = carried.decode(context[carried.tensor])[0]
            assert found.tolist() == expected[name][row].tolist(), name


def test_dialect_annotates_types():
    graph = mlp(1, SMALL, BIPOLAR, ["binary", "ternary", "binary"], MIXED)
    model = to_finn(graph).model
    names = ["in", "fc0.weights", "act0", "fc1.weights", "act1", "fc2.weights"]
    types = [model.get_tensor_datatype(name).name for name in names]
    assert types == ["BINARY", "BINARY", "BIPOLAR", "TERNARY", "INT2", "BIPOLAR"]
    assert [node.op_type for node in model.graph.node] == [
        *("XnorPopcountMatMul", "MultiThreshold", "MatMul", "MultiThreshold", "MatMul")
    ]


def test_dialect_refuses_what_finn_cannot_hold():
    wide = Graph((Input("in", (4,), IntType(24, signed=False)), MatVec("fc", "in", np.eye(4) + 1)))
    with pytest.raises(UserError, match="float32, which does not hold these integers exactly"):
        to_finn(wide)
    x = Input("in", (4,), BIPOLAR)
    signs = np.ones((4, 4), np.int64)
    stacked = Graph((x, MatVec("fc0", "in", signs), MatVec("fc1", "fc0", signs)))
    with pytest.raises(UserError, match="a matrix product cannot read FINN's popcounts"):
        to_finn(stacked)
    fork = Graph((x, MatVec("fc0", "in", signs), MatVec("fc1", "in", signs)))
    with pytest.raises(UserError, match="reads fc0, the layer before it"):
        to_finn(fork)
    by_three = Threshold("act", "in", np.zeros((4, 1), np.int64), 0, 3, IntType(3, signed=False))
    with pytest.raises(UserError, match="FINN counts thresholds by 1, or by 2 from -1"):
        to_finn(Graph((x, by_three)))


# Foldings


@pytest.mark.parametrize(
    ("folding", "reason"),
    [
        (None, "no folding was given"),
        ({"fc0": (4, 8)}, "fc1 has no PE and SIMD"),
        ({"fc0": (5, 8)}, "PE 5, SIMD 8 do not divide fc0, 64 x 2048"),
        ({"fc0": (4, 1)}, "SIMD 1 of fc0 is less than its 2048 inputs / 1024"),
        ({"fc0": (8, 1024)}, "fc0 reads 8192 weight bits a cycle, FINN's HLS takes 8191"),
        ({"fc0": (4, 8), "fc1": (10, 64)}, None),
    ],
)
def test_folding_refusal(folding, reason):
    graph = mlp(0, [2048, 64, 10], BIPOLAR, ["binary"] * 2, ["bipolar"])
    assert folding_refusal(graph, folding) == reason


# FINN itself


def test_finn_w1a1_as_given(tmp_path):
    graph = mlp(2, SMALL, BIPOLAR, ["binary"] * 3, ["bipolar"] * 2, argmax=True)
    folding = {"fc0": (8, 16), "fc1": (4, 16), "fc2": (2, 8)}
    home = {path.name for path in Path.home().iterdir()}
    result = check(graph, tmp_path / "finn", folding=folding)
    assert (result.folding, result.vectors) == ("given", 100)
    assert [layer.op_type for layer in result.layers] == ["MVAU_hls"] * 3 + ["LabelSelect_hls"]
    assert [(layer.pe, layer.simd) for layer in result.layers[:3]] == [*folding.values()]
    assert [layer.cycles for layer in result.layers] == [16, 16, 20, 10]
    assert [layer.layers for layer in result.layers[:2]] == [["fc0", "act0"], ["fc1", "act1"]]
    assert result.compared == ["act0", "act1", "fc2", "class"]
    assert result.cycles_per_frame == 20
    assert result.frames_per_second == 5e6
    assert result.total["lut"] == sum(layer.lut for layer in result.layers) > 1000
    record = json.loads((tmp_path / "finn/finn.json").read_text())
    assert record["kind"] == "estimated by FINN"
    assert record["versions"]["finn-plus"]
    assert {path.name for path in Path.home().iterdir()} == home
    left = {path.name for path in (tmp_path / "finn").iterdir()}
    assert not {name for name in left if name.startswith("tmp")}, left


def test_finn_mixed_types_with_finns_folding(tmp_path):
    graph = mlp(3, SMALL, IntType(2, signed=True), ["no +1", "binary", "ternary"], MIXED)
    result = check(graph, tmp_path, folding={"fc0": (7, 16)}, target_fps=100e6 / 64)
    assert result.folding == "FINN"
    assert "PE 7, SIMD 16 do not divide fc0" in result.folding_reason
    assert 1 < result.cycles_per_frame <= 64
    assert result.layers[0].weight_type == "INT2"  # FINN would say BIPOLAR, which has no 0
    assert any("fc0: weight type BIPOLAR does not hold -1..0" in text for text in result.repairs)


@pytest.mark.nightly
def test_finn_standalone_thresholds_use_rtl(tmp_path):
    graph = mlp(4, SMALL, IntType(4, signed=False), ["int4"] * 3, ["uint4"] * 2)
    result = check(graph, tmp_path, standalone_thresholds=True, target_fps=1e6)
    assert {layer.implementation for layer in result.layers} == {"rtl"}
    assert result.total["dsp"] > 0
    assert result.compared == ["fc0", "act0", "fc1", "act1", "fc2"]


def test_finn_keeps_popcounts_beyond_its_own_accumulator(tmp_path):
    """FINN takes INT10 for the popcount of 784 inputs: 511 at most, thresholds clipped to 512."""
    rng = np.random.default_rng(5)
    weights = rng.choice([-1, 1], (16, 784)).astype(np.int64)
    thresholds = np.full((16, 1), 2 * 640 - 784)  # a popcount of 640
    layers = (
        Input("in", (784,), BIPOLAR),
        MatVec("fc0", "in", weights),
        Threshold("act0", "fc0", thresholds, -1, 2, BIPOLAR),
    )
    graph = Graph(layers)
    agreement = rng.uniform(0.6, 1.0, (100, 1))  # popcounts from about 470 to 784
    chosen = weights[rng.integers(0, 16, 100)]
    inputs = np.where(rng.random((100, 784)) < agreement, chosen, -chosen)
    expected = golden(graph, inputs)
    popcounts = (expected["fc0"] + 784) // 2
    assert ((popcounts > 512) & (popcounts < 640)).any()
    assert (popcounts >= 640).any()
    result = run_finn(graph, inputs, expected, tmp_path, part=PART, clock_mhz=100.0)
    assert result.repairs == [
        "fc0: accumulator INT10 does not hold a popcount of 784: UINT10",
        "act0: 16 thresholds were clipped to other values; put back as UINT10",
    ]


def test_finn_planted_fault_is_caught(tmp_path):
    graph = mlp(6, SMALL, BIPOLAR, ["binary"] * 3, ["bipolar"] * 2)
    inputs = draw(graph, 100)
    expected = golden(graph, inputs)
    weights = graph["fc0"].weights.copy()
    channel = np.abs(graph["act0"].thresholds[:, 0]).argmin()  # there a change of 2 shows
    weights[channel, 5] *= -1
    layers = (graph.input, MatVec("fc0", "in", weights), *graph.layers[2:])
    with pytest.raises(GateError, match=rf"layer act0, index \(\d+, {channel}\)") as caught:
        run_finn(Graph(layers), inputs, expected, tmp_path, part=PART, clock_mhz=100.0)
    index = tuple(int(text) for text in caught.value.where.split("(")[1].rstrip(")").split(","))
    wrong = golden(Graph(layers), inputs)["act0"]
    assert caught.value.expected == str(expected["act0"][index])
    assert caught.value.found.startswith(f"{wrong[index]}; ")
    assert not (tmp_path / "finn.json").exists()


def test_finn_missing_package(tmp_path, monkeypatch):
    monkeypatch.setattr(finn_flow, "PACKAGE", "finn-plus-absent")
    graph = mlp(7, SMALL, BIPOLAR, ["binary"] * 3, ["bipolar"] * 2)
    with pytest.raises(MachineError, match=r"FINN is not installed(.|\n)*make setup"):
        check(graph, tmp_path / "finn")
    assert not (tmp_path / "finn").exists()


def test_finn_stopping_is_reported(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("step: step_convert_to_hw\nTraceback\nFINNUserError: no such thing\n")
    error = finn_flow._failure(1, log)
    assert isinstance(error, UserError)
    assert "stopped in step_convert_to_hw" in error.what
    assert error.found == "FINNUserError: no such thing"
    killed = finn_flow._failure(-9, log)
    assert isinstance(killed, MachineError)
    assert "signal 9" in str(killed)


@pytest.mark.nightly
@pytest.mark.parametrize("standalone", [False, True])
@pytest.mark.parametrize("output", sorted(set(OUTPUTS) - {"constant"}))
@pytest.mark.parametrize("input_type", [BIPOLAR, IntType(8, signed=False)], ids=str)
def test_finn_all_types(tmp_path, input_type, output, standalone):
    weights = ["binary", "ternary", "binary"]
    graph = mlp(8, SMALL, input_type, weights, [output, output], argmax=standalone)
    check(graph, tmp_path, standalone_thresholds=standalone, target_fps=1e6)


@pytest.mark.nightly
@pytest.mark.parametrize("weights", ["binary", "ternary"])
def test_finn_thresholds_on_the_input(tmp_path, weights):
    """A standalone Threshold to bipolar, read by an XNOR unit and by one with other weights."""
    pixels = Input("in", (64,), IntType(8, signed=False))
    cut = np.random.default_rng(10).integers(-3, 260, (64, 1))
    layers = mlp(10, SMALL, BIPOLAR, [weights] * 3, ["bipolar"] * 2).layers[1:]
    first = MatVec("fc0", "bits", layers[0].weights)
    graph = Graph((pixels, Threshold("bits", "in", cut, -1, 2, BIPOLAR), first, *layers[1:]))
    result = check(graph, tmp_path)
    assert result.layers[0].op_type == "Thresholding_rtl"
    assert result.compared == ["bits", "act0", "act1", "fc2"]


@pytest.mark.nightly
def test_finn_tfc_w1a1(tmp_path):
    graph = mlp(9, [784, 64, 64, 64, 10], BIPOLAR, ["binary"] * 4, ["bipolar"] * 3)
    folding = {"fc0": (16, 49), "fc1": (8, 8), "fc2": (8, 8), "fc3": (10, 8)}
    result = check(graph, tmp_path, folding=folding)
    assert result.cycles_per_frame == 64
    assert result.total["lut"] == 8041  # FINN's formula knows sizes and types, not values


# FINN's own hardware


NO_TOOLS = ("no vivado", "XILINX_VIVADO is not set", "no vitis_hls or vitis-run", "no finn-hlslib")


def test_all_that_is_missing_for_a_bitstream_is_one_message(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    monkeypatch.setenv("FINN_DEPS", str(tmp_path / "deps"))
    missing = missing_for_bitstream()
    for item, start in zip(missing, NO_TOOLS, strict=True):
        assert item.startswith(start)
    with pytest.raises(MachineError) as caught:
        require_tools(missing, tmp_path)
    assert all(item in caught.value.found for item in missing)
    have_tools(tmp_path, monkeypatch)
    assert missing_for_bitstream() == ()
    require_tools((), tmp_path)


def have_tools(folder: Path, monkeypatch) -> None:
    """Programs with the names of the vendor's, and a folder for FINN's library."""
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("FINN_DEPS", str(folder / "deps"))
    monkeypatch.setenv("XILINX_VIVADO", str(folder / "Vivado" / "2022.2"))
    (folder / "deps" / "finn-hlslib").mkdir(parents=True)
    for tool in ("vivado", "vitis_hls"):
        (folder / tool).write_text("#!/bin/sh\nexit 1\n")
        (folder / tool).chmod(0o755)


@pytest.mark.nightly
def test_finn_generates_each_layer_with_its_weights(tmp_path: Path, monkeypatch) -> None:
    graph = mlp(1, SMALL, BIPOLAR, ["binary"] * 3, ["bipolar"] * 2)
    folding = {"fc0": (4, 8), "fc1": (4, 8), "fc2": (2, 8)}
    check(graph, tmp_path, folding=folding)
    generate(tmp_path, "pynq_z2", 100.0, vendor=False)
    generated = json.loads((tmp_path / "code.json").read_text())
    assert [layer["op_type"] for layer in generated] == ["MVAU_hls"] * 3
    for layer, (name, (pe, simd)) in zip(generated, folding.items(), strict=True):
        code = tmp_path / "code" / layer["node"]
        assert f"top_{layer['node']}.cpp" in layer["files"]
        words = [int(line, 16) for line in (code / "memblock.dat").read_text().split()]
        weights = graph[name].weights  # type: ignore[union-attr]
        assert len(words) == weights.size // (pe * simd)
        assert sum(word.bit_count() for word in words) == np.count_nonzero(weights == 1)
    with pytest.raises(UserError, match="FINN does not know this board"):
        generate(tmp_path, "other", 100.0, vendor=False)

    # with tools that are none, the vendor's part starts, and fails in what it needs first
    have_tools(tmp_path / "tools", monkeypatch)
    with pytest.raises(UserError, match="FINN stopped in xsi"):
        generate(tmp_path, "pynq_z2", 100.0, vendor=True)
