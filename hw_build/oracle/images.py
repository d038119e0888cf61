"""Operators on images (N, C, H, W) and signals (N, C, L): convolutions, pools, and resizing.

A sliding kernel is a gather: `_windows` picks what lies under it, and a convolution is then a
product of matrices, which is rounded once where its operands are quantised (`product`).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from hw_build.oracle.call import Arrays, Call, Operator, optional
from hw_build.oracle.chain import Chain
from hw_build.oracle.product import exact_product, integer_form, product_of_forms


def _pads(call: Call, x: np.ndarray, reach: list[int], strides: list[int]) -> list[tuple[int, int]]:
    """(before, after) of every spatial axis, by `pads` or `auto_pad`."""
    rank = len(reach)
    mode = call.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        flat = list(call.attribute("pads", [0] * (2 * rank)))
        return list(zip(flat[:rank], flat[rank:], strict=True))
    if mode == "VALID":
        return [(0, 0)] * rank
    made = []
    for size, length, stride in zip(x.shape[2:], reach, strides, strict=True):
        outputs = math.ceil(size / stride)
        missing = max(0, (outputs - 1) * stride + length - size)
        small, large = missing // 2, missing - missing // 2
        made.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return made


def _kernel(call: Call, x: np.ndarray, kernel: list[int]):
    """(kernel, strides, dilations, pads) of a node that slides over x."""
    rank = x.ndim - 2
    if rank < 1 or len(kernel) != rank:
        raise call.refuse("a kernel that doesn't fit its input", found=f"{kernel} on {x.shape}")
    strides = list(call.attribute("strides", [1] * rank))
    dilations = list(call.attribute("dilations", [1] * rank))
    reach = [1 + d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    return kernel, strides, dilations, _pads(call, x, reach, strides)


def _windows(call: Call, x: np.ndarray, geometry: tuple, fill: float) -> np.ndarray:
    """What lies under the kernel: (N, C, positions of the kernel, *sides of the output)."""
    kernel, strides, dilations, pads = geometry
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    counts = []
    for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True)):
        room = padded.shape[2 + i] - d * (k - 1) - 1
        if room < 0:
            raise call.refuse("a kernel larger than its input", found=f"{kernel} on {x.shape}")
        if call.attribute("ceil_mode", 0) and room % s:
            raise call.refuse("windows beyond the padded image", found="ceil_mode 1")
        counts.append(room // s + 1)
    columns = []
    for place in itertools.product(*(range(k) for k in kernel)):
        index = [slice(None), slice(None)]
        for p, n, s, d in zip(place, counts, strides, dilations, strict=True):
            index.append(slice(p * d, p * d + (n - 1) * s + 1, s))
        columns.append(padded[tuple(index)])
    windows = np.stack(columns, axis=2)
    call.largest = max(call.largest, windows.size)
    return windows


def _padded_windows(call: Call, chain: Chain, geometry: tuple) -> Chain | None:
    """The windows of a chain's real numbers around which there are zeros; None: no such base."""
    zero = Fraction(0)
    if any(before or after for before, after in geometry[3]):
        zero = -chain.offset / chain.scale if chain.scale else Fraction(0)
    if Fraction(float(zero)) != zero or not chain.scale:
        return None
    return Chain(_windows(call, chain.base, geometry, float(zero)), chain.scale, chain.offset)


