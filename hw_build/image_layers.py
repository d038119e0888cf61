"""The layers of images (H, W, C); a one-dimensional signal is an image of one row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .int_type import IntType, TensorInfo, WeightType
from .layers import Weighted


@dataclass(frozen=True, eq=False)
class Pad:
    """Puts `value` around an image: `top`, `bottom` rows and `left`, `right` columns of it.

    A convolution is padded with the integer that stands for real 0. Zero is no bipolar value, so
    that a bipolar image becomes one of ternary type. A max pool is padded with the least value.
    """

    name: str
    source: str
    top: int
    left: int
    bottom: int
    right: int
    value: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        height, width, n_channels = _image(self.name, x)
        shape = (height + self.top + self.bottom, width + self.left + self.right, n_channels)
        kind = x.type
        if kind.bipolar and self.value == 0:
            kind = IntType(2, signed=True)
        elif not kind.lo <= self.value <= kind.hi or (kind.bipolar and not self.value):
            raise ValueError(f"{self.name}: {self.value} is no {kind}")
        return TensorInfo(shape, kind, np.minimum(x.lo, self.value), np.maximum(x.hi, self.value))


@dataclass(frozen=True, eq=False)
class Window:
    """Slides a kernel over an image: every position becomes the vector of what lies under it.

    y[r, c] is x[r * stride[0] + i * dilation[0], c * stride[1] + j * dilation[1], channel] in the
    order kernel row i, kernel column j, channel: (KH * KW * C,). Positions where the kernel does
    not lie wholly on the image are none.
    """

    name: str
    source: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def n_positions(self) -> int:
        """KH * KW."""
        return self.kernel[0] * self.kernel[1]

    def infer(self, x: TensorInfo) -> TensorInfo:
        sides = []
        for size, kernel, stride, dilation in zip(
            _image(self.name, x), self.kernel, self.stride, self.dilation, strict=False
        ):
            reach = (kernel - 1) * dilation + 1
            if min(kernel, stride, dilation) < 1 or reach > size:
                raise ValueError(f"{self.name}: kernel {self.kernel} does not fit on {x.shape}")
            sides.append((size - reach) // stride + 1)
        n = self.n_positions
        return TensorInfo((*sides, n * x.n_channels), x.type, np.tile(x.lo, n), np.tile(x.hi, n))


@dataclass(frozen=True, eq=False)
class Depthwise(Weighted):
    """y[o] = sum over k of weights[o, k] * x[k * C + o // m]: every channel by itself.

    `weights` is an int64 array of shape (C * m, K), m outputs for each of C channels. Behind a
    Window of K positions this is a depthwise convolution, with weights 1 a sum pool; with K = 1 it
    turns signs and multiplies by constants.
    """

    name: str
    source: str
    weights: np.ndarray
    writable: WeightType | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def n_channels(self, x: TensorInfo) -> int:
        """C, the channels of the image under the window; ValueError if the weights do not fit."""
        n_outputs, n_positions = self.weights.shape
        n_channels, rest = divmod(x.n_channels, n_positions)
        if rest or n_channels < 1 or n_outputs % n_channels:
            raise ValueError(f"{self.name}: weights {self.weights.shape} on input {x.shape}")
        return n_channels

    def infer(self, x: TensorInfo) -> TensorInfo:
        n_channels = self.n_channels(x)
        per_channel = len(self.weights) // n_channels
        lows, highs = (
            np.repeat(bound.reshape(-1, n_channels).T, per_channel, axis=0)
            for bound in (x.lo, x.hi)
        )  # (C * m, K)
        if self.writable is not None:
            ends = np.stack(self.writable.products(lows, highs))
        else:
            ends = np.stack([self.weights * lows, self.weights * highs])
        lo, hi = ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1)
        shape = (*x.shape[:-1], len(self.weights))
        return TensorInfo(shape, IntType.holding(int(lo.min()), int(hi.max())), lo, hi)


@dataclass(frozen=True, eq=False)
class MaxPool:
    """y[c] = the greatest of x[k * C + c] over the `n_positions` positions k of a Window."""

    name: str
    source: str
    n_positions: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        n_channels, rest = divmod(x.n_channels, self.n_positions)
        if rest:
            raise ValueError(f"{self.name}: {self.n_positions} positions in input {x.shape}")
        lo, hi = (bound.reshape(-1, n_channels).max(axis=0) for bound in (x.lo, x.hi))
        return TensorInfo((*x.shape[:-1], n_channels), x.type, lo, hi)


@dataclass(frozen=True, eq=False)
class Add:
    """y = multipliers[0] * a + multipliers[1] * b, elementwise; the multipliers are not 0."""

    name: str
    first: str
    second: str
    multipliers: tuple[int, int] = (1, 1)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.first, self.second)

    def infer(self, a: TensorInfo, b: TensorInfo) -> TensorInfo:
        if a.shape != b.shape:
            raise ValueError(f"{self.name}: adds {a.shape} and {b.shape}")
        ends = [
            _sorted(multiplier * x.lo, multiplier * x.hi)
            for multiplier, x in zip(self.multipliers, (a, b), strict=True)
        ]
        lo, hi = (ends[0][side] + ends[1][side] for side in (0, 1))
        return TensorInfo(a.shape, IntType.holding(int(lo.min()), int(hi.max())), lo, hi)


def _sorted(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the higher of two bounds, per channel."""
    return np.minimum(one, other), np.maximum(one, other)


@dataclass(frozen=True, eq=False)
class Concat:
    """The channels of several tensors of the same type, the first one's first."""

    name: str
    sources: tuple[str, ...]

    def infer(self, *inputs: TensorInfo) -> TensorInfo:
        first = inputs[0]
        for x in inputs:
            if x.shape[:-1] != first.shape[:-1] or x.type != first.type:
                raise ValueError(
                    f"{self.name}: joins {first.shape} {first.type}, {x.shape} {x.type}"
                )
        n_channels = sum(x.n_channels for x in inputs)
        lo, hi = np.concatenate([x.lo for x in inputs]), np.concatenate([x.hi for x in inputs])
        return TensorInfo((*first.shape[:-1], n_channels), first.type, lo, hi)


@dataclass(frozen=True, eq=False)
class Upsample:
    """Repeats every pixel `factors[0]` times downwards and `factors[1]` times to the right."""

    name: str
    source: str
    factors: tuple[int, int]

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        height, width, n_channels = _image(self.name, x)
        down, right = self.factors
        return TensorInfo((height * down, width * right, n_channels), x.type, x.lo, x.hi)


@dataclass(frozen=True, eq=False)
class Flatten:
    """An image as one vector: row, column, channel. In hardware only another view of a stream."""

    name: str
    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        n_pixels = int(np.prod(x.shape[:-1]))
        shape = (n_pixels * x.n_channels,)
        return TensorInfo(shape, x.type, np.tile(x.lo, n_pixels), np.tile(x.hi, n_pixels))


def _image(name: str, x: TensorInfo) -> tuple[int, int, int]:
    if len(x.shape) != 3:
        raise ValueError(f"{name}: takes an image (H, W, C), got {x.shape}")
    return x.shape
