"""What is done in training alone, against Brevitas' own forward and backward pass, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear
from torch import Tensor, nn

from training import loop
from training.activations import ConstantLevels, Dorefa, Quinary, quantised_activation
from training.datasets import load_dataset
from training.network_config import FullyConnectedConfig
from training.networks import build_network
from training.quantisers import LEVEL_BITS, WEIGHT_NAMES
from training.weighted_layers import Conv2d, Linear

EPS = torch.finfo(torch.float32).eps


def inputs(steps: int) -> Tensor:
    """Every multiple of half a step 1 / `steps` beyond both ends, its neighbours, and more."""
    halves = torch.arange(-2 * steps - 4, 2 * steps + 5) / (2.0 * steps)
    by_scale = torch.arange(-2 * steps - 4, 2 * steps + 5) * torch.tensor(1.0 / steps) / 2.0
    exact = torch.cat([halves, by_scale, torch.tensor([-0.0, 1e-40, -1e-40, 9.0, -9.0])])
    near = [torch.nextafter(exact, torch.tensor(end)) for end in (-np.inf, np.inf)]
    generator = torch.Generator().manual_seed(steps)
    return torch.cat([exact, *near, torch.randn(5000, generator=generator)])


def passed(forward: nn.Module, x: Tensor, *parameters: nn.Parameter) -> tuple[Tensor, list[Tensor]]:
    """Outputs, and gradients of the input and parameters for a random one of the output."""
    torch.manual_seed(7)
    x = x.clone().requires_grad_()
    y = forward(x)
    return y.detach(), torch.autograd.grad(y, [x, *parameters], torch.randn_like(y))


def assert_same(found: tuple[Tensor, list[Tensor]], brevitas: tuple, rounding: int = 0) -> None:
    assert torch.equal(found[0], brevitas[0])
    for ours, theirs in zip(found[1], brevitas[1], strict=True):
        assert torch.equal(ours == 0.0, theirs == 0.0)
        assert ((ours - theirs).abs() <= rounding * EPS * ours.abs()).all()


@pytest.mark.parametrize("name", LEVEL_BITS)
def test_activations_of_constant_levels(name: str) -> None:
    module = quantised_activation(name).train()
    assert isinstance(module, ConstantLevels)
    x = inputs(2 ** (LEVEL_BITS[name] - 1) - 1 or 1)
    brevitas = passed(lambda x: QuantIdentity.forward(module, x), x)
    # Brevitas multiplies a gradient by 1 / m and divides it again; with m = 1 it stays as it is.
    assert_same(passed(module, x), brevitas, rounding=0 if name in ("binary", "int2") else 1)
    assert torch.equal(module.eval()(x), brevitas[0])


@pytest.mark.parametrize("name", ["quinary", *(f"dorefa{bits}" for bits in range(2, 8))])
def test_activations_that_are_clipped_first(name: str) -> None:
    module = quantised_activation(name).train()
    assert isinstance(module, Quinary | Dorefa)
    least, n = (-1.0, 2) if name == "quinary" else (0.0, 2 ** int(name[-1]) - 1)
    x = inputs(n)
    brevitas = passed(lambda x: QuantIdentity.forward(module, x.clamp(least, 1.0)), x)
    assert_same(passed(module, x), brevitas, rounding=0 if name == "quinary" else 1)
    assert torch.equal(module.eval()(x), brevitas[0])


@pytest.mark.parametrize("name", WEIGHT_NAMES)
def test_layers(name: str) -> None:
    torch.manual_seed(1)
    x = inputs(2 ** (LEVEL_BITS.get(name, 4) - 1) - 1 or 1)
    layer = Linear(name, len(x), 2, bias=name == "float")
    with torch.no_grad():
        layer.weight.copy_(torch.stack([x, x.flip(0)]))
    image = torch.randn(2, 4, 6, 6)
    convolution = Conv2d(name, 4, 6, 3, stride=2, padding=1, groups=2, bias=name == "float")
    for module, theirs, given in (
        (layer, QuantLinear, torch.eye(len(x))[:300]),
        (convolution, QuantConv2d, image),
    ):
        parameters = list(module.parameters())
        brevitas = passed(lambda x, m=module, t=theirs: t.forward(m, x), given, *parameters)
        exact = name not in LEVEL_BITS or name in ("binary", "int2")
        assert_same(passed(module.train(), given, *parameters), brevitas, 0 if exact else 1)
        if name != "binary_stochastic":
            assert torch.equal(module.eval()(given), brevitas[0])


@pytest.mark.parametrize("name", ["float", "binary", "int2", "int4", "int8"])
def test_an_input_that_is_quantised_once(name: str) -> None:
    config = FullyConnectedConfig(
        hidden=(8,), input_quantiser=name, weight_quantiser="binary", activation_quantiser="int2"
    )
    digits = load_dataset("digits")
    network = build_network(config, digits.shape, 10).train()
    samples = loop.train_samples(digits, network)
    assert (samples.integers is None) == (name == "float")
    every = torch.randperm(len(samples))
    given, is_quantised = samples.training_inputs(every)
    assert is_quantised == (name != "float")
    expected = samples.inputs(every)
    assert torch.equal(given, network.quantised_input(expected) if is_quantised else expected)
    torch.manual_seed(3)
    scores = network(given, is_quantised)
    torch.manual_seed(3)
    assert torch.equal(scores, network(expected))
