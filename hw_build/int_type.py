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
