"""Convolutional networks: the importer's graph against the oracle, layer by layer, and refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_images import IMAGE_ZOO, ImageWriter
from qonnx_images_refused import IMAGE_REFUSED, refused_model

from deploy.errors import UserError
from hw_build.gates import decode
from hw_build.golden import execute
from hw_build.graph import Add, ArgMax, Threshold
from hw_build.graph_file import Imported, load, save
from hw_build.importer import import_qonnx
from hw_build.oracle import Oracle


def imported(model: onnx.ModelProto, folder: Path) -> Imported:
    onnx.save(model, folder / "model.onnx")
    return import_qonnx(folder / "model.onnx")


def mismatches(network: Imported, model: onnx.ModelProto, x: np.ndarray) -> dict[str, int]:
    """How many integers of every layer with a meaning differ from the oracle's."""
    got = execute(network.graph, network.quantiser(x))
    oracle = Oracle(model)
    meanings = network.graph.meanings
    reals = oracle.run(x, [meaning.tensor for meaning in meanings.values()])
    assert not oracle.inexact
    counts = {}
    for name, meaning in meanings.items():
        real = meaning.arrange(reals[meaning.tensor], got[name].shape[1:])
        counts[name] = int((decode(real, meaning, name) != got[name]).sum())
    return counts


@pytest.mark.parametrize("name", IMAGE_ZOO)
def test_every_layer_equals_the_oracle(name: str, tmp_path: Path) -> None:
    specimen = IMAGE_ZOO[name]()
    network = imported(specimen.model, tmp_path)
    assert network.input_shape == specimen.shape
    own = network.quantiser.random_inputs(200, seed=3)
    for x in (specimen.inputs(200, seed=2), own):
        assert not any(mismatches(network, specimen.model, x).values())
    values = execute(network.graph, network.quantiser(own))
    for layer, info in network.graph.infer().items():
        assert (values[layer] >= info.lo).all()
        assert (values[layer] <= info.hi).all()
        assert len(np.unique(values[layer].reshape(len(own), -1), axis=0)) > 1
    save(network, tmp_path / "graph")
    again = load(tmp_path / "graph")
    assert (again.quantiser(own) == network.quantiser(own)).all()
    assert [m.channels_first for m in again.graph.meanings.values()] == [
        m.channels_first for m in network.graph.meanings.values()
    ]


@pytest.mark.parametrize("name", IMAGE_REFUSED)
def test_refusals_name_the_cause(name: str, tmp_path: Path) -> None:
    end, words = IMAGE_REFUSED[name]
    with pytest.raises(UserError) as caught:
        imported(refused_model(end), tmp_path)
    for word in words:
        assert word in str(caught.value)


def layers_of(name: str, folder: Path) -> dict[str, tuple]:
    graph = imported(IMAGE_ZOO[name]().model, folder).graph
    infos = graph.infer()
    return {layer.name: (infos[layer.name].shape, str(infos[layer.name].type)) for layer in graph}


def test_layers_of_a_padded_binary_network(tmp_path: Path) -> None:
    """Names, shapes and types; the max pool is taken on levels, zeros make bipolar ternary."""
    layers = layers_of("cnv_w1a1_padded", tmp_path)
    assert list(layers)[:7] == [
        "input",
        "conv0_pad",
        "conv0_window",
        "conv0",
        "conv0_act",
        "conv1_pad",
        "conv1_window",
    ]
    assert layers["conv1_pad"] == ((12, 12, 4), "INT2")
    assert layers["pool0"] == ((5, 5, 6), "BIPOLAR")
    assert list(layers).index("pool0") > list(layers).index("conv1_act")
    assert layers["fc0_flatten"] == ((150,), "BIPOLAR")


def test_pointwise_and_depthwise_layers(tmp_path: Path) -> None:
    layers = layers_of("separable", tmp_path)
    assert {"dw0", "dw0_window", "dw1", "conv1", "pool0"} <= layers.keys()
    assert "conv1_window" not in layers
    assert layers_of("signal", tmp_path)["input"] == ((1, 24, 2), "INT8")


def test_channels_fall_without_rows_of_their_own(tmp_path: Path) -> None:
    network = imported(IMAGE_ZOO["residual"]().model, tmp_path)
    assert network.graph["add0_act"].source == "add0_turn"
    assert np.unique(network.graph["add0_turn"].weights).tolist() == [-1, 1]
    assert any("negated by a layer of its own" in note for note in network.notes)
    network = imported(IMAGE_ZOO["forked_sums"]().model, tmp_path)
    first, second = (x for x in network.graph if isinstance(x, Threshold) and "conv0" in x.name)
    assert (first.source, second.source) == ("conv0_turn", "conv0")


