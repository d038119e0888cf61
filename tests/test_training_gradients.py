"""Quantised gradients: levels, expectation, zeros, and the layers that are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.errors import UserError
from training.config import load_config, parse_config
from training.gradients import METHODS, GradientQuantiser, dorefa_gradient, qnn_gradient
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


@pytest.mark.parametrize("bits", [2, 6])
def test_dorefa_by_an_independent_formula_with_the_same_noise(bits: int) -> None:
    gradient = torch.randn(3, 2, 5, generator=torch.manual_seed(1)).double()
    torch.manual_seed(7)
    found = dorefa_gradient(gradient, bits)
    torch.manual_seed(7)
    draws = torch.rand(3, 2, 5, dtype=torch.float64).numpy()
    n = 2**bits - 1
    for sample, draw, quantised in zip(gradient.numpy(), draws, found.numpy(), strict=True):
        for index, g in np.ndenumerate(sample):
            m = max(abs(other) for other in sample.flat)
            share = min(max(g / (2 * m) + 0.5 + (draw[index] - 0.5) / n, 0.0), 1.0)
            assert quantised[index] == pytest.approx(
                2 * m * (round(n * share) / n - 0.5), abs=1e-12
            )


def test_the_noise_is_uniform_over_one_step() -> None:
    """Then a share f of the way from one level to the next takes the upper with probability f."""
    torch.manual_seed(0)
    n, n_draws = 3, 100_000
    shares = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.7, 0.95, 1.0]).double()
    # Between levels 1 and 2 of 0 .. 3; the last element is the greatest.
    gradient = 2.0 * ((1.0 + shares) / n - 0.5)
    row = torch.cat([gradient, torch.ones(1).double()])
    steps = ((dorefa_gradient(row.repeat(n_draws, 1), 2) / 2.0 + 0.5) * n).round()[:, :-1]
    assert set(steps.unique().tolist()) == {1.0, 2.0}
    upper = (steps == 2.0).double().mean(0)
    deviation = (shares * (1.0 - shares) / n_draws).sqrt()
    assert ((upper - shares).abs() <= 5.0 * deviation + 1e-12).all()


def test_qnn_by_hand() -> None:
    # AP2(0.9) = 1, AP2(3) = 4 (log2 3 = 1.58), AP2(0.6) = 0.5 (log2 0.6 = -0.74); at 4 bits steps
    # of 1/8 of it, levels -7 to 7, ties to even.
    gradient = torch.tensor(
        [[0.9, -0.4, 0.0625, -0.1875], [-3.0, 0.2, 0.25, 0.3], [0.6, 0.5, -0.1, 0.02], [0.0] * 4]
    )
    levels = torch.tensor([[7, -3, 0, -2], [-6, 0, 0, 1], [7, 7, -2, 0], [0] * 4])
    steps = torch.tensor([[1 / 8], [1 / 2], [1 / 16], [0]])
    assert torch.equal(qnn_gradient(gradient, 4), levels * steps)
    image = qnn_gradient(gradient.reshape(4, 1, 2, 2), 4)
    assert torch.equal(image.reshape(4, 4), levels * steps)


@pytest.mark.parametrize("method", METHODS)
def test_it_acts_in_training_only(method: str) -> None:
    torch.manual_seed(0)
    module = GradientQuantiser(method, 2)
    upstream = torch.tensor([[1.0, 0.2, -0.4]])
    for training in (True, False):
        x = torch.tensor([[3.0, 4.0, 5.0]], requires_grad=True)
        y = module.train(training)(x)
        assert torch.equal(y, x)
        y.backward(upstream)
        assert torch.equal(x.grad, upstream) != training


def test_the_config_chooses_the_method() -> None:
    table = {
        "data": {"name": "digits"},
        "network": {
            "hidden": [8, 8],
            "input_quantiser": "int4",
            "weight_quantiser": "binary",
            "activation_quantiser": "int2",
            "gradient_quantiser": "qnn",
        },
        "training": {"epochs": 1, "learning_rate": 0.1},
    }
    with pytest.raises(UserError, match=r"(?s)needs its bits.*gradient_quantiser.*gradient_bits"):
        parse_config(table, where="test")
    table["network"]["gradient_bits"] = 6
    network = build_network(parse_config(table, where="test").network, (8, 8, 1), 10)
    assert network.hidden[1].gradient.quantise is qnn_gradient


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
