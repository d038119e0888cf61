"""Sums of products without rounding noise: what float64 kernels would round otherwise.

Within `ExactArithmetic` PyTorch's linear layers and convolutions give the exact sum of their
products, rounded once, average pools the exact sum of each window, rounded once and then divided,
and batch norms follow ONNX's formula term by term.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = (torch.conv1d, torch.conv2d)
_AVERAGE_POOLS = (functional.avg_pool1d, functional.avg_pool2d)
_FLOAT32_BITS = 24


class ExactArithmetic(TorchFunctionMode):
    """A context in which the functions above are replaced; for float64 in evaluation mode."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # Brevitas hands over weights as quantised tensors, whose numbers are in `value`.
        args = tuple(getattr(argument, "value", argument) for argument in args)
        if func is functional.linear:
            return exact_linear(*args, **kwargs)
        if func in _CONVOLUTIONS:
            return exact_convolution(func, *args, **kwargs)
        if func in _AVERAGE_POOLS:
            return exact_average_pool(func, *args)
        if func is functional.batch_norm:
            return _onnx_batch_norm(*args, **kwargs)
        return func(*args, **kwargs)


def exact_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias in float64; the sum of products is the exact one, rounded once.

    x is (N, K), weight (M, K); for the conditions see `_exact_products`.
    """
    total = _exact_products(lambda a, b: a @ b.T, x, weight, n_terms=x.shape[-1])
    return total if bias is None else total + bias


def exact_convolution(
    convolve: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *geometry: Any,
    **named_geometry: Any,
) -> Tensor:
    """A convolution in float64; every sum of products is the exact one, rounded once.

    x is (N, C, ...), weight (M, C / groups, ...); what follows the bias is as in `torch.conv2d`.
    """

    def product(a: Tensor, b: Tensor) -> Tensor:
        return convolve(a, b, None, *geometry, **named_geometry)

    n_terms = weight[0].numel()
    if _are_integers_of_float32(x, weight, n_terms):
        total = product(x.float(), weight.float()).double()
    else:
        total = _exact_products(product, x, weight, n_terms)
    return total if bias is None else total + bias.reshape(-1, *[1] * (total.dim() - 2))


def exact_average_pool(
    pool: Callable[..., Tensor],
    x: Tensor,
    window: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    *_geometry: Any,
) -> Tensor:
    """The mean of each window: its exact sum, rounded once, over the number of its elements.

    x is (N, C, L) or (N, C, H, W); no padding, and windows that lie within x.
    """
    n_sides = x.dim() - 2
    sides = window if isinstance(window, tuple) else (window,) * n_sides
    convolve = torch.conv1d if pool is functional.avg_pool1d else torch.conv2d
    # Each channel is an image of its own, summed by a kernel of ones.
    images = x.reshape(-1, 1, *x.shape[2:])
    sums = exact_convolution(convolve, images, x.new_ones(1, 1, *sides), None, stride)
    return sums.reshape(*x.shape[:2], *sums.shape[2:]) / math.prod(sides)


def _are_integers_of_float32(x: Tensor, weight: Tensor, n_terms: int) -> bool:
    """Whether both hold integers so small that any sum of their products is exact in float32."""
    greatest = x.abs().max().item() * weight.abs().max().item() * n_terms
    is_small = greatest <= 2**_FLOAT32_BITS
    return is_small and torch.equal(x, x.round()) and torch.equal(weight, weight.round())


def _exact_products(
    product: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, n_terms: int
) -> Tensor:
    """product(x, weight), bilinear and without bias: sums of `n_terms` products, rounded once.

    Each operand is split in a high and a low half of so few bits that none of the four partial sums
    rounds, in whatever order a kernel adds; they are added from high to low, with the error of the
    one sum that may round carried on. That holds for operands whose bits span at most twice those
    of a half (20 each at 784 terms), as integers of up to 8 bits times a float32 scale do; beyond
    that the low products round, and the result is still as good as float64's own.
    """
    half_bits = (52 - math.ceil(math.log2(n_terms))) // 2
    x_high, x_low = _split(x, half_bits)
    w_high, w_low = _split(weight, half_bits)
    high = product(x_high, w_high)
    has_x_low, has_w_low = x_low.any().item(), w_low.any().item()
    if not has_x_low and not has_w_low:
        return high
    if not has_w_low:
        return high + product(x_low, w_high)
    if not has_x_low:
        return high + product(x_high, w_low)
    middle = product(x_high, w_low) + product(x_low, w_high)
    return _add_low(high, middle, product(x_low, w_low))


def _add_low(high: Tensor, middle: Tensor, low: Tensor) -> Tensor:
    """high + middle + low, the error of the first sum carried on into the second."""
    total = high + middle
    carried = total - high
    error = (high - (total - carried)) + (middle - carried)
    return total + (error + low)


def _split(x: Tensor, half_bits: int) -> tuple[Tensor, Tensor]:
    """x = high + low exactly, high a multiple of max|x| * 2^-half_bits rounded to a power of 2."""
    greatest = x.abs().max().item()
    if greatest == 0.0:
        return x, torch.zeros_like(x)
    unit = math.ldexp(1.0, math.frexp(greatest)[1] - half_bits)
    high = torch.round(x / unit) * unit
    return high, x - high


def _onnx_batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, eps as the float32 that ONNX stores."""
    eps = float(np.float32(eps))
    channels = (-1, *[1] * (x.dim() - 2))
    mean, var, weight, bias = (
        tensor.reshape(channels) for tensor in (running_mean, running_var, weight, bias)
    )
    return (x - mean) / torch.sqrt(var + eps) * weight + bias
