"""Exact evaluation: sums of products against fractions, whole networks against other executors."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from training.exact_arithmetic import exact_linear
from training.exact_evaluation import ExactNetwork, integers_of
from training.fully_connected import FullyConnected
from training.network_config import FullyConnectedConfig
from training.networks import build_network

KINDS = ("binary", "int2", "int4", "int8")


def network_of(weights: str, activations: str, seed: int = 0) -> FullyConnected:
    """An untrained network whose statistics and parameters are drawn at random."""
    config = FullyConnectedConfig(
        hidden=(24, 16),
        input_quantiser=activations,
        weight_quantiser=weights,
        activation_quantiser=activations,
    )
    torch.manual_seed(seed)
    network = build_network(config, (12,), 5)
    for _ in range(20):
        network(torch.rand(64, 12))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.copy_(parameter + 0.3 * torch.randn_like(parameter))
    return network.eval()


@settings(max_examples=60, deadline=None)
@given(
    st.floats(2**-20, 2**20, width=32),
    st.floats(2**-20, 2**20, width=32),
    st.integers(1, 900),
    st.integers(0, 2**32 - 1),
)
def test_a_sum_of_products_is_rounded_once(
    x_scale: float, w_scale: float, n_inputs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-128, 128, (2, n_inputs)), rng.integers(-127, 128, (3, n_inputs))
    sums = exact_linear(
        torch.tensor(x * np.float64(x_scale)), torch.tensor(w * np.float64(w_scale))
    )
    for i in range(2):
        for j in range(3):
            exact = int(x[i] @ w[j]) * Fraction(x_scale) * Fraction(w_scale)
            assert sums[i, j].item() == float(exact)


def test_float64_alone_would_not_do() -> None:
    """The case that the splitting is for: products that cancel to a tie, exactly."""
    x = torch.tensor([[1.0, 0.1, -0.1] * 99]).float().double()
    w = torch.tensor([[3.0, 1.0 / 3, 1.0 / 3] * 99]).float().double()
    assert exact_linear(x, w).item() == 297.0
    assert exact_linear(torch.zeros(2, 3).double(), torch.zeros(4, 3).double()).eq(0).all()
    bias = torch.tensor([0.25]).double()
    assert exact_linear(x, w, bias).item() == 297.25


@pytest.mark.parametrize("weights", KINDS)
@pytest.mark.parametrize("activations", KINDS)
def test_networks_equal_a_computation_in_integers(weights: str, activations: str) -> None:
    """Integers and fractions in plain Python, from the parameters on."""
    network = network_of(weights, activations)
    inputs = np.random.default_rng(1).random((40, 12)).astype(np.float32)
    evaluation = ExactNetwork(network).evaluate(inputs)
    w_scale, w_top = scale_of(weights)
    x_scale, _ = scale_of(activations)
    x = quantise(2.0 * inputs.astype(np.float64) - 1.0, activations)
    assert np.array_equal(x, evaluation.activations["input_quantiser"].integers)
    for i, layer in enumerate(network.hidden):
        w = quantise(layer.linear.weight.detach().numpy().astype(np.float64), weights)
        assert np.abs(w).max() == w_top
        real = (x @ w.T) * (Fraction(float(w_scale)) * Fraction(float(x_scale)))
        norm = {k: v.numpy().astype(np.float64) for k, v in layer.norm.state_dict().items()}
        deviation = np.sqrt(norm["running_var"] + np.float64(np.float32(layer.norm.eps)))
        y = (real.astype(np.float64) - norm["running_mean"]) / deviation
        x = quantise(y * norm["weight"] + norm["bias"], activations)
        found = evaluation.activations[f"hidden.{i}.activation"]
        assert np.array_equal(x, found.integers)
        assert found.scale == x_scale
    w = quantise(network.output.linear.weight.detach().numpy().astype(np.float64), weights)
    assert np.array_equal(x @ w.T, evaluation.accumulators)
    assert evaluation.accumulator_scale == np.float64(w_scale) * np.float64(x_scale)
    with torch.no_grad():
        plain = network(torch.tensor(inputs)).numpy()
    agrees = np.isclose(plain, evaluation.scores, atol=1e-4).all(axis=1)
    assert agrees.mean() > 0.9  # float32 may round another way beside a threshold


def scale_of(name: str) -> tuple[np.float32, int]:
    """The float32 scale that QONNX carries, and the greatest level."""
    top = 1 if name == "binary" else 2 ** (int(name.removeprefix("int")) - 1) - 1
    return np.float32(1) / np.float32(top), top


def quantise(x: np.ndarray, name: str) -> np.ndarray:
    if name == "binary":
        return np.where(x < 0, -1, 1).astype(object)
    scale, top = scale_of(name)
    return np.clip(np.rint(x / np.float64(scale)), -top, top).astype(int).astype(object)


def test_the_network_given_is_left_as_it_is() -> None:
    network = network_of("int4", "int4").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ExactNetwork(network).evaluate(np.zeros((3, 12), np.float32))
    assert network.training
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(value.dtype != torch.float64 for value in after.values())


def test_float_networks_evaluate_and_have_no_integers() -> None:
    network = network_of("float", "float")
    inputs = np.random.default_rng(0).random((5, 12)).astype(np.float32)
    evaluation = ExactNetwork(network).evaluate(inputs)
    assert evaluation.activations == {}
    assert evaluation.accumulators is None
    with torch.no_grad():
        np.testing.assert_allclose(evaluation.scores, network(torch.tensor(inputs)), atol=1e-5)


def test_arithmetic_is_restored_after_evaluation() -> None:
    ExactNetwork(network_of("int2", "int2")).evaluate(np.zeros((2, 12), np.float32))
    x, w = torch.rand(2, 3), torch.rand(4, 3)
    assert functional.linear(x, w).dtype == torch.float32


def test_what_is_not_scale_times_integers_is_refused() -> None:
    with pytest.raises(ValueError, match="not its scale times integers"):
        integers_of(np.array([0.5, 1.25]), np.float64(0.5))
    with pytest.raises(ValueError, match="8 bits"):
        integers_of(np.array([200.0]), np.float64(1.0))
