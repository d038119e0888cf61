"""Dropout: its distribution, its gradient, the seed, and nothing of it in evaluation."""

from __future__ import annotations

import pytest
import torch

from training.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_values_and_gradient(p: float) -> None:
    torch.manual_seed(0)
    x = torch.full((1001, 1003), 3.0, requires_grad=True)
    y = Dropout(p).train()(x)
    share = (y == 0.0).double().mean().item()
    assert abs(share - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-17
    kept = torch.tensor(65536 / (65536 - round(65536 * p)))
    assert torch.equal(y.detach().unique(), torch.stack([torch.zeros(()), 3.0 * kept]))
    (gradient,) = torch.autograd.grad(y, x, torch.full_like(y, 3.0))
    assert torch.equal(gradient, y)


def test_the_four_parts_of_a_draw_are_independent() -> None:
    torch.manual_seed(1)
    dropped = (Dropout(0.5)(torch.ones(200_000, 4)) == 0.0).double() - 0.5
    products = dropped.T @ dropped / len(dropped)
    assert (products - 0.25 * torch.eye(4)).abs().max() < 5 * 0.25 / 200_000**0.5
    assert (dropped[1:] * dropped[:-1]).mean(0).abs().max() < 5 * 0.25 / 200_000**0.5


def test_the_seed_decides_and_evaluation_drops_nothing() -> None:
    x = torch.rand(7, 3)
    module = Dropout(0.3)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(module(x))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert module.eval()(x) is x
    assert Dropout(0.0).train()(x) is x
