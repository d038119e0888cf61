"""Quantisers: values and gradients against the formulas, ties and ends included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from brevitas.nn import QuantIdentity, QuantLinear

from training.activations import quantised_activation
from training.quantisers import LEVEL_BITS, activation_quantiser, weight_quantiser
from training.score_norm import ScalarAffine, ScalarNorm

X = np.unique(
    np.concatenate([np.linspace(-2, 2, 257), np.arange(-254, 255) / 254, [-0.0, 1e-30, -1e-30]])
).astype(np.float32)


def levels(name: str, x: np.ndarray) -> np.ndarray:
    """The formula, in float64 (x / s is exact wherever a tie is)."""
    if name == "binary":
        return np.where(x < 0, -1, 1)
    m = 2 ** (int(name.removeprefix("int")) - 1) - 1
    scale = np.float64(np.float32(1) / np.float32(m))
    return np.clip(np.rint(x.astype(np.float64) / scale), -m, m)


@pytest.mark.parametrize("name", LEVEL_BITS)
def test_activations_follow_the_formula(name: str) -> None:
    module = QuantIdentity(act_quant=activation_quantiser(name)).double().eval()
    y = module(torch.tensor(X, dtype=torch.float64)).detach().numpy()
    scale = module.act_quant.scale().item()
    found = np.rint(y / scale)
    # The float64 scale 1/m is another than the float32 one of the formula: ties are no test of it.
    steps = X.astype(np.float64) / scale
    clear = np.abs(np.abs(steps - np.floor(steps)) - 0.5) > 1e-4
    tested = clear | (name in ("binary", "int2"))
    assert tested.sum() > 0.6 * len(X)
    assert np.array_equal(found[tested], levels(name, X)[tested])
    assert np.abs(y).max() == 1.0


@pytest.mark.parametrize("name", LEVEL_BITS)
def test_weights_have_the_same_levels(name: str) -> None:
    layer = QuantLinear(len(X), 1, bias=False, weight_quant=weight_quantiser(name)).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(X)[None].clamp(-1, 1))
    quantised = layer.quant_weight()
    module = QuantIdentity(act_quant=activation_quantiser(name)).eval()
    assert torch.equal(quantised.value, module(layer.weight))
    assert quantised.scale.item() == module.act_quant.scale().item()


@pytest.mark.parametrize(("name", "reach"), [("binary", 1.0), ("int2", 1.5), ("int4", 1 + 0.5 / 7)])
def test_the_gradient_is_straight_through_until_x_saturates(name: str, reach: float) -> None:
    ends = [-3.0, -reach - 0.01, -reach + 0.01, 0.0, 0.3, reach - 0.01, reach + 0.01, 9.0]
    x = torch.tensor(ends, requires_grad=True)
    weight = torch.arange(1.0, 9.0)
    (QuantIdentity(act_quant=activation_quantiser(name)).train()(x) * weight).sum().backward()
    assert torch.equal(x.grad, weight * (x.detach().abs() < reach))


def test_the_straight_through_estimator_counts_its_ends_in() -> None:
    beyond = float(np.nextafter(np.float32(1.0), np.float32(2.0)))
    ends = [-beyond, -1.0, 1.0, beyond]
    for name, expected in (
        ("binary", [0, 1, 1, 0]),
        ("binary_stochastic", [0, 1, 1, 0]),
        ("binary_learned", [0, 1, 1, 0]),
        ("quinary", [0, 1, 1, 0]),
        ("dorefa2", [0, 0, 1, 0]),
        ("int2", [1, 1, 1, 1]),  # Up to 3/2.
    ):
        x = torch.tensor(ends, requires_grad=True)
        quantised_activation(name).train()(x).sum().backward()
        assert x.grad.tolist() == expected, name


def test_the_gradient_of_a_weight_is_that_of_its_level() -> None:
    for name in ("binary", "int2", "int4"):
        layer = QuantLinear(5, 1, bias=False, weight_quant=weight_quantiser(name))
        x = torch.arange(1.0, 6.0)[None]
        layer(x).sum().backward()
        assert torch.equal(layer.weight.grad, x)


def test_float_means_no_quantiser() -> None:
    assert activation_quantiser("float") is None
    assert weight_quantiser("float") is None


def test_scalar_norm_normalises_all_scores_by_one_scale() -> None:
    torch.manual_seed(0)
    norm = ScalarNorm()
    x = 7.0 + 3.0 * torch.randn(400, 10)
    y = norm.train()(x)
    torch.testing.assert_close(y, (x - x.mean()) / x.std(correction=0))
    for _ in range(200):
        norm(x)
    norm.eval()
    torch.testing.assert_close(norm(x), y, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ScalarAffine(norm)(x), norm(x), atol=1e-5, rtol=1e-5)
