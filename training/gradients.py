"""Quantised gradients: what flows back through a layer's output, in training only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.network_config import NetworkConfig
from training.norms import nearest_power


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


def qnn_gradient(gradient: Tensor, bits: int) -> Tensor:
    """QNN's LinearQuant, per sample: step * clip(round(g / step), -m, m), m = 2^(bits-1) - 1.

    step = AP2(max|g|) / 2^(bits-1), AP2 as `nearest_power` and the maximum over all axes but the
    batch; half to even, no noise. A sample whose gradient is 0 stays 0.

    The paper gives LinearQuant(x, step, min, max) and says that 6 bits do for gradients, not where
    step, min and max come from. Here the step is a power of two, as all factors of that paper are;
    it is each sample's own, as in DoReFa; and the levels are those of a signed integer without its
    least one. AP2 rounds: gradients beyond (1 - 2^(1-bits)) * AP2(max|g|) saturate, which takes at
    most a factor sqrt(2) and a step from the greatest.
    """
    greatest = gradient.abs().amax(tuple(range(1, gradient.dim())), keepdim=True)
    step = nearest_power(greatest) / 2.0 ** (bits - 1)
    m = 2 ** (bits - 1) - 1
    steps = gradient / torch.where(step > 0.0, step, 1.0)
    return step * torch.round(steps).clamp(-m, m)


GradientMethod = Callable[[Tensor, int], Tensor]
METHODS: dict[str, GradientMethod] = {"dorefa": dorefa_gradient, "qnn": qnn_gradient}


class _QuantisedBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, quantise: GradientMethod, bits: int) -> Tensor:
        ctx.quantise, ctx.bits = quantise, bits
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.quantise(gradient, ctx.bits), None, None


class GradientQuantiser(nn.Module):
    """y = x; in training dL/dx is the method's function of dL/dy."""

    def __init__(self, method: str, bits: int) -> None:
        super().__init__()
        self.quantise, self.bits = METHODS[method], bits

    def forward(self, x: Tensor) -> Tensor:
        return _QuantisedBackward.apply(x, self.quantise, self.bits) if self.training else x


def with_quantised_gradient(layer: nn.Sequential, config: NetworkConfig, is_first: bool) -> None:
    """Appends a quantiser of the gradient to what follows a linear layer or a convolution.

    Without `gradient_bits` gradients stay in floating point; so do those of the first layer.
    """
    if config.gradient_bits is not None and not is_first:
        quantiser = GradientQuantiser(config.gradient_quantiser, config.gradient_bits)
        layer.add_module("gradient", quantiser)
