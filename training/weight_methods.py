"""The low-bit methods that Brevitas does not carry exactly, as plain functions of the weights.

Each takes float32 weights, output channels first, and gives (y, scale): y = scale * q, q an
integer, scale positive, of shape () or, per channel, (C, 1, ...). None limits the range of w.
Straight-through means dL/dw = dL/dy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Method = Callable[[Tensor, bool], tuple[Tensor, Tensor]]


class _StraightThrough(torch.autograd.Function):
    """y in the forward pass, exactly; the gradient goes to x as it comes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def straight_through(x: Tensor, y: Tensor) -> Tensor:
    """y, with dL/dx = dL/dy."""
    return _StraightThrough.apply(x, y)


def stochastic_binary(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """BNN: q = +1 with probability clip((w + 1) / 2, 0, 1), else -1; scale 1. Straight-through.

    In evaluation q = +1 where w >= 0, else -1. One draw of torch's global generator per weight.
    """
    is_one = torch.rand_like(w) < (w.detach() + 1.0) / 2.0 if training else w >= 0.0
    return straight_through(w, torch.where(is_one, 1.0, -1.0).to(w)), w.new_ones(())


def ternary_twn(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """TWN: D = 0.7 * mean|w|; q = sign(w) where |w| > D, else 0; scale = mean(|w| : |w| > D).

    Straight-through.
    """
    return _twn(w, tuple(range(w.dim())))


def ternary_twn_channel(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """The same with D and scale of each output channel."""
    return _twn(w, tuple(range(1, w.dim())))


def _twn(w: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    magnitude = w.detach().abs()
    kept = magnitude > 0.7 * magnitude.mean(dims, keepdim=True)
    n_kept = kept.sum(dims, keepdim=True).clamp(min=1)
    scale = ((magnitude * kept).sum(dims, keepdim=True) / n_kept).clamp(min=_LEAST_SCALE)
    if len(dims) == w.dim():
        scale = scale.reshape(())
    return straight_through(w, w.detach().sign() * kept * scale), scale


class _Ttq(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        threshold = 0.05 * w.abs().max()
        above, below = w > threshold, w < -threshold
        ctx.save_for_backward(above, below, positive, negative)
        return positive * above - negative * below

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        above, below, positive, negative = ctx.saved_tensors
        of_weights = gradient * torch.where(above, positive, torch.where(below, negative, 1.0))
        return of_weights, (gradient * above).sum(), -(gradient * below).sum()


def ttq(w: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """TTQ, D = 0.05 * max|w|: positive where w > D, -negative where w < -D, else 0.

    g = dL/dy. dL/dw = positive * g, negative * g and g on these three sets; dL/dpositive is the sum
    of g over the first, dL/dnegative minus its sum over the second.
    """
    return _Ttq.apply(w, positive, negative)


def quinary(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """q = clip(round(2 * w), -2, 2), scale = 1 / 2. Straight-through."""
    q = torch.round(2.0 * w.detach()).clamp(-2.0, 2.0)
    return straight_through(w, q / 2.0), w.new_tensor(0.5)


def quinary_channel(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """scale = max|w| / 2 of each channel, q = round(w / scale). Straight-through."""
    dims = tuple(range(1, w.dim()))
    scale = (w.detach().abs().amax(dims, keepdim=True) / 2.0).clamp(min=_LEAST_SCALE)
    return straight_through(w, (w.detach() / scale).round() * scale), scale


def dorefa(bits: int) -> Method:
    """DoReFa, n = 2^bits - 1.

    bits = 1: q = sign(w), +1 where w = 0; scale = mean|w|. Straight-through.
    bits > 1: t = tanh(w) / max|tanh(w)|, q = 2 * round(n * (t + 1) / 2) - n, scale = 1 / n: odd
    integers from -n to n. Straight-through in the rounding, so dL/dw = dL/dy * dt/dw, the maximum
    differentiated as well.
    """

    def one_bit(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        scale = w.detach().abs().mean().clamp(min=_LEAST_SCALE)
        return straight_through(w, torch.where(w >= 0.0, scale, -scale)), scale

    def more_bits(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        n = 2**bits - 1
        t = w.tanh()
        t = t / t.abs().max().clamp(min=_LEAST_SCALE)
        scale = w.new_ones(()) / n
        q = 2.0 * torch.round(n * (t.detach() + 1.0) / 2.0) - n
        return straight_through(t, q * scale), scale

    return one_bit if bits == 1 else more_bits


def uniform_channel(bits: int) -> Method:
    """m = 2^(bits-1) - 1; scale = max|w| / m of each channel, q = round(w / scale).

    Straight-through.
    """
    m = 2 ** (bits - 1) - 1

    def method(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        dims = tuple(range(1, w.dim()))
        scale = (w.detach().abs().amax(dims, keepdim=True) / m).clamp(min=_LEAST_SCALE)
        return straight_through(w, (w.detach() / scale).round().clamp(-m, m) * scale), scale

    return method


def logarithmic(bits: int) -> Method:
    """QNN: y = sign(w) * 2^e, e = round(log2|w|) from -(2^(bits-1) - 1) to 0; + where w = 0.

    scale is the least of these, q = y / scale a power of two. Straight-through.
    """
    n = 2 ** (bits - 1) - 1

    def method(w: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        magnitude = w.detach().abs().clamp(min=math.ldexp(1.0, -n - 1))
        power = torch.exp2(torch.log2(magnitude).round().clamp(-n, 0))
        return straight_through(w, torch.where(w < 0.0, -power, power)), w.new_tensor(2.0**-n)

    return method


_LEAST_SCALE = 2.0**-20
"""Keeps the scale of weights that are all zero positive."""


@dataclass(frozen=True)
class WeightMethod:
    """A method as a config offers it.

    `bits` are those of its integers; `per_tensor` names the method with one scale for all channels,
    where this one has more; `has_fixed_range` says that levels lie in [-1, 1] for all weights.
    """

    quantise: Method
    bits: int
    per_tensor: str | None = None
    has_fixed_range: bool = False


METHODS = (
    {
        "binary_stochastic": WeightMethod(stochastic_binary, 1, has_fixed_range=True),
        "twn": WeightMethod(ternary_twn, 2),
        "twn_channel": WeightMethod(ternary_twn_channel, 2, per_tensor="twn"),
        "quinary": WeightMethod(quinary, 3, has_fixed_range=True),
        "quinary_channel": WeightMethod(quinary_channel, 3, per_tensor="quinary"),
        "dorefa1": WeightMethod(dorefa(1), 1),
    }
    | {f"dorefa{bits}": WeightMethod(dorefa(bits), bits + 1) for bits in range(2, 8)}
    | {
        f"int{bits}_channel": WeightMethod(uniform_channel(bits), bits, per_tensor=f"int{bits}")
        for bits in range(2, 9)
    }
    | {
        "log2": WeightMethod(logarithmic(2), 3, has_fixed_range=True),
        "log3": WeightMethod(logarithmic(3), 5, has_fixed_range=True),
    }
)
