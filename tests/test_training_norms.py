"""Norms against plain arithmetic, what they export as, and networks without any."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from deploy.errors import UserError
from training.config import load_config, parse_config
from training.exact_evaluation import ExactNetwork
from training.network import frozen
from training.networks import build_network
from training.norms import ShiftNorm, nearest_power
from training.qonnx_export import to_qonnx

CONFIGS = Path(__file__).parents[1] / "training" / "configs"


def test_nearest_power() -> None:
    x = torch.tensor([0.0, 1.0, -3.0, 5.0, 0.3, -0.1], requires_grad=True)
    y = nearest_power(x)
    assert y.tolist() == [0.0, 1.0, -4.0, 4.0, 0.25, -0.125]
    y.backward(torch.arange(6.0))
    assert x.grad.tolist() == list(range(6))


def power(z: np.ndarray) -> np.ndarray:
    return np.sign(z) * 2.0 ** np.rint(np.log2(np.abs(z)))


@pytest.mark.parametrize("shape", [(50, 3), (20, 3, 5), (20, 3, 4, 5)])
def test_shift_norm_by_its_formula(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    norm = ShiftNorm(len(shape) - 2, 3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.7, -1.6, 3.3]))
        norm.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    x = torch.randn(shape) * torch.tensor([1.0, 4.0, 0.3]).reshape(1, 3, *(1,) * (len(shape) - 2))
    found = np.moveaxis(norm(x).detach().numpy(), 1, -1).reshape(-1, 3)
    flat = np.moveaxis(x.double().numpy(), 1, -1).reshape(-1, 3)
    centred = flat - flat.mean(0)
    var = (centred * power(centred)).mean(0)
    scale = power(1 / np.sqrt(var + 1e-5)) * np.array([0.5, -2.0, 4.0])
    assert np.allclose(found, centred * scale + [0.1, 0.2, 0.3], atol=1e-5)
    assert np.allclose(norm.running_var.numpy(), 0.9 + 0.1 * var, rtol=1e-5)
    # In evaluation: powers of two alone, and batch norm that is the same to the last bit.
    norm.eval()
    scale = norm.scale(norm.running_var).detach().numpy()
    assert np.array_equal(scale, power(scale))
    x = x.double()  # float32's numbers, whose products and sums are exact in double.
    norm = norm.double()
    assert torch.equal(norm(x), norm.as_batch_norm().double()(x))


@pytest.mark.parametrize("shape", [(30, 2), (6, 2, 3, 4)])
def test_the_gradient_of_a_shift_norm_is_that_of_its_formula(shape: tuple[int, ...]) -> None:
    """AP2 passes gradients straight through; mean and variance have theirs."""
    torch.manual_seed(2)
    norm = ShiftNorm(len(shape) - 2, 2).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.7, -1.6]))
    x = (3.0 * torch.randn(shape).double()).requires_grad_()
    upstream = torch.randn(shape).double()
    (norm(x) * upstream).sum().backward()

    def flat(tensor: torch.Tensor) -> np.ndarray:
        return np.moveaxis(tensor.detach().numpy(), 1, -1).reshape(-1, 2)

    g, c = flat(upstream), flat(x) - flat(x).mean(0)
    inner = (c * power(c)).mean(0) + 1e-5
    scale, weight = power(1.0 / np.sqrt(inner)), np.array([0.5, -2.0])
    of_scale = (g * c).sum(0)
    of_c = g * scale * weight
    of_c += of_scale * weight * -0.5 * inner**-1.5 * (power(c) + c) / len(c)
    np.testing.assert_allclose(flat(x.grad), of_c - of_c.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(norm.weight.grad, of_scale * scale, rtol=1e-9)
    np.testing.assert_allclose(norm.bias.grad, g.sum(0), rtol=1e-9)


def network_of(**network: Any) -> torch.nn.Module:
    table = {
        "data": {"name": "digits"},
        "network": {
            "input_quantiser": "int4",
            "weight_quantiser": "binary",
            "activation_quantiser": "int2",
            **network,
        },
        "training": {"epochs": 1, "learning_rate": 0.1},
    }
    torch.manual_seed(3)
    network = build_network(parse_config(table, where="test").network, (8, 8, 1), 10)
    inputs = torch.randint(0, 17, (64, *network.input_shape)) / 16
    for _ in range(30):
        network(inputs)  # Statistics that are those of data.
    return network.eval()


LAYERS = [
    {"type": "convolution", "channels": 4},
    {"type": "residual", "channels": 4},
    {"type": "dense", "neurons": 8},
]


@pytest.mark.parametrize(
    "config",
    [
        {"normalisation": "shift", "hidden": [16, 16]},
        {"normalisation": "shift", "kind": "convolutional", "layers": LAYERS},
        {"hidden": []},
    ],
)
def test_qonnx_is_the_network(config: dict[str, Any]) -> None:
    network = network_of(**config)
    inputs = (torch.randint(0, 17, (20, *network.input_shape)) / 16).numpy().astype(np.float32)
    exact = ExactNetwork(network).evaluate(inputs)
    assert len(np.unique(exact.scores.argmax(1))) > 1
    model = ModelWrapper(to_qonnx(network)).transform(InferShapes())
    scores = [execute_onnx(model, {"input": sample[None]})["scores"][0] for sample in inputs]
    # QONNX runs in float32: the scores' own scale and offset round.
    assert np.allclose(scores, exact.scores, atol=1e-4)


def test_a_shift_norm_is_a_batch_norm_once_frozen() -> None:
    network = frozen(network_of(normalisation="shift", hidden=[16]))
    assert not any(isinstance(module, ShiftNorm) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "n_parameters"), [("squeezenet1_0", 1_248_424), ("squeezenet1_1", 1_235_496)]
)
def test_squeezenet_has_its_published_size(name: str, n_parameters: int) -> None:
    config = load_config(CONFIGS / f"{name}_float.toml")
    network = build_network(config.network, (224, 224, 3), 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == n_parameters
    low_bit = load_config(CONFIGS / f"{name}_w2a2.toml").network
    assert low_bit.layers == config.network.layers


def conv(n: int, m: int, kernel: int = 3) -> int:
    """Weights of a convolution, and the two parameters per channel of the norm behind it."""
    return n * m * kernel**2 + 2 * m


def residual(n: int, m: int) -> int:
    shortcut = conv(n, m, 1) if n != m else 0
    return conv(n, m) + conv(m, m) + shortcut + 2 * m


def fire(n: int, squeeze: int, expand: int) -> int:
    return conv(n, squeeze, 1) + conv(squeeze, expand, 1) + conv(squeeze, expand)


def separable(n: int, m: int) -> int:
    return conv(1, n) + conv(n, m, 1)


# By hand, from the configs' lists of layers; the scores have a scale and an offset.
PARAMETERS = {
    "vgg7": conv(3, 128)
    + conv(128, 128)
    + conv(128, 256)
    + conv(256, 256)
    + conv(256, 512)
    + conv(512, 512)
    + (512 * 4 * 4 * 1024 + 2 * 1024)
    + 1024 * 10
    + 2,
    "resnet": conv(3, 16)
    + 2 * residual(16, 16)
    + residual(16, 32)
    + residual(32, 32)
    + residual(32, 64)
    + residual(64, 64)
    + 2 * 64
    + 64 * 10
    + 2,
    "depthwise": conv(3, 32)
    + separable(32, 64)
    + separable(64, 128)
    + separable(128, 128)
    + separable(128, 256)
    + separable(256, 256)
    + 2 * 256
    + 256 * 10
    + 2,
    "fire": conv(3, 64)
    + fire(64, 16, 32)
    + fire(64, 16, 64)
    + fire(128, 32, 64)
    + fire(128, 32, 96)
    + fire(192, 48, 128)
    + 2 * 256
    + 256 * 10
    + 2,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_networks_of_images_have_their_parameters(name: str) -> None:
    for path in CONFIGS.glob(f"{name}_*.toml"):
        with torch.device("meta"):
            network = build_network(load_config(path).network, (32, 32, 3), 10)
        assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(
    ("name", "n_weights"),
    [
        ("lenet300_w1a1", 784 * 300 + 300 * 100 + 100 * 10),
        ("multiplication_free_w4a4", 7840),
        ("bnn2048_w1a1", 784 * 2048 + 2 * 2048**2 + 2048 * 10),
    ],
)
def test_networks_have_their_weights(name: str, n_weights: int) -> None:
    network = build_network(load_config(CONFIGS / f"{name}.toml").network, (28, 28, 1), 10)
    weights = [module.weight for module in network.modules() if hasattr(module, "weight_quant")]
    assert sum(weight.numel() for weight in weights) == n_weights


def test_without_normalisation_export_holds_the_biases() -> None:
    network = network_of(
        hidden=[16], normalisation="none", weight_quantiser="float", activation_quantiser="float"
    )
    model: onnx.ModelProto = to_qonnx(network)
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    wrapped = ModelWrapper(model).transform(InferShapes())
    for sample in torch.rand(5, 64):
        scores = execute_onnx(wrapped, {"input": sample[None].numpy()})["scores"]
        assert np.allclose(scores, network(sample[None]).detach().numpy(), atol=1e-5)


def test_low_bits_want_a_norm() -> None:
    table = tomllib.loads((CONFIGS / "digits_w1a1.toml").read_text())
    table["network"]["normalisation"] = "none"
    with pytest.raises(UserError, match="floating point do without normalisation"):
        parse_config(table, where="test")
