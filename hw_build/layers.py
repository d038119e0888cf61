"""The layers of the integer graph: typed, frozen, each with exact integer semantics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .int_type import IntType, TensorInfo, WeightType


@dataclass(frozen=True, eq=False)
class Input:
    """The integers that the host sends: a vector (C,) or an image (H, W, C) per frame."""

    name: str
    shape: tuple[int, ...]
    type: IntType

    @property
    def sources(self) -> tuple[str, ...]:
        return ()

    def infer(self) -> TensorInfo:
        ones = np.ones(self.shape[-1], np.int64)
        return TensorInfo(self.shape, self.type, ones * self.type.lo, ones * self.type.hi)


class Weighted:
    """What layers with integer weights share.

    `writable` is the type of the weights that the host may put in their place at run time, or None
    where they are fixed. Ranges are then proven for any weights of that type.
    """

    weights: np.ndarray
    writable: WeightType | None

    @cached_property
    def weight_type(self) -> WeightType:
        """How the weights are coded: as what the host may write, or in the cheapest way."""
        return self.writable or WeightType.of(self.weights)

    @cached_property
    def has_one_weight(self) -> bool:
        """Whether all weights are one constant, for good."""
        return self.writable is None and bool(self.weights.min() == self.weights.max())

    @property
    def weight_kind(self) -> str:
        """'binary', 'ternary', 'quinary' or 'int'."""
        return self.weight_type.kind

    @property
    def weight_bits(self) -> int:
        """Bits that one weight takes in memory."""
        return self.weight_type.bits


@dataclass(frozen=True, eq=False)
class MatVec(Weighted):
    """y[o] = sum over i of weights[o, i] * x[i], and nothing else: no bias, no scale.

    `weights` is an int64 array of shape (outputs, inputs). Of an image, every pixel's vector is
    multiplied: behind a Window this is a convolution. The accumulator's range is proven from the
    weights and the range of x.
    """

    name: str
    source: str
    weights: np.ndarray
    writable: WeightType | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        if self.weights.ndim != 2 or self.weights.shape[1] != x.n_channels:
            raise ValueError(f"{self.name}: weights {self.weights.shape} on input {x.shape}")
        if self.writable is not None:
            least, greatest = self.writable.products(x.lo, x.hi)
            lo, hi = (np.full(len(self.weights), ends.sum()) for ends in (least, greatest))
        else:
            positive, negative = np.maximum(self.weights, 0), np.minimum(self.weights, 0)
            lo = positive @ x.lo + negative @ x.hi
            hi = positive @ x.hi + negative @ x.lo
        shape = (*x.shape[:-1], len(self.weights))
        return TensorInfo(shape, IntType.holding(int(lo.min()), int(hi.max())), lo, hi)


@dataclass(frozen=True, eq=False)
class Threshold:
    """y[c] = base + step * (number of t in thresholds[c] with x[c] >= t).

    `thresholds` is an int64 array of shape (C, K), ascending along K; equal neighbours are a
    level that no value reaches. A threshold above the range of x is never reached, one at or
    below its low end always. A bipolar output has K = 1, base = -1, step = 2. The host may put
    others in the place of `writable` thresholds, so that every level may be reached.
    """

    name: str
    source: str
    thresholds: np.ndarray
    base: int
    step: int
    type: IntType
    writable: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        if len(self.thresholds) != x.n_channels:
            raise ValueError(f"{self.name}: {len(self.thresholds)} rows for {x.shape}")
        if (np.diff(self.thresholds, axis=1) < 0).any():
            raise ValueError(f"{self.name}: thresholds do not ascend")
        if self.writable:
            ends = (self.base, self.base + self.step * self.thresholds.shape[1])
            lo, hi = (np.full(len(self.thresholds), end) for end in ends)
            return TensorInfo(x.shape, self.type, lo, hi)
        lo = self.base + self.step * (x.lo[:, None] >= self.thresholds).sum(axis=1)
        hi = self.base + self.step * (x.hi[:, None] >= self.thresholds).sum(axis=1)
        return TensorInfo(x.shape, self.type, lo, hi)


@dataclass(frozen=True, eq=False)
class ArgMax:
    """y = the lowest index among the channels that hold the greatest value; shape (1,)."""

    name: str
    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        last = x.n_channels - 1
        index_type = IntType.holding(0, last)
        return TensorInfo((*x.shape[:-1], 1), index_type, np.array([0]), np.array([last]))


@dataclass(frozen=True, eq=False)
class TopK:
    """y = the indices of the `k` greatest channels, the greatest first, the lowest among equals."""

    name: str
    source: str
    k: int

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        if not 1 <= self.k <= x.n_channels:
            raise ValueError(f"{self.name}: the top {self.k} of {x.n_channels}")
        index_type = IntType.holding(0, x.n_channels - 1)
        lo, hi = np.zeros(self.k, np.int64), np.full(self.k, x.n_channels - 1)
        return TensorInfo((*x.shape[:-1], self.k), index_type, lo, hi)
