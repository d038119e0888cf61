"""Integer types as hardware carries them, and what is proven of a tensor of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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

WEIGHT_LEVELS = {"binary": {-1, 1}, "ternary": {-1, 0, 1}, "quinary": {-2, -1, 0, 1, 2}}


@dataclass(frozen=True)
class WeightType:
    """Weights as a unit's memory codes them: `kind` is "binary", "ternary", "quinary" or "int".

    One takes 1, 2 and 3 bits of the named kinds, and `bits` in two's complement of "int".
    """

    kind: str
    bits: int

    @property
    def lo(self) -> int:
        return min(WEIGHT_LEVELS.get(self.kind, {-(1 << (self.bits - 1))}))

    @property
    def hi(self) -> int:
        return max(WEIGHT_LEVELS.get(self.kind, {(1 << (self.bits - 1)) - 1}))

    def __str__(self) -> str:
        return f"INT{self.bits}" if self.kind == "int" else self.kind

    @classmethod
    def parse(cls, text: str) -> WeightType:
        """The inverse of `str`."""
        if text in WEIGHT_LEVELS:
            return cls(text, list(WEIGHT_LEVELS).index(text) + 1)
        return cls("int", IntType.parse(text).bits)

    @classmethod
    def of(cls, weights: np.ndarray) -> WeightType:
        """The type with the cheapest arithmetic that holds all of them."""
        values = set(np.unique(weights).tolist())
        for kind, levels in WEIGHT_LEVELS.items():
            if values <= levels:
                return cls.parse(kind)
        return cls("int", IntType.holding(min(-1, int(weights.min())), int(weights.max())).bits)

    def holds(self, weights: np.ndarray) -> bool:
        """Whether every weight is one of this type."""
        if self.kind == "int":
            return bool(self.lo <= weights.min() and weights.max() <= self.hi)
        return set(np.unique(weights).tolist()) <= WEIGHT_LEVELS[self.kind]

    def products(self, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest product of any such weight with an x from `lo` to `hi`."""
        ends = np.stack([weight * bound for weight in (self.lo, self.hi) for bound in (lo, hi)])
        return ends.min(axis=0), ends.max(axis=0)


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

    @property
    def n_pixels(self) -> int:
        """H * W of an image, 1 of a vector."""
        return int(np.prod(self.shape[:-1]))

    @property
    def n_integers(self) -> int:
        """All integers of a frame."""
        return int(np.prod(self.shape))
