"""Convolutional networks: shapes, export to QONNX and exact evaluation, misfits named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from torch import nn

from deploy.errors import UserError
from training.config import load_config, parse_config
from training.convolutional import Convolutional
from training.datasets import load_dataset
from training.exact_evaluation import ExactNetwork
from training.layers import AveragePool, Residual
from training.network import Network
from training.networks import build_network
from training.qonnx_export import to_qonnx
from training.vectors import make_vectors

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
DIGITS = load_dataset("digits", n_train=30, n_test=20)
# In these every real number is a small integer: float32 has no noise but that of batch norm.
NETWORKS = [
    path.stem
    for path in sorted(CONFIGS.glob("digits_*_w[12]a[12].toml"))
    if load_config(path).network.kind == "convolutional"
]


# One of each kind in every run, the others at night.
QUICK = ("cnv_w1a1", "cnv_padded_w1a1", "resnet_w2a2", "depthwise_w2a2", "fire_w2a2", "conv1d_w2a2")


def network_of(name: str, **changes: str) -> Network:
    """A shipped network, untrained, whose statistics and norms are drawn at random."""
    torch.manual_seed(0)
    config = load_config(CONFIGS / f"{name}.toml").network.model_copy(update=changes)
    network = build_network(config, DIGITS.shape, 10)
    inputs = torch.tensor(DIGITS.to_unit(network.arrange(DIGITS.train_images)))
    for _ in range(3):
        network(inputs)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.normal_(1.0, 0.5)
                module.bias.normal_(0.0, 0.5)
    return network.eval()


def test_every_kind_of_layer_is_among_the_networks() -> None:
    types = {
        layer.type
        for name in NETWORKS
        for layer in load_config(CONFIGS / f"{name}.toml").network.layers
    }
    assert types == {
        *("convolution", "depthwise", "max_pool", "average_pool", "residual", "fire", "dense")
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name.removeprefix("digits_") in QUICK else pytest.mark.nightly
        )
        for name in NETWORKS
    ],
)
def test_qonnx_computes_the_same_integers(name: str) -> None:
    compare_with_qonnx(network_of(name))


@pytest.mark.parametrize("weights", ["twn_channel", "quinary", "log3"])
def test_qonnx_computes_the_same_of_baked_weights(weights: str) -> None:
    compare_with_qonnx(network_of("digits_cnv_w2a2", weight_quantiser=weights))


def compare_with_qonnx(network: Network) -> None:
    vectors = make_vectors(network, DIGITS)
    model = ModelWrapper(to_qonnx(network))
    onnx.checker.check_model(model.model)
    n = len(DIGITS.test_labels)
    del model.graph.value_info[:]  # shapes of a batch of 1
    model.set_tensor_shape("input", [n, *network.input_shape])
    model.set_tensor_shape("scores", [n, 10])
    inputs = {"input": vectors["inputs"]}
    tensors = execute_onnx(model.transform(InferShapes()), inputs, return_full_exec_context=True)
    names = [key.removeprefix("activations/") for key in vectors if key.startswith("activations/")]
    names = [name for name in names if not name.endswith("/scale")]
    assert len(names) > 3
    for tensor in names:
        found = np.moveaxis(tensors[tensor], 1, -1) / vectors[f"activations/{tensor}/scale"]
        expected = vectors[f"activations/{tensor}"]
        assert np.array_equal(np.rint(found), expected), tensor
        assert len(np.unique(expected)) > 1, tensor
    np.testing.assert_allclose(tensors["scores"], vectors["outputs"], atol=1e-4)
    assert vectors["n_float32_activation_differs"] == 0


@pytest.mark.parametrize("name", ["digits_cnv_w1a1", "digits_conv1d_w2a2"])
def test_vectors_are_channels_last_where_hardware_takes_them(name: str) -> None:
    network = network_of(name)
    vectors = make_vectors(network, DIGITS)
    channels, *positions = network.input_shape
    assert vectors["inputs"].shape == (20, channels, *positions)
    assert vectors["inputs_integer"].shape == (20, *positions, channels)
    real = 2.0 * np.moveaxis(vectors["inputs"], 1, -1) - 1.0
    assert np.array_equal(vectors["inputs_integer"], np.rint(127.0 * real).astype(int))
    flat = DIGITS.to_unit(DIGITS.test_images)
    assert np.array_equal(np.moveaxis(vectors["inputs"], 1, -1).reshape(20, -1), flat)
    assert vectors["extra_inputs"].shape[0] == 30


def test_integers_of_the_last_layer_lead_to_the_scores() -> None:
    for name in ("digits_cnv_padded_w2a2", "digits_conv1d_w1a1"):
        network = network_of(name)
        inputs = DIGITS.to_unit(network.arrange(DIGITS.test_images))
        evaluation = ExactNetwork(network).evaluate(inputs)
        norm = network.output.norm
        scale = (norm.gamma / torch.sqrt(norm.running_var + norm.eps)).item()
        real = evaluation.accumulators * evaluation.accumulator_scale * scale
        offset = evaluation.scores - real
        np.testing.assert_allclose(offset, offset[0, 0], rtol=1e-5, atol=1e-5)


def test_batches_are_cut_and_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of("digits_cnv_w1a1")
    inputs = DIGITS.to_unit(network.arrange(DIGITS.test_images))
    exact = ExactNetwork(network)
    whole = exact.evaluate(inputs)
    n_elements = sum(quantised.integers[0].size for quantised in whole.activations.values())
    monkeypatch.setattr("training.exact_evaluation._BATCH_ELEMENTS", 8 * n_elements)
    assert [part for part, _ in exact.batches(inputs)] == [slice(0, 8), slice(8, 16), slice(16, 20)]
    parts = exact.evaluate(inputs)
    assert np.array_equal(whole.scores, parts.scores)
    assert np.array_equal(whole.accumulators, parts.accumulators)
    for name, quantised in whole.activations.items():
        assert np.array_equal(quantised.integers, parts.activations[name].integers)


@pytest.mark.parametrize(
    ("name", "shape", "n_weights", "n_products"),
    [("cnv_w1a1", (32, 32, 3), 1_542_848, 59_461_376), ("lenet5_w1a1", (28, 28, 1), 430_500, None)],
)
def test_published_networks_have_their_size(
    name: str, shape: tuple[int, ...], n_weights: int, n_products: int | None
) -> None:
    """CNV as FINN has it; LeNet-5 as Caffe has it, 431,080 parameters with its 580 biases."""
    network = build_network(load_config(CONFIGS / f"{name}.toml").network, shape, 10)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    n_found = []
    for layer in layers:
        layer.register_forward_hook(
            lambda layer, _, y: n_found.append(layer.weight[0].numel() * y[0].numel())
        )
    network.eval()(torch.zeros(1, *network.input_shape))
    assert sum(layer.weight.numel() for layer in layers) == n_weights
    assert n_products in (None, sum(n_found))


def test_norms_behind_an_add_or_a_pool_never_fall() -> None:
    network = network_of("digits_resnet_w2a2")
    norms = [m.norm for m in network.modules() if isinstance(m, Residual | AveragePool)]
    assert len(norms) == 3
    with torch.no_grad():
        for norm in norms:
            norm.weight.fill_(-1.0)
    network.clip_parameters()
    assert all((norm.weight > 0).all() for norm in norms)


@pytest.mark.parametrize(
    ("layers", "dimensions", "shape", "message"),
    [
        (
            "{ type = 'max_pool', size = 9 }",
            2,
            (8, 8, 1),
            r"layers\.0, max_pool.*9, a map of 8 x 8",
        ),
        ("{ type = 'convolution', channels = 4, kernel = 11, padding = 1 }", 2, (8, 8, 1), "by 1"),
        (
            "{ type = 'dense', neurons = 4 }, { type = 'fire', squeeze = 1, expand1 = 1, "
            "expand3 = 1 }",
            2,
            (8, 8, 1),
            r"a fire layer follows a dense one.*layers\.1",
        ),
        ("{ type = 'dense', neurons = 4 }", 2, (57,), r"network\.dimensions.*\(57,\)"),
        ("{ type = 'max_pool', size = 58 }", 1, (57,), r"a map of 57\n"),
    ],
)
def test_layers_that_do_not_fit_are_named(
    layers: str, dimensions: int, shape: tuple[int, ...], message: str
) -> None:
    text = f"""
    data = {{ name = "digits" }}
    training = {{ epochs = 1, learning_rate = 0.1 }}
    [network]
    kind = "convolutional"
    dimensions = {dimensions}
    input_quantiser = "int8"
    weight_quantiser = "binary"
    activation_quantiser = "int2"
    layers = [{layers}]
    """
    config = parse_config(tomllib.loads(text), where="test").network
    with pytest.raises(UserError, match=f"(?s){message}"):
        Convolutional(config, shape, 10)
