"""Brevitas' layers with weights, without what only evaluation and export need in training."""

from __future__ import annotations

from typing import Any

from brevitas.nn import QuantConv1d, QuantConv2d, QuantLinear
from torch import Tensor, nn

from training.constant_levels import weight_levels
from training.quantisers import weight_quantiser


class _Weighted(nn.Module):
    """In training the weights are plain tensors, that carry no scale and bits along."""

    def __init__(self, quantiser_name: str, *sizes: int, one_scale: bool = False, **given: Any):
        super().__init__(*sizes, weight_quant=weight_quantiser(quantiser_name, one_scale), **given)
        self._levels = weight_levels(quantiser_name)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return self.inner_forward_impl(x, self._trained_levels(), self.bias)

    def _trained_levels(self) -> Tensor:
        if self._levels is not None:
            return self._levels(self.weight)
        if self.weight_quant.is_quant_enabled:
            return self.weight_quant.tensor_quant(self.weight)[0]
        return self.weight


class Linear(_Weighted, QuantLinear):
    """A linear layer whose weights have the quantiser of a name."""


class Conv1d(_Weighted, QuantConv1d):
    """The same of a convolution along rows."""


class Conv2d(_Weighted, QuantConv2d):
    """The same of a convolution over images."""
