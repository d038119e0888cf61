"""Methods of weights: values by hand, gradients, distributions, and export with baked levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from brevitas.nn import QuantLinear
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from training.activations import Dorefa
from training.datasets import load_dataset
from training.method_quantiser import BakedQuantiser, bake
from training.network_config import FullyConnectedConfig
from training.networks import build_network
from training.qonnx_export import to_qonnx
from training.quantisers import weight_quantiser
from training.vectors import make_vectors
from training.weight_methods import METHODS

W = [[0.9, -0.1, 0.3, -0.5], [0.02, 0.0, -0.06, 0.04]]
# By hand. TWN: mean|w| = 0.24, D = 0.168, scale (0.9 + 0.3 + 0.5) / 3; of the second channel alone
# mean 0.03, D = 0.021, scale 0.05. DoReFa: mean|w| = 0.24; tanh(w)/tanh(0.9) = 1, -0.1391, 0.4067,
# -0.6451, ..., on 4 levels from -3 to 3. Logarithms: log2 0.3 = -1.74, log2 0.5 = -1.
BY_HAND = {
    "twn": ([[1, 0, 1, -1], [0, 0, 0, 0]], 1.7 / 3),
    "twn_channel": ([[1, 0, 0, -1], [0, 0, -1, 1]], [[0.7], [0.05]]),
    "dorefa1": ([[1, -1, 1, -1], [1, 1, -1, 1]], 0.24),
    "dorefa2": ([[3, -1, 1, -1], [1, 1, -1, 1]], 1 / 3),
    "int3_channel": ([[3, 0, 1, -2], [1, 0, -3, 2]], [[0.3], [0.02]]),
    "quinary": ([[2, 0, 1, -1], [0, 0, 0, 0]], 0.5),
    "quinary_channel": ([[2, 0, 1, -1], [1, 0, -2, 1]], [[0.45], [0.03]]),
    "log2": ([[2, -1, 1, -1], [1, 1, -1, 1]], 0.5),
    "log3": ([[8, -1, 2, -4], [1, 1, -1, 1]], 0.125),
    "binary_stochastic": ([[1, -1, 1, -1], [1, 1, -1, 1]], 1.0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_values_are_those_computed_by_hand(name: str) -> None:
    levels, scale = BY_HAND[name]
    values, found_scale = METHODS[name].quantise(torch.tensor(W), False)
    np.testing.assert_allclose(found_scale, np.array(scale), rtol=1e-6)
    assert np.array_equal(np.rint(values.numpy() / found_scale.numpy()), levels)
    assert torch.equal(values, torch.tensor(levels) * found_scale)


@pytest.mark.parametrize("bits", range(2, 8))
def test_the_levels_of_dorefa(bits: int) -> None:
    """By an independent formula in float64, over weights that reach every level."""
    n = 2**bits - 1
    w = np.linspace(-2.0, 2.0, 4001)
    share = np.tanh(w) / (2.0 * np.tanh(2.0)) + 0.5
    expected = 2.0 * np.round(n * share) / n - 1.0
    values, scale = METHODS[f"dorefa{bits}"].quantise(torch.tensor(w), False)
    np.testing.assert_allclose(values, expected, atol=1e-12)
    levels = np.unique((values / scale).round().numpy())
    assert np.array_equal(levels, np.arange(-n, n + 1, 2))
    activations = Dorefa(bits).eval()(torch.linspace(-0.5, 1.5, 2001))
    assert np.array_equal(np.unique((activations * n).round().numpy()), np.arange(n + 1))


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_as_written(name: str) -> None:
    """Straight through; DoReFa's of more bits by an independent formula of tanh."""
    w = torch.tensor(W, requires_grad=True)
    upstream = torch.arange(1.0, 9.0).reshape(2, 4)
    (METHODS[name].quantise(w, True)[0] * upstream).sum().backward()
    expected = upstream
    if name.startswith("dorefa") and name != "dorefa1":
        t = np.tanh(np.float64(W))
        slope = 1.0 - t**2
        expected = upstream.numpy() * slope / t[0, 0]
        # 0.9 is the maximum: what it divides changes with it.
        expected[0, 0] -= (upstream.numpy() * t).sum() / t[0, 0] ** 2 * slope[0, 0]
    np.testing.assert_allclose(w.grad, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_levels_fit_their_bits_and_never_vanish(name: str) -> None:
    method = METHODS[name]
    for w in (torch.randn(6, 5, 3, 3), torch.zeros(2, 3)):
        values, scale = method.quantise(w, False)
        assert (scale > 0).all()
        levels = (values / scale).round()
        assert torch.equal(levels * scale, values)
        assert levels.abs().max() <= max(1, 2 ** (method.bits - 1) - 1)


def test_stochastic_binary_follows_its_distribution() -> None:
    torch.manual_seed(0)
    probabilities = {-1.5: 0.0, -0.5: 0.25, 0.0: 0.5, 0.8: 0.9, 2.0: 1.0}
    w = torch.tensor(list(probabilities)).repeat(40_000, 1)
    drawn, _ = METHODS["binary_stochastic"].quantise(w, True)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    shares = (drawn == 1.0).double().mean(0)
    deviations = np.sqrt([p * (1 - p) / 40_000 for p in probabilities.values()])
    assert (np.abs(shares.numpy() - list(probabilities.values())) <= 5 * deviations).all()


@pytest.mark.parametrize("name", ["twn", "twn_channel", "dorefa3", "log3", "int4_channel"])
def test_baked_weights_are_those_of_the_method(name: str) -> None:
    torch.manual_seed(0)
    layer = QuantLinear(40, 8, bias=False, weight_quant=weight_quantiser(name)).eval()
    before = layer.quant_weight().value.clone()
    bake(layer)
    assert isinstance(layer.weight_quant.tensor_quant, BakedQuantiser)
    assert torch.equal(layer.quant_weight().value, before)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("name", ["twn_channel", "dorefa1", "dorefa2", "log3", "quinary_channel"])
def test_qonnx_computes_the_same_integers(name: str) -> None:
    digits = load_dataset("digits", n_train=50, n_test=40)
    config = FullyConnectedConfig(
        hidden=(24,), input_quantiser="int4", weight_quantiser=name, activation_quantiser="int2"
    )
    torch.manual_seed(0)
    network = build_network(config, (8, 8, 1), 10)
    for _ in range(5):
        network(torch.rand(50, 64))
    vectors = make_vectors(network, digits)
    model = ModelWrapper(to_qonnx(network))
    del model.graph.value_info[:]  # shapes of a batch of 1
    model.set_tensor_shape("input", [40, 64])
    model.set_tensor_shape("scores", [40, 10])
    given = {"input": vectors["inputs"]}
    tensors = execute_onnx(model.transform(InferShapes()), given, return_full_exec_context=True)
    for tensor in ("input_quantiser", "hidden.0.activation"):
        found = np.rint(tensors[tensor] / vectors[f"activations/{tensor}/scale"])
        assert np.array_equal(found, vectors[f"activations/{tensor}"])
    np.testing.assert_allclose(tensors["scores"], vectors["outputs"], atol=1e-4)
    assert vectors["outputs_integer/scale"].shape == ()
    assert len(np.unique(vectors["activations/hidden.0.activation"])) == 3
