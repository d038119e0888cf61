"""LUTs of one dot product, counted as `rtl/compressed_dot_product.sv` and what it instantiates do.

Nothing is fitted here: the heap of bits is followed stage by stage. What is left when no column
holds more than three bits are three numbers, kept in registers and added up by carry chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class DotProductCells:
    """Of one PE: LUTs of counters and compressors, bits of the three numbers, LUTs of the adders
    that add them to an accumulator."""

    lut: int
    held_bits: int
    adder_lut: int


@lru_cache(maxsize=4096)
def dot_product_cells(
    weight_kind: int,
    weight_bits: int,
    act_kind: int,
    act_bits: int,
    simd: int,
    shift: int,
    width: int,
) -> DotProductCells:
    """Cells for the RTL's parameters of the same names; `width` is SUM_BITS."""
    group = 3 if weight_kind in (0, 3) else 2 if weight_kind == 1 or act_kind == 2 else 1
    groups = -(-simd // group)
    counts_two = groups - 1 if simd - (groups - 1) * group == 1 else groups
    if group == 1:
        counts_two = 0
    heights, lut = [0] * width, 0
    for column in _columns(weight_kind, weight_bits, act_bits):
        for at, n in ((column + shift, groups), (column + shift + 1, counts_two)):
            if at < width:
                heights[at] += n
                lut += n
    while max(heights) > 3:
        heights, spent = _stage(heights)
        lut += spent
    occupied = sum(height > 0 for height in heights)
    second, third = (next((c for c in range(width) if heights[c] > row), width) for row in (1, 2))
    # the first two numbers end where the heap does, the others are added to the whole accumulator
    adder_lut = max(0, occupied - second) + (width - third) + width
    return DotProductCells(lut, sum(heights), adder_lut)


def _columns(weight_kind: int, weight_bits: int, act_bits: int) -> list[int]:
    """The column of each plane of products, before the shift."""
    if weight_kind == 3:
        return [k + j for k in range(weight_bits) for j in range(act_bits)]
    return list(range(act_bits + (weight_kind == 2)))


def _stage(heights: list[int]) -> tuple[list[int], int]:
    """One stage of `rtl/compressor_tree.sv`: the next heights, and the LUTs it takes."""
    width, lut = len(heights), 0
    least = 6 if max(heights) > 6 else 3
    after = [0] * width
    for column, height in enumerate(heights):
        sizes = [6] * (height // 6)
        if height % 6 >= least:
            sizes.append(height % 6)
        after[column] += height - sum(sizes)
        for size in sizes:
            for bit in range(3 if size > 3 else 2):
                if column + bit < width:
                    after[column + bit] += 1
                    lut += 1
    return after, lut
