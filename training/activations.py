"""Activation quantisers that do in training, or before Brevitas' quantiser, what it does not.

All are `QuantIdentity`, so that scales, hooks and export are those of any other activation.
"""

from __future__ import annotations

import torch
from brevitas.nn import QuantIdentity
from torch import Tensor

from training.constant_levels import activation_levels, clipped, straight_levels
from training.quantisers import (
    ACTIVATION_METHOD_BITS,
    LEARNED_NAMES,
    activation_quantiser,
    unsigned_quantiser,
)
from training.weight_methods import straight_through


class ConstantLevels(QuantIdentity):
    """A quantiser of constant levels, by its name; in training without Brevitas' own steps."""

    def __init__(self, name: str) -> None:
        super().__init__(act_quant=activation_quantiser(name))
        self._levels = activation_levels(name)

    def forward(self, x: Tensor) -> Tensor:
        return self._levels(x) if self.training else super().forward(x)


class Quinary(QuantIdentity):
    """y = q / 2, q = round(2 * clip(x, -1, 1)): -2 to 2, half to even. dL/dx = dL/dy * 1[|x| <= 1].

    In QONNX a Clip, then a narrow Quant of 3 bits, which by itself would reach 3.
    """

    def __init__(self) -> None:
        super().__init__(act_quant=activation_quantiser("int3").let(min_val=-1.5, max_val=1.5))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return straight_levels(clipped(x, -1.0), 2)
        return super().forward(x.clamp(-1.0, 1.0))


class Dorefa(QuantIdentity):
    """DoReFa: y = q / n, q = round(n * clip(x, 0, 1)), n = 2^bits - 1.

    dL/dx = dL/dy * 1[0 <= x <= 1]. One bit is exported as a Clip, then a Quant of 2 bits, which by
    itself would reach 3: Brevitas exports any quantiser of one bit as -1 and +1.
    """

    def __init__(self, bits: int) -> None:
        quantiser = unsigned_quantiser(max(bits, 2))
        if bits == 1:
            quantiser = quantiser.let(max_val=3.0)  # steps of 1
        super().__init__(act_quant=quantiser)
        self._n = 2**bits - 1

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return straight_levels(clipped(x, 0.0), self._n)
        return super().forward(x.clamp(0.0, 1.0) if self._n == 1 else x)


class LearnedBinary(QuantIdentity):
    """y = s * q, q = -1 where x < 0, else 1; s learned, with gradients as in `quantisers`."""

    def __init__(self) -> None:
        super().__init__(act_quant=activation_quantiser("binary_learned"))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        # Brevitas' clip would send a gradient of its own to the scale.
        scale = self.act_quant.scale()
        u = x / scale
        return scale * straight_through(u.clamp(-1.0, 1.0), torch.where(u < 0.0, -1.0, 1.0).to(u))


class StochasticBinary(QuantIdentity):
    """BNN: +1 with probability clip((x + 1) / 2, 0, 1), else -1. dL/dx = dL/dy * 1[|x| <= 1].

    In evaluation, and in QONNX, +1 where x >= 0, else -1. Draws from torch's global generator.
    """

    def __init__(self) -> None:
        super().__init__(act_quant=activation_quantiser("binary"))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        is_one = torch.rand_like(x) < (x.detach() + 1.0) / 2.0
        return straight_through(clipped(x, -1.0), torch.where(is_one, 1.0, -1.0).to(x))


def quantised_activation(name: str) -> QuantIdentity | None:
    """A new module of a quantiser's name; None leaves activations in floating point."""
    match name:
        case "quinary":
            return Quinary()
        case "binary_stochastic":
            return StochasticBinary()
        case "binary_learned":
            return LearnedBinary()
        case _ if name in ACTIVATION_METHOD_BITS:
            return Dorefa(ACTIVATION_METHOD_BITS[name])
        case _ if name in LEARNED_NAMES:
            return QuantIdentity(act_quant=activation_quantiser(name))
    return None if name == "float" else ConstantLevels(name)
