"""Arithmetic between integers and a product, kept as real numbers instead of rounded step by step.

A network may scale and shift its integers before the first layer: x / 255, 2 x - 1. In floating
point each value of x / 255 is rounded, and a sum over many lies beside the real one by noise that
depends on the order of summation; where the real sum lies on a tie of the next quantiser, noise
would decide. A chain keeps what those operators define on real numbers, so that the product over
them can be computed exactly and rounded once. Element for element the tensors stay what float64
makes of them: only products look at chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hw_build.oracle.product import MANTISSA_BITS, IntegerForm, integer_form

MOVES = ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that leave every element what it is."""


@dataclass(frozen=True)
class Chain:
    """The real numbers base * scale + offset; `base` is a float64 array, taken as it is."""

    base: np.ndarray
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def product(self, b: IntegerForm) -> np.ndarray | None:
        """These real numbers (N, K) times b (K, M), each rounded once; None if not so simple."""
        p = integer_form(self.base, per_column=False)
        if p is None or self.scale == 0:
            return None
        scale = self.scale * Fraction(float(p.units))
        largest = np.abs(p.integers).max(initial=0) * np.abs(b.integers).sum(axis=0).max(initial=0)
        shift = self.offset / scale  # in steps of the integers
        grain = shift.denominator
        columns = b.integers.sum(axis=0)
        reach = Fraction(float(largest)) + abs(shift) * Fraction(float(np.abs(columns).max()))
        if grain & (grain - 1) or reach * grain >= 2**MANTISSA_BITS:
            return None
        divisor = scale.denominator
        twos = (divisor & -divisor).bit_length() - 1
        divisor >>= twos
        factor = Fraction(scale.numerator, 1 << twos)
        if divisor >= 2**MANTISSA_BITS or Fraction(float(factor)) != factor:
            return None
        factors = float(factor) * b.units
        factor_bits = _significant_bits(factor.numerator) + b.unit_bits.max()
        sum_bits = int(reach * grain).bit_length()
        if factor_bits > MANTISSA_BITS or (divisor != 1 and factor_bits + sum_bits > MANTISSA_BITS):
            return None
        return (p.integers @ b.integers + float(shift) * columns) * factors / float(divisor)


def follow(op: str, arrays: list[np.ndarray], chains: list[Chain | None]) -> Chain | None:
    """The chain of a node's result, None where it doesn't continue one.

    Args:
        op: of the standard domain.
        arrays: the node's inputs.
        chains: of the inputs that depend on the network's input, None for constants.
    """
    if op == "Neg":
        return _affine(chains[0], Fraction(-1), Fraction(0))
    if len(arrays) != 2 or (chains[0] is None) == (chains[1] is None):
        return None
    data, constant = (0, 1) if chains[1] is None else (1, 0)
    values = arrays[constant]
    if not values.size or not np.isfinite(values).all() or (values != values.flat[0]).any():
        return None
    number, one, none = Fraction(float(values.flat[0])), Fraction(1), Fraction(0)
    match op, data:
        case "Mul", _:
            return _affine(chains[data], number, none)
        case "Div", 0 if number:
            return _affine(chains[0], 1 / number, none)
        case "Add", _:
            return _affine(chains[data], one, number)
        case "Sub", 0:
            return _affine(chains[0], one, -number)
        case "Sub", 1:
            return _affine(chains[1], -one, number)
    return None


def _affine(chain: Chain | None, scale: Fraction, offset: Fraction) -> Chain | None:
    if chain is None:
        return None
    return Chain(chain.base, chain.scale * scale, chain.offset * scale + offset)


def _significant_bits(n: int) -> int:
    """Bits of an integer between its highest and its lowest one."""
    n = abs(n)
    return (n // (n & -n)).bit_length() if n else 0