def test_multipliers_of_branches(tmp_path: Path) -> None:
    def multipliers(name: str) -> list[tuple[int, int]]:
        graph = imported(IMAGE_ZOO[name]().model, tmp_path).graph
        return [layer.multipliers for layer in graph if isinstance(layer, Add)]

    assert multipliers("residual_scales_2_to_1") == [(1, 1), (1, 2)]
    assert multipliers("residual_scales_1_to_4") == [(1, 1), (4, 1)]
    assert multipliers("residual_sub") == [(1, -1), (1, -2)]
    assert multipliers("per_channel_shortcut") == [(1, 1)]


def test_classes_of_pixels(tmp_path: Path) -> None:
    specimen = IMAGE_ZOO["pixel_classes"]()
    network = imported(specimen.model, tmp_path)
    assert isinstance(network.graph.output, ArgMax)
    x = specimen.inputs(100)
    got = execute(network.graph, network.quantiser(x))["class"]
    expected = Oracle(specimen.model).run(x)[specimen.model.graph.output[0].name]
    assert (got == np.moveaxis(expected, 1, -1)).all()


def test_a_changed_weight_shows(tmp_path: Path) -> None:
    """The comparison can fail: one weight, one channel's thresholds."""
    specimen = IMAGE_ZOO["cnv_w2a2"]()
    network = imported(specimen.model, tmp_path)
    x = specimen.inputs(200)
    weights = network.graph["conv1"].weights.copy()
    weights[0, 7] = 1 - weights[0, 7]
    thresholds = network.graph["conv0_act"].thresholds + (np.arange(4) == 2)[:, None]
    for name, change in (
        ("conv1", {"weights": weights}),
        ("conv0_act", {"thresholds": thresholds}),
    ):
        layers = (
            replace(layer, **change) if layer.name == name else layer for layer in network.graph
        )
        graph = replace(network.graph, layers=tuple(layers))
        assert any(mismatches(replace(network, graph=graph), specimen.model, x).values())


def test_nhwc_and_nchw_inputs_reach_the_graph_alike(tmp_path: Path) -> None:
    first = imported(IMAGE_ZOO["fire"]().model, tmp_path).quantiser
    last = imported(IMAGE_ZOO["channels_last"]().model, tmp_path).quantiser
    assert (first.channels_first, last.channels_first) == (True, False)
    x = np.arange(2 * 3 * 36, dtype=np.float32).reshape(2, 3, 6, 6) / 256 - 0.5
    assert (first(x)[1, 2, 5] == np.rint(x[1, :, 2, 5] * 128)).all()
    assert last(np.zeros((4, 7, 6, 3))).shape == (4, 7, 6, 3)
    with pytest.raises(UserError, match="wrong shape"):
        first(np.zeros((2, 6, 6, 3)))


def test_a_mean_and_deviation_per_channel_before_the_quantiser(tmp_path: Path) -> None:
    """The host takes them, one number for each channel."""
    w = ImageWriter(131)
    mean, deviation = (w.const(np.reshape(v, (1, 3, 1, 1))) for v in ([0.2, 0, -0.1], [0.5, 1, 2]))
    x = w.quant(w.add("Div", w.add("Sub", "inp", mean), deviation), 0.0625, 5)
    model = w.done("normalised", w.conv(x, 3, 5, [4, 4]), (3, 4, 4)).model
    network = imported(model, tmp_path)
    assert network.quantiser.steps[0].parameters["less"].shape == (3,)
    x = network.quantiser.random_inputs(400)
    assert not any(mismatches(network, model, x).values())
    assert np.ptp(network.quantiser(x), axis=(0, 1, 2)).tolist() == [31, 31, 31]


def test_paths_of_one_input(tmp_path: Path) -> None:
    """Two readers, a Relu that is part of the input's quantiser, and a second quantiser."""
    w = ImageWriter(132)
    x = w.add("Relu", w.quant("inp", 0.125, 4))
    coarse = w.quant(x, 0.5, 2, signed=False)
    y = w.add("Concat", *(w.act(w.conv(z, 2, 3, 3), 2) for z in (x, coarse)), axis=1)
    y = w.quant(y, np.float32(0.31), 2, signed=False)  # once more, which changes nothing
    model = w.done("paths", w.linear(w.add("Flatten", y, axis=1), 24, 5), (2, 4, 4)).model
    network = imported(model, tmp_path)
    assert network.graph["input_act"].source == "input"
    assert "concat0_act" not in [layer.name for layer in network.graph]
    x = network.quantiser.random_inputs(300)
    assert not any(mismatches(network, model, x).values())


def test_an_input_of_two_quantisers_is_refused(tmp_path: Path) -> None:
    w = ImageWriter(133)
    one, two = (w.conv(w.quant("inp", scale, 4), 2, 3, 3) for scale in (0.125, 0.25))
    out = w.add("Flatten", w.add("Add", w.quant(one, 0.5, 3), w.quant(two, 0.5, 3)), axis=1)
    with pytest.raises(UserError, match=r"quantised in two ways[\s\S]*one quantiser"):
        imported(w.model((1, 2, 4, 4), [out], [(1, 12)]), tmp_path)
