"""The integer dataflow graph: typed, frozen layers with exact integer semantics.

A graph is a tuple of layers in the order they run. Tensors are channels-last integer arrays with
the batch first: `(N, C)` for vectors. Every executor (numpy, RTL under Verilator, FINN, a board)
computes exactly what the layers' docstrings say. What the integers mean as real numbers is kept
beside the graph in `Meaning`, for comparisons and reports; it never enters a computation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from deploy.errors import UserError


@dataclass(frozen=True)
class IntType:
    """An integer type as hardware carries it.

    `bipolar` is {-1, +1} in one bit, 1 for +1. All others are plain binary, two's complement
    where `signed`. Ternary {-1, 0, +1} is a signed type of 2 bits, quinary {-2..2} one of 3 bits.
    """

    bits: int
    signed: bool
    bipolar: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 32 or (self.bipolar and (self.bits != 1 or not self.signed)):
            raise ValueError(f"no such integer type: {self!r}")

    @property
    def lo(self) -> int:
        if self.bipolar:
            return -1
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        if self.bipolar:
            return 1
        return (1 << (self.bits - self.signed)) - 1

    def __str__(self) -> str:
        if self.bipolar:
            return "BIPOLAR"
        return f"{'INT' if self.signed else 'UINT'}{self.bits}"

    @classmethod
    def parse(cls, text: str) -> IntType:
        """The inverse of `str`."""
        if text == "BIPOLAR":
            return BIPOLAR
        signed = text.startswith("INT")
        return cls(int(text.removeprefix("INT" if signed else "UINT")), signed)

    @classmethod
    def holding(cls, lo: int, hi: int) -> IntType:
        """The narrowest plain type that holds every integer from `lo` to `hi`."""
        if lo >= 0:
            return cls(max(1, int(hi).bit_length()), signed=False)
        return cls(max(max(int(hi), 0).bit_length(), int(-lo - 1).bit_length()) + 1, signed=True)


BIPOLAR = IntType(1, signed=True, bipolar=True)


@dataclass(frozen=True)
class TensorInfo:
    """What is known of a tensor: shape without the batch, type, and the proven range per channel.

    `lo` and `hi` are int64 arrays of shape (C,), C being the last entry of `shape`.
    """

    shape: tuple[int, ...]
    type: IntType
    lo: np.ndarray
    hi: np.ndarray

    @property
    def n_channels(self) -> int:
        return self.shape[-1]


@dataclass(frozen=True, eq=False)
class Input:
    """The integers that the host sends, one vector of `shape` per frame."""

    name: str
    shape: tuple[int, ...]
    type: IntType

    @property
    def sources(self) -> tuple[str, ...]:
        return ()

    def infer(self) -> TensorInfo:
        ones = np.ones(self.shape[-1], np.int64)
        return TensorInfo(self.shape, self.type, ones * self.type.lo, ones * self.type.hi)


@dataclass(frozen=True, eq=False)
class MatVec:
    """y[o] = sum over i of weights[o, i] * x[i], and nothing else: no bias, no scale.

    `weights` is an int64 array of shape (outputs, inputs). The accumulator's range is proven
    from the weights and the range of x.
    """

    name: str
    source: str
    weights: np.ndarray

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        if self.weights.ndim != 2 or self.weights.shape[1] != x.n_channels:
            raise ValueError(f"{self.name}: weights {self.weights.shape} on input {x.shape}")
        positive, negative = np.maximum(self.weights, 0), np.minimum(self.weights, 0)
        lo = positive @ x.lo + negative @ x.hi
        hi = positive @ x.hi + negative @ x.lo
        shape = (*x.shape[:-1], len(self.weights))
        return TensorInfo(shape, IntType.holding(int(lo.min()), int(hi.max())), lo, hi)

    @property
    def weight_kind(self) -> str:
        """'binary', 'ternary', 'quinary' or 'int': the cheapest arithmetic that is exact."""
        values = set(np.unique(self.weights).tolist())
        for kind, levels in WEIGHT_LEVELS.items():
            if values <= levels:
                return kind
        return "int"

    @property
    def weight_bits(self) -> int:
        """Bits that one weight takes in memory: 1, 2 and 3 for the named kinds."""
        if self.weight_kind != "int":
            return {"binary": 1, "ternary": 2, "quinary": 3}[self.weight_kind]
        signed = IntType.holding(min(-1, int(self.weights.min())), int(self.weights.max()))
        return signed.bits


WEIGHT_LEVELS = {"binary": {-1, 1}, "ternary": {-1, 0, 1}, "quinary": {-2, -1, 0, 1, 2}}


@dataclass(frozen=True, eq=False)
class Threshold:
    """y[c] = base + step * (number of t in thresholds[c] with x[c] >= t).

    `thresholds` is an int64 array of shape (C, K), ascending along K; equal neighbours are a
    level that no value reaches. A threshold above the range of x is never reached, one at or
    below its low end always. A bipolar output has K = 1, base = -1, step = 2.
    """

    name: str
    source: str
    thresholds: np.ndarray
    base: int
    step: int
    type: IntType

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def infer(self, x: TensorInfo) -> TensorInfo:
        if len(self.thresholds) != x.n_channels:
            raise ValueError(f"{self.name}: {len(self.thresholds)} rows for {x.shape}")
        if (np.diff(self.thresholds, axis=1) < 0).any():
            raise ValueError(f"{self.name}: thresholds do not ascend")
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


Layer = Input | MatVec | Threshold | ArgMax


@dataclass(frozen=True, eq=False)
class Meaning:
    """What a layer's integers stand for: real = scale * integer + offset, per channel.

    `tensor` names the QONNX tensor that carries those real numbers. `scale` and `offset` are
    float64 arrays of shape () or (C,).
    """

    tensor: str
    scale: np.ndarray
    offset: np.ndarray

    def to_real(self, integers: np.ndarray) -> np.ndarray:
        """scale * integers + offset, float64."""
        return integers.astype(np.float64) * self.scale + self.offset


@dataclass(frozen=True, eq=False)
class Graph:
    """Layers in execution order; the last one is the output.

    `meanings` maps the names of the input, of every quantised layer and of the output scores to
    their real-valued meaning: these are the points at which executors are compared.
    """

    layers: tuple[Layer, ...]
    meanings: dict[str, Meaning] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for layer in self.layers:
            if layer.name in seen or not set(layer.sources) <= seen:
                raise ValueError(f"layer {layer.name!r} is named twice or runs before its source")
            seen.add(layer.name)
        if not self.layers or not isinstance(self.layers[0], Input):
            raise ValueError("a graph starts with its Input")

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise UserError("no such layer", where=name, expected=f"one of {names}")

    @property
    def input(self) -> Input:
        return self.layers[0]

    @property
    def output(self) -> Layer:
        return self.layers[-1]

    def infer(self) -> dict[str, TensorInfo]:
        """Shape, type and proven range of every layer's output, by layer name."""
        infos: dict[str, TensorInfo] = {}
        for layer in self.layers:
            infos[layer.name] = layer.infer(*(infos[source] for source in layer.sources))
        return infos
