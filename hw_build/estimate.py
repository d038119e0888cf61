"""Estimated LUTs, registers and block RAMs of each block, before any synthesis.

Formulas count what `rtl/` instantiates; their coefficients were fitted to Yosys' `synth_xilinx`
for xc7. Every figure from here is of the kind "estimated".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from .graph import MatVec, TensorInfo, Threshold


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


def rom_luts(words: int, width: int) -> float:
    """LUTs of a ROM in logic: few distinct columns exist when it is shallow."""
    if words <= 1:
        return 0.0
    columns = min(width, 2.0 ** min(words, 60))
    return columns * max(0.5 if words <= 8 else 1.0, words / 64)


def bram36_of(words: int, width: int) -> float:
    """36-kbit block RAMs of a ROM with one read port: the best of its legal shapes."""
    shapes = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
    best = min(ceil(words / depth) * ceil(width / bits) for depth, bits in shapes)
    halves = min(
        ceil(words / depth) * ceil(width / bits)
        for depth, bits in ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
    )
    return min(best, halves / 2)


def lut_per_mac(kind: str, weight_bits: int, act_bits: int) -> float:
    """LUTs of one weight times one activation, summed into its PE."""
    if kind == "binary":
        return 1.4 * act_bits
    if kind == "ternary":
        return 2.0 * act_bits
    if kind == "quinary":
        return 2.1 * (act_bits + 1)
    return 1.5 * weight_bits * act_bits


def mvu_resources(
    matvec: MatVec, threshold: Threshold | None, source: TensorInfo, pe: int, simd: int
) -> Resources:
    """One matrix-vector unit: arithmetic, weight memory, replay buffer, thresholds, control."""
    rows, columns = matvec.weights.shape
    fold_in, fold_out = ceil(columns / simd), ceil(rows / pe)
    words, bits, act = fold_in * fold_out, matvec.weight_bits, source.type
    info = matvec.infer(source)
    sum_bits = info.type.bits + 1
    n_levels = threshold.thresholds.shape[1] if threshold is not None else 0
    level_bits = n_levels.bit_length()
    width = pe * simd * bits

    lut = pe * simd * lut_per_mac(matvec.weight_kind, bits, act.bits)
    lut += pe * sum_bits * (1.5 if fold_in > 1 else 0.5)
    ff = width + simd * act.bits + pe * sum_bits * (1 if fold_in > 1 else 0)
    bram = 0.0
    if weights_in_block_memory(words):
        bram = bram36_of(words, width)
        ff -= width
    else:
        lut += rom_luts(words, width)
    lut += rom_luts(fold_out, pe * sum_bits)
    if fold_out > 1:
        depth = 2 ** ceil(log2(2 * fold_in)) if fold_in > 1 else 2
        lut += simd * act.bits * (4 / 6 if depth <= 32 else 4 / 3 * ceil(depth / 64)) + 25
        ff += 4 * ceil(log2(depth) + 1)
    else:
        lut += simd * act.bits * 4 / 6 + 4
    lut += 15 + 3 * ceil(log2(words + 1))
    ff += 10 + 2 * ceil(log2(words + 1))
    for stage in range(max(0, level_bits - 1)):
        lut += pe * sum_bits * (0.6 + 2**stage * 0.3) + rom_luts(fold_out, pe * sum_bits * 2**stage)
        ff += pe * (sum_bits + level_bits)
    ff += pe * (1 if level_bits == 1 else sum_bits)
    return Resources(lut=lut, ff=ff, bram36=bram)
