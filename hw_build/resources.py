"""Resources of the programmable logic, and what memories take of them.

Formulas follow the counting rules of `netlist`: what Yosys makes of each for a 7-series device.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, expm1


@dataclass(frozen=True)
class Resources:
    """Cells of a 7-series device; `bram36` counts 36-kbit blocks, halves allowed."""

    lut: float = 0.0
    ff: float = 0.0
    bram36: float = 0.0
    dsp: float = 0.0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.lut + other.lut,
            self.ff + other.ff,
            self.bram36 + other.bram36,
            self.dsp + other.dsp,
        )


BLOCK_MEMORY_DEPTH = 128
"""Weight memories deeper than this many words go to block RAM: LUT ROM costs one LUT per bit up
to 64 words and doubles with each doubling beyond."""


def weights_in_block_memory(words: int) -> bool:
    """Whether a weight memory of that many words is put in block RAM."""
    return words > BLOCK_MEMORY_DEPTH


def rom_columns(words: int, width: int) -> float:
    """Columns of a ROM that differ, expected of random bits: few do if it is shallow.

    Columns that are constant, or that are a bit of the address, take neither LUT nor register.
    """
    if words <= 1:
        return 0.0
    kinds = 2.0 ** min(words, 60)
    free = 2 + 2 * (words - 1).bit_length()
    return max(0.0, (kinds - free) * -expm1(-width / kinds))


def rom_luts(words: int, width: int) -> float:
    """LUTs of a ROM in logic: one for each 64 words of a column, and multiplexers of four inputs.

    A rest of few words has few different columns, which saves some.
    """
    whole, rest = divmod(words, 64)
    leaves = whole + (0 if rest == 0 else 0.7 if whole and rest <= 8 else 1)
    return rom_columns(words, width) * (leaves + max(0.0, leaves - 1) / 3)


def bram36_of(words: int, width: int) -> float:
    """36-kbit block RAMs of a ROM with one read port: its best shape, a rest in half a block.

    Yosys also lays three words side by side in a row, which makes depths of three times a power
    of two.
    """
    shapes = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
    triple = ((1536, 24), (3072, 12), (6144, 6))
    found = []
    for depth, bits in shapes + triple:
        whole, rest = divmod(width, bits)
        found.append(ceil(words / depth) * (whole + (rest > 0) * (0.5 if 2 * rest <= bits else 1)))
    return min(found)


def lut_ram_luts(depth: int, width: int) -> float:
    """LUTs of a RAM in logic with one write and one read port: RAM32M, RAM64M, RAM128X1D."""
    if depth <= 32:
        return 4 * ceil(width / 6)
    if depth <= 64:
        return 4 * ceil(width / 3)
    return 4 * width * ceil(depth / 128)


def ram_resources(words: int, width: int, *, block: bool) -> Resources:
    """A RAM with one write and one read port, in block RAM or in LUTs."""
    if block:
        return Resources(bram36=bram36_of(words, width))
    return Resources(lut=lut_ram_luts(words, width))


def counter_bits(n: int) -> int:
    """Bits of a counter of n values."""
    return (n - 1).bit_length()
