"""Carries a method of `weight_methods` in a Brevitas layer, and bakes its weights for export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.weight_methods import METHODS, ttq

BrevitasQuantised = tuple[Tensor, Tensor, Tensor, Tensor]
"""Real values, scale, zero point, bit width."""


class MethodQuantiser(nn.Module):
    """Brevitas' `tensor_quant` of a method's name."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = METHODS[method]

    def forward(self, weights: Tensor) -> BrevitasQuantised:
        values, scale = self.method.quantise(weights, self.training)
        return values, scale, weights.new_zeros(()), weights.new_tensor(float(self.method.bits))


class TtqQuantiser(nn.Module):
    """TTQ in the same place; its two scales are parameters, 1 at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.positive = nn.Parameter(torch.ones(()))
        self.negative = nn.Parameter(torch.ones(()))

    def forward(self, weights: Tensor) -> BrevitasQuantised:
        values = ttq(weights, self.positive, self.negative)
        scale = weights.new_ones(())  # Brevitas wants one; these levels have two.
        return values, scale, weights.new_zeros(()), weights.new_tensor(2.0)


class BakedQuantiser(nn.Module):
    """What stands in its place once the weights are levels: y = scale * round(w / scale).

    The thresholds of a method are not those of QONNX, which rounds w / scale half to even. Weights
    that are scale * integer already come out of either the same.
    """

    def __init__(self, scale: Tensor, bits: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("bits", bits.detach().clone())

    def forward(self, weights: Tensor) -> BrevitasQuantised:
        values = torch.round(weights / self.scale) * self.scale
        return values, self.scale, weights.new_zeros(()), self.bits


@torch.no_grad()
def bake(layer: nn.Module) -> None:
    """Replaces the weights of a Brevitas layer in evaluation mode by their levels."""
    quantiser = layer.weight_quant.tensor_quant
    if isinstance(quantiser, MethodQuantiser):
        values, scale, _, bits = quantiser(layer.weight)
        layer.weight.copy_(values)
        layer.weight_quant.tensor_quant = BakedQuantiser(scale, bits)


def has_fixed_range(layer: nn.Module) -> bool:
    """Whether levels lie in [-1, 1] whatever the weights, which are then spread and clipped."""
    quantiser = layer.weight_quant.tensor_quant
    if isinstance(quantiser, TtqQuantiser):
        return False
    return not isinstance(quantiser, MethodQuantiser) or quantiser.method.has_fixed_range


def is_baked(layer: nn.Module) -> bool:
    return isinstance(layer.weight_quant.tensor_quant, BakedQuantiser)
