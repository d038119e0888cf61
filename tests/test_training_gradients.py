"""Quantised gradients: levels, expectation, zeros, and the layers that are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.config import load_config
from training.gradients import GradientQuantiser, dorefa_gradient
from training.networks import build_network

CONFIGS = Path(__file__).parents[1] / "training" / "configs"


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_levels_are_those_of_each_sample(bits: int) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(5, 4, 3, 3).double() * torch.tensor([1e-4, 1.0, 7.0, 0.0, 3.0]).view(
        5, 1, 1, 1
    )
    found = dorefa_gradient(gradient, bits)
    n = 2**bits - 1
    for sample, quantised in zip(gradient, found, strict=True):
        greatest = sample.abs().max()
        if greatest == 0:
            assert torch.equal(quantised, sample)
            continue
        steps = (quantised / (2 * greatest) + 0.5) * n
        torch.testing.assert_close(steps, steps.round())
        assert (quantised - sample).abs().max() <= 2 * greatest / n * (1 + 1e-9)


def test_the_noise_makes_the_mean_right() -> None:
    torch.manual_seed(0)
    gradient = torch.tensor([[-1.0, -0.3, 0.1, 0.6]]).repeat(100_000, 1)
    mean = dorefa_gradient(gradient, 2).mean(0)
    # A step is 2/3: the deviation of a mean of 100,000 is at most 1/3 / sqrt(100,000).
    assert (mean - gradient[0]).abs().max() < 5 * 0.00106


def test_it_acts_in_training_only() -> None:
    torch.manual_seed(0)
    module = GradientQuantiser(2)
    upstream = torch.tensor([[1.0, 0.2, -0.4]])
    for training in (True, False):
        x = torch.tensor([[3.0, 4.0, 5.0]], requires_grad=True)
        y = module.train(training)(x)
        assert torch.equal(y, x)
        y.backward(upstream)
        assert torch.equal(x.grad, upstream) != training


@pytest.mark.parametrize(
    ("name", "n_quantised"), [("digits_w1a1", 2), ("digits_cnv_w1a1", 2), ("digits_fire_w2a2", 6)]
)
def test_the_first_and_the_last_layer_are_left_alone(name: str, n_quantised: int) -> None:
    config = load_config(CONFIGS / f"{name}.toml").network.model_copy(update={"gradient_bits": 6})
    network = build_network(config, (8, 8, 1), 10)
    found = [key for key, m in network.named_modules() if isinstance(m, GradientQuantiser)]
    assert len(found) == n_quantised
    assert not any(key.startswith(("hidden.0", "layers.0", "output")) for key in found)
    network(torch.rand(4, *network.input_shape)).sum().backward()
