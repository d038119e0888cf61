"""Constant levels in training: the values and gradients of `quantisers`, in a few operations.

Brevitas takes some twenty for each, which is most of a small network's time. Here two to four make
a level, and one its gradient. Evaluation and export go through Brevitas.

Values are Brevitas' own, bit for bit: s is the float32 number 1 / m, and x is divided by it, not
multiplied by m. Gradients are those that `quantisers` states. Where s is no power of two Brevitas'
own may be one unit in the last place off, as it multiplies by s and divides by it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from training.quantisers import LEVEL_BITS
from training.weight_methods import straight_through

Levels = Callable[[Tensor], Tensor]

_LEAST_POSITIVE = 2.0**-149
"""In float32."""


def sign_of(x: Tensor) -> Tensor:
    """-1 where x < 0, else 1; without a gradient."""
    return torch.copysign(x.new_ones(()), x + 0.0)  # -0 + 0 is 0, whose sign is plus.


def rounded(x: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """(y, x / s): y = s * clip(round(x / s), -m, m), s = 1 / m; without a gradient."""
    if m == 1:
        return x.round().clamp_(-1.0, 1.0), x
    scale = x.new_full((), 1.0 / m)  # On the device: by a number of the host's, CUDA multiplies.
    steps = x / scale
    return steps.round().clamp_(-m, m).mul_(scale), steps


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign_of(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _where_clip_kept(gradient, x, -1.0)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, m: int) -> Tensor:
        y, steps = rounded(x, m)
        ctx.save_for_backward(steps)
        ctx.reach = m + 0.5  # m is odd: a tie at this end rounds away, and is clipped.
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _within(gradient, *ctx.saved_tensors, -ctx.reach, ctx.reach), None


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, least: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.least = least
        return x.clamp(least, 1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _where_clip_kept(gradient, *ctx.saved_tensors, ctx.least), None


def _where_clip_kept(gradient: Tensor, x: Tensor, least: float) -> Tensor:
    """The gradient where least <= x <= 1, else 0; `least` is -1 or 0."""
    eps = torch.finfo(x.dtype).eps
    return _within(gradient, x, least - eps if least else -_LEAST_POSITIVE, 1.0 + eps)


def _within(gradient: Tensor, x: Tensor, least: float, greatest: float) -> Tensor:
    """The gradient where least < x < greatest, else 0."""
    return torch.ops.aten.hardtanh_backward(gradient, x, least, greatest)


def clipped(x: Tensor, least: float) -> Tensor:
    """clip(x, least, 1), dL/dx = dL/dy * 1[least <= x <= 1]: x.clamp with a quicker gradient."""
    return _Clipped.apply(x, least)


def activation_levels(name: str) -> Levels:
    """What an activation quantiser of constant levels does in training, by its name."""
    if name == "binary":
        return _Sign.apply
    m = _greatest(name)
    return lambda x: _Rounded.apply(x, m)


def straight_levels(x: Tensor, m: int) -> Tensor:
    """s * clip(round(x / s), -m, m), s = 1 / m; dL/dx = dL/dy, beyond the clip too."""
    return straight_through(x, rounded(x.detach(), m)[0])


def weight_levels(name: str) -> Levels | None:
    """The same of a weight quantiser; None where its levels are not constant."""
    if name not in LEVEL_BITS:
        return None
    if name == "binary":
        return lambda weights: straight_through(weights, sign_of(weights.detach()))
    m = _greatest(name)
    return lambda weights: straight_levels(weights, m)


def _greatest(name: str) -> int:
    return 2 ** (LEVEL_BITS[name] - 1) - 1
