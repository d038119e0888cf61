"""LUTs of dot products, counted as `rtl/compressed_dot_product.sv` and what it instantiates do.

Nothing is fitted here: the heap of bits is followed stage by stage. What is left when no column
holds more than three bits are three numbers, kept in registers and added up by carry chains.

Weights that are constants make wires of products, and zeros of many. Then the heap is followed
with the share of bits that are there, and figures are those expected of weights in random order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb, expm1


@dataclass(frozen=True)
class DotProductCells:
    """Of one PE: LUTs of compressors, bits of the three numbers, LUTs of the adders that add them
    to an accumulator, or to a constant. Of all PEs: LUTs of the counters of products."""

    lut: float
    held_bits: float
    adder_lut: float
    constant_adder_lut: float
    counters_lut: float


@lru_cache(maxsize=8192)
def dot_product_cells(
    weight_kind: int,
    weight_bits: int,
    act_kind: int,
    act_bits: int,
    simd: int,
    shift: int,
    width: int,
    pe: int = 1,
    words: int = 64,
    ones: tuple[float, ...] = (),
) -> DotProductCells:
    """Cells for the RTL's parameters of the same names; `width` is SUM_BITS.

    Args:
        words: of the weight memory. Of few words many columns are alike, and so are counters.
        ones: if weights are constants, the share of ones in each plane of coded weights.
    """
    group = 3 if weight_kind in (0, 3) else 2 if weight_kind == 1 or act_kind == 2 else 1
    groups = -(-simd // group)
    last = simd - (groups - 1) * group
    counts_two = 0 if group == 1 else groups - 1 if last == 1 else groups
    heights, there, counters = [0] * width, [0.0] * width, 0.0
    for plane, column in enumerate(_columns(weight_kind, weight_bits, act_bits)):
        share = _share_there(weight_kind, act_kind, act_bits, plane, ones) if ones else 1.0
        for at, n, least in ((column + shift, groups, 1), (column + shift + 1, counts_two, 2)):
            if at < width:
                heights[at] += n
                there[at] += n * _at_least(least, group, share)
                if not ones:
                    counters += n
    patterns = _patterns(weight_kind, group, words, constant=bool(ones))
    if ones:
        counters = _constant_counters(weight_kind, act_kind, act_bits, group, pe, patterns, ones)
        counters *= groups
    elif group > 1:
        planes = weight_bits if weight_kind == 3 else 1
        counters *= _different(pe * planes, patterns) / planes
    else:
        counters *= pe
    lut = 0.0
    while max(heights) > 3:
        heights, there, spent = _stage(heights, there)
        lut += spent
    occupied = sum(height > 0 for height in heights)
    second, third = (next((c for c in range(width) if heights[c] > row), width) for row in (1, 2))
    held = sum(there)
    # the first two numbers end where the heap does, the others are added to the whole accumulator
    first_two = sum(there[c] / heights[c] for c in range(second, occupied) if heights[c])
    to_constant = first_two + (width - third) * 1.5 + min(third, occupied) / 2
    return DotProductCells(
        lut, held, first_two + (width - third) + width, min(to_constant, 2.0 * width), counters
    )


def _columns(weight_kind: int, weight_bits: int, act_bits: int) -> list[int]:
    """The column of each plane of products, before the shift."""
    if weight_kind == 3:
        return [k + j for k in range(weight_bits) for j in range(act_bits)]
    return list(range(act_bits + (weight_kind == 2)))


def _share_there(
    weight_kind: int, act_kind: int, act_bits: int, plane: int, ones: tuple[float, ...]
) -> float:
    """The share of a plane's products that are no constants, of weights that are."""
    if weight_kind == 0:
        return 1.0
    if weight_kind == 1:
        return ones[0]
    if weight_kind == 3:
        return ones[plane // act_bits]
    one, two = ones[0], ones[1]
    if plane == 0 or act_kind == 2:
        return one if plane == 0 else two
    return two if plane == act_bits and act_kind == 0 else one + two


def _at_least(least: int, n: int, share: float) -> float:
    """The chance that `least` or more of `n` bits are there."""
    return sum(comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(least, n + 1))


def _patterns(weight_kind: int, group: int, words: int, *, constant: bool) -> float:
    """Counters of a group of lanes that can differ: by weights in all words of a lane.

    Of constants, only those count that keep two lanes or more.
    """
    if constant:
        return 8.0 if weight_kind == 0 else 4.0
    values = 2 if weight_kind in (0, 3) else 3
    return float(values ** min(words * group, 200))


def _constant_counters(
    weight_kind: int,
    act_kind: int,
    act_bits: int,
    group: int,
    pe: int,
    patterns: float,
    ones: tuple[float, ...],
) -> float:
    """LUTs of a group's counters, two each, of all PEs; one product alone is a wire."""
    if group == 1:
        return 0.0
    planes = range(len(ones) if weight_kind == 3 else 2 if weight_kind == 2 else 1)
    counted = 0.0
    for j in range(1 if act_kind == 2 else act_bits):
        shares = [
            _share_there(weight_kind, act_kind, act_bits, k * act_bits + j, ones) for k in planes
        ]
        rows = [pe * _at_least(2, group, share) for share in shares]
        # products of the top plane are inverted: others than those of the planes below
        kinds = [sum(rows[:-1]), rows[-1]] if weight_kind == 3 else [sum(rows)]
        counted += sum(2 * _different(n, patterns) for n in kinds)
    return counted


def _different(n: float, patterns: float) -> float:
    """How many of `n` random draws among `patterns` differ."""
    return -patterns * expm1(-n / patterns)


def _stage(heights: list[int], there: list[float]) -> tuple[list[int], list[float], float]:
    """One stage of `rtl/compressor_tree.sv`: the next heights, and the LUTs it takes.

    `there` are bits of a column that are no constants: a compressor of one is a wire, of two or
    three it has two outputs.
    """
    width, lut = len(heights), 0.0
    least = 6 if max(heights) > 6 else 3
    after, there_after = [0] * width, [0.0] * width
    for column, height in enumerate(heights):
        share = there[column] / height if height else 0.0
        sizes = [6] * (height // 6)
        if height % 6 >= least:
            sizes.append(height % 6)
        after[column] += height - sum(sizes)
        there_after[column] += (height - sum(sizes)) * share
        for size in sizes:
            for bit in range(3 if size > 3 else 2):
                if column + bit < width:
                    after[column + bit] += 1
                    there_after[column + bit] += _at_least(1 << bit, size, share)
                    lut += _at_least(max(2, 1 << bit), size, share)
    return after, there_after, lut
