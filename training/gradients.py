"""Quantised gradients: what flows back through a layer's output, in training only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def dorefa_gradient(gradient: Tensor, bits: int) -> Tensor:
    """DoReFa, per sample: 2m * (round(n * clip(g / 2m + 1/2 + N, 0, 1)) / n - 1/2).

    m = max|g| over all axes but the batch, n = 2^bits - 1, N uniform in (-1/2, 1/2) / n, one draw
    of torch's global generator per element. A sample whose gradient is 0 stays 0.
    """
    n = 2**bits - 1
    reach = 2.0 * gradient.abs().amax(tuple(range(1, gradient.dim())), keepdim=True)
    noise = (torch.rand_like(gradient) - 0.5) / n
    share = gradient / torch.where(reach > 0.0, reach, 1.0) + 0.5 + noise
    return reach * (torch.round(n * share.clamp(0.0, 1.0)) / n - 0.5)


class _QuantisedBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int) -> Tensor:
        ctx.bits = bits
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return dorefa_gradient(gradient, ctx.bits), None


class GradientQuantiser(nn.Module):
    """y = x; in training dL/dx = dorefa_gradient(dL/dy, bits)."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, x: Tensor) -> Tensor:
        return _QuantisedBackward.apply(x, self.bits) if self.training else x


def with_quantised_gradient(layer: nn.Sequential, bits: int | None, is_first: bool) -> None:
    """Appends a quantiser of the gradient to what follows a linear layer or a convolution.

    None leaves gradients in floating point; so does the first layer of a network.
    """
    if bits is not None and not is_first:
        layer.add_module("gradient", GradientQuantiser(bits))