def conv(call: Call, inputs: Arrays) -> np.ndarray:
    """y[o] = sum over the group's channels and the kernel's positions of w * x, plus a bias."""
    x, w, bias = inputs[0], inputs[1], optional(inputs, 2)
    if call.batched[1] or not call.batched[0]:
        raise call.refuse("a convolution whose weights are computed from the input")
    groups = call.attribute("group", 1)
    geometry = _kernel(call, x, list(w.shape[2:]))
    n, channels = x.shape[:2]
    if channels != groups * w.shape[1] or w.shape[0] % groups:
        raise call.refuse("weights that don't fit", found=f"{w.shape} in {groups} on {x.shape}")
    whole = integer_form(x, per_column=False)  # windows add zeros at most
    windows = _windows(call, x if whole is None else whole.integers, geometry, 0.0)
    chained = None if call.chain is None else _padded_windows(call, call.chain, geometry)
    sides = windows.shape[3:]

    def rows(array: np.ndarray, group: int) -> np.ndarray:
        """(N * sides, C / groups * K) of one group's channels."""
        of_group = array.reshape(n, groups, channels // groups * array.shape[2], -1)[:, group]
        return np.moveaxis(of_group, 1, 2).reshape(-1, of_group.shape[1])

    made = []
    per_group = w.shape[0] // groups
    for group in range(groups):
        matrix = w[group * per_group : (group + 1) * per_group].reshape(per_group, -1).T
        key = f"weights of group {group}"
        if key not in call.derived:
            call.derived[key] = integer_form(matrix)
        form, exact = call.derived[key], None
        if form is not None and chained is not None:
            moved = Chain(rows(chained.base, group), chained.scale, chained.offset)
            exact = moved.product(form)
        under = rows(windows, group)
        if form is not None and whole is not None and exact is None:
            exact = product_of_forms(whole._replace(integers=under), form)
        if exact is None:
            call.inexact = True
            exact = (under if whole is None else under * whole.units) @ matrix
        made.append(np.moveaxis(exact.reshape(n, -1, per_group), 2, 1))
    y = np.concatenate(made, axis=1).reshape(n, -1, *sides)
    return y if bias is None else y + bias.reshape(-1, *(1 for _ in sides))


def max_pool(call: Call, inputs: Arrays) -> np.ndarray:
    """The greatest under the kernel; padding is less than everything."""
    geometry = _kernel(call, inputs[0], list(call.attributes["kernel_shape"]))
    return _windows(call, inputs[0], geometry, -np.inf).max(axis=2)


def _mean(call: Call, x: np.ndarray, geometry: tuple, count: int) -> np.ndarray:
    """The sum under the kernel, rounded once where x is quantised, divided by `count`.

    What it passes on as a chain is the undivided sum of the chain's base.
    """
    windows = np.moveaxis(_windows(call, x, geometry, 0.0), 2, -1)
    ones = integer_form(np.ones((windows.shape[-1], 1)))
    chained = None if call.chain is None else _padded_windows(call, call.chain, geometry)
    exact = None
    if chained is not None:
        base = np.moveaxis(chained.base, 2, -1)
        exact = Chain(base, chained.scale, chained.offset).product(ones)
        offset = chained.offset * windows.shape[-1] / count
        call.passed = Chain(base.sum(axis=-1), chained.scale / count, offset)
    if exact is None:
        exact = exact_product(windows, ones)
    if exact is None:
        call.inexact = True
        return windows.sum(axis=-1) / count
    if chained is None:
        call.passed = Chain(exact[..., 0], Fraction(1, count))
    return exact[..., 0] / count


def average_pool(call: Call, inputs: Arrays) -> np.ndarray:
    """The sum under the kernel, divided by the number of its positions."""
    (x,) = inputs
    geometry = _kernel(call, x, list(call.attributes["kernel_shape"]))
    padded = any(before or after for before, after in geometry[3])
    if padded and not call.attribute("count_include_pad", 0):
        ones = np.ones((1, 1, *x.shape[2:]))
        total = _windows(call, x, geometry, 0.0).sum(axis=2)
        call.inexact = True
        return total / _windows(call, ones, geometry, 0.0).sum(axis=2)
    return _mean(call, x, geometry, math.prod(geometry[0]))


def _whole(x: np.ndarray) -> tuple:
    rank = x.ndim - 2
    return list(x.shape[2:]), [1] * rank, [1] * rank, [(0, 0)] * rank


def global_average_pool(call: Call, inputs: Arrays) -> np.ndarray:
    """The mean of every channel; its sides stay, of length 1."""
    (x,) = inputs
    return _mean(call, x, _whole(x), math.prod(x.shape[2:]))


def reduce_mean(call: Call, inputs: Arrays) -> np.ndarray:
    """The mean over axes; an attribute before opset 18, an input since."""
    x, given = inputs[0], optional(inputs, 1)
    axes = call.attribute("axes") if given is None else [int(axis) for axis in given]
    keep = bool(call.attribute("keepdims", 1))
    axes = sorted(call.axis(axis, x.ndim) for axis in axes or range(x.ndim))
    if call.batched[0] and x.ndim > 2 and axes == list(range(2, x.ndim)):
        y = _mean(call, x, _whole(x), math.prod(x.shape[2:]))
        if keep:
            return y
        if call.passed is not None:
            base = call.passed.base.reshape(x.shape[:2])
            call.passed = Chain(base, call.passed.scale, call.passed.offset)
        return y.reshape(x.shape[:2])
    call.inexact = True
    return x.sum(axis=tuple(axes), keepdims=keep) / math.prod(x.shape[axis] for axis in axes)


def pad(call: Call, inputs: Arrays) -> np.ndarray:
    """A constant around some axes; inputs since opset 11, attributes before."""
    x, pads, value, axes = inputs[0], *(optional(inputs, i) for i in range(1, 4))
    if call.attribute("mode", "constant") != "constant":
        raise call.refuse("padding with copies", found=str(call.attribute("mode")))
    pads = call.attributes["pads"] if pads is None else [int(n) for n in pads]
    fill = call.attribute("value", 0.0) if value is None else float(value.reshape(()))
    axes = range(x.ndim) if axes is None else [int(axis) for axis in axes]
    around = [(0, 0)] * x.ndim
    for axis, before, after in zip(
        axes, pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True
    ):
        if before or after:
            around[call.axis(axis, x.ndim)] = (before, after)
    return np.pad(x, around, constant_values=fill)


def resize(call: Call, inputs: Arrays) -> np.ndarray:
    """Nearest neighbours: each output index is taken back to the input's, and rounded."""
    x = inputs[0]
    if call.attribute("mode", "nearest") != "nearest":
        raise call.refuse("interpolation", found=str(call.attribute("mode")))
    old = call.op == "Upsample" or len(inputs) == 2
    scales = optional(inputs, 1 if old else 2)
    sizes = None if old else optional(inputs, 3)
    if scales is None:
        scales = call.attribute("scales")
    if sizes is not None and np.size(sizes):
        ratios = [Fraction(int(m), n) for m, n in zip(sizes[1:], x.shape[1:], strict=True)]
    else:
        ratios = [Fraction(float(s)) for s in np.ravel(scales)[1:]]
    where = "asymmetric" if old else call.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else call.attribute("nearest_mode", "round_prefer_floor")
    for axis, ratio in enumerate(ratios, 1):
        length = math.floor(x.shape[axis] * ratio)
        index = [_nearest(call, i, ratio, where, rounding, length) for i in range(length)]
        x = np.take(x, np.clip(index, 0, x.shape[axis] - 1), axis=axis)
    return x


def _nearest(call: Call, i: int, ratio: Fraction, where: str, rounding: str, length: int) -> int:
    half = Fraction(1, 2)
    if where == "asymmetric":
        place = i / ratio
    elif where == "half_pixel" or (where == "pytorch_half_pixel" and length > 1):
        place = (i + half) / ratio - half
    elif where == "pytorch_half_pixel":
        place = Fraction(0)
    else:
        raise call.refuse("unsupported coordinates", found=where)
    if rounding == "round_prefer_floor":
        return math.ceil(place - half)
    if rounding == "round_prefer_ceil":
        return math.floor(place + half)
    return math.floor(place) if rounding == "floor" else math.ceil(place)


IMAGES: dict[str, Operator] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "GlobalAveragePool": global_average_pool,
    "MaxPool": max_pool,
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Resize": resize,
    "Upsample": resize,
}
