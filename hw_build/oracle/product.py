"""Matrix products of quantised operands in float64, rounded once.

A float64 BLAS sum of rounded products can miss an exact tie: an accumulator that lies exactly on a
threshold comes out one rounding error below it. Quantised operands have a structure that avoids
this. Every element is an integer times one unit (the quantiser's scale), so

    a = u * p,  b[:, j] = v[j] * q[:, j],  a @ b = (p @ q) * (u * v)

with p and q integers. Where no sum of |p * q| reaches 2**53, BLAS adds integers and rounds nowhere,
in whatever order it adds; where u and v have at most 53 significant bits together, u * v does not
round either. What is left is one rounding, that of the last multiplication: the result is the exact
real value, correctly rounded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MANTISSA_BITS = 53
SAMPLE_ROWS = 64


class IntegerForm(NamedTuple):
    """values = integers * units exactly.

    `integers` are whole numbers in float64, of the shape of the values. `units` and `unit_bits`
    (their significant bits) are float64 and int64 arrays of shape () or (columns,).
    """

    integers: np.ndarray
    units: np.ndarray
    unit_bits: np.ndarray


def exact_product(a: np.ndarray, b: np.ndarray | IntegerForm) -> np.ndarray | None:
    """a @ b, every element the exact real value rounded once to float64.

    `a` is float64 of shape (..., K), `b` of shape (K, M) or (..., K, M), or its integer form. None
    where this is no product of quantised operands: their integer forms don't exist or are too wide.
    """
    q = b if isinstance(b, IntegerForm) else integer_form(b)
    p = integer_form(a, per_column=False)
    return None if p is None or q is None else product_of_forms(p, q)


def product_of_forms(p: IntegerForm, q: IntegerForm) -> np.ndarray | None:
    """`exact_product` of what p, of one unit, and q stand for; None where they are too wide."""
    if (p.unit_bits + q.unit_bits).max() > MANTISSA_BITS:
        return None
    largest_sum = np.abs(p.integers).max(initial=0) * np.abs(q.integers).sum(axis=-2).max(initial=0)
    if largest_sum >= 2.0**MANTISSA_BITS:
        return None
    return (p.integers @ q.integers) * (p.units * q.units)


def integer_form(values: np.ndarray, per_column: bool = True) -> IntegerForm | None:
    """The greatest units that divide `values`, one per column of a matrix or one in all.

    A unit is guessed from a few rows first. The guess needs no trust: where integer and unit have
    at most 53 bits together their product is exact, so that comparing it with the value proves it.
    """
    if not np.isfinite(values).all():
        return None
    per_column = per_column and values.ndim == 2
    table = values if per_column else values.reshape(-1, 1)
    rows = len(table) if per_column else SAMPLE_ROWS * values.shape[-1]
    for sample in (table[:rows], table):
        found = _common_unit(sample)
        if found is None:
            return None
        units, bits = found if per_column else (found[0][0], found[1][0])
        integers = np.rint(values / units)
        widest = np.frexp(np.abs(integers).max(axis=0 if per_column else None, initial=0))[1]
        if (widest + bits).max() <= MANTISSA_BITS and np.array_equal(integers * units, values):
            return IntegerForm(integers, units, bits)
    return None


def _common_unit(table: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The greatest common divisor of each column and its significant bits; 1 for zeros."""
    mantissas, exponents = np.frexp(table)
    integers = np.ldexp(mantissas, MANTISSA_BITS).astype(np.int64)
    lowest_bits = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    nonzero = table != 0
    grid = (exponents - MANTISSA_BITS + lowest_bits).min(axis=0, where=nonzero, initial=1 << 20)
    top = exponents.max(axis=0, where=nonzero, initial=-(1 << 20))
    grid = np.where(nonzero.any(axis=0), grid, 0)
    if (top - grid).max(initial=0) > 62:  # wider than int64: no quantiser made this
        return None
    divisors = np.gcd.reduce(np.ldexp(table, -grid).astype(np.int64), axis=0)
    divisors = np.maximum(divisors, 1)
    units = np.ldexp(divisors.astype(np.float64), grid)
    bits = np.frexp(divisors.astype(np.float64))[1]  # odd by construction: no bit is below the grid
    return units, bits.astype(np.int64)
