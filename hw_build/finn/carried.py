"""How FINN's graph holds the integers of a layer: the tensor, its QONNX type, and how they read.

A bipolar tensor is held in one of three ways, which whoever reads it decides:

- as bits b in {0, 1}, x = 2 * b - 1, for an XNOR unit;
- as INT2 where zeros are padded around it, since FINN's padding keeps the type and 0 is no bipolar
  value, and where it is pooled for other weights: Vitis HLS holds BIPOLAR in `ap_int<1>`, in which
  +1 is -1 and -1 is 0, so that the greatest of a window would be the least;
- as BIPOLAR otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from hw_build.graph import Flatten, Input, IntType, Layer, MatVec, MaxPool, Pad, Threshold, Window

KEEPS_VALUES = (Pad, Window, MaxPool, Flatten)
"""Layers that put out values of their source, and so hold them as it does."""

BITS, TERNARY = IntType(1, signed=False), IntType(2, signed=True)


@dataclass(frozen=True)
class Carried:
    """How FINN's graph holds a layer: the layer's integer = scale * (tensor's value) + offset."""

    tensor: str
    type: IntType
    scale: int = 1
    offset: int = 0

    def encode(self, integers: np.ndarray) -> np.ndarray:
        """The float32 values that the tensor holds for these integers, same shape."""
        return ((integers.astype(np.int64) - self.offset) // self.scale).astype(np.float32)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The layer's integers, int64, for these values of the tensor, same shape."""
        return self.scale * values.astype(np.int64) + self.offset


def carry(layer: Input | Threshold, behind: Sequence[Layer]) -> Carried:
    """How the values that `layer` puts out are held, with the layers `behind` it in its chain."""
    if not layer.type.bipolar:
        return Carried(layer.name, layer.type)
    kept = list(takewhile(lambda one: isinstance(one, KEEPS_VALUES), behind))
    reader = behind[len(kept)] if len(kept) < len(behind) else None
    if any(isinstance(one, Pad) and one.value == 0 for one in kept):
        return Carried(layer.name, TERNARY)
    if isinstance(reader, MatVec) and reader.weight_kind == "binary":
        return Carried(layer.name, BITS, 2, -1)
    pooled = any(isinstance(one, MaxPool) for one in kept)
    return Carried(layer.name, TERNARY if pooled else layer.type)


def type_name(kind: IntType) -> str:
    """QONNX's name of an integer type; a signed type of one bit becomes one of two."""
    if kind.bits == 1 and not kind.bipolar:
        return "INT2" if kind.signed else "BINARY"
    return str(kind)
