"""Estimated LUTs, registers and block RAMs of each block, before any synthesis.

Formulas count what `rtl/` instantiates, by the counting rules of `netlist`; the few coefficients
are fitted to Yosys (`python -m benchmarks.estimate_error` prints how far off they are). Every
figure from here is of the kind "estimated".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, expm1
from weakref import WeakKeyDictionary

import numpy as np

from .blocks import Block
from .dot_product_cells import dot_product_cells
from .graph import IntType, MatVec, TensorInfo, Threshold
from .mvu_memory import WEIGHT_KINDS, act_kind


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
    """LUTs of a ROM in logic: one for each 64 words of a column, the last ones begun counted whole.

    A rest of few words has few different columns, which saves some.
    """
    whole, rest = divmod(words, 64)
    per_column = whole + (0 if rest == 0 else 0.7 if whole and rest <= 8 else 1)
    return rom_columns(words, width) * per_column


def bram36_of(words: int, width: int) -> float:
    """36-kbit block RAMs of a ROM with one read port: the best of its legal shapes."""
    shapes = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
    best = min(ceil(words / depth) * ceil(width / bits) for depth, bits in shapes)
    halves = min(
        ceil(words / depth) * ceil(width / bits)
        for depth, bits in ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
    )
    return min(best, halves / 2)


def lut_ram_luts(depth: int, width: int) -> float:
    """LUTs of a RAM in logic with one write and one read port: RAM32M, RAM64M, RAM128X1D."""
    if depth <= 32:
        return 4 * ceil(width / 6)
    if depth <= 64:
        return 4 * ceil(width / 3)
    return 4 * width * ceil(depth / 128)


@dataclass(frozen=True)
class _Unit:
    """A matrix-vector unit: the parameters of `rtl/mvu.sv` that decide on its size."""

    fold_in: int
    fold_out: int
    simd: int
    pe: int
    weight_kind: int
    weight_bits: int
    act_kind: int
    act_bits: int
    shift: int
    sum_bits: int
    level_bits: int
    out_base: int

    @property
    def words(self) -> int:
        return self.fold_in * self.fold_out


def _unit(u: _Unit) -> Resources:
    """Arithmetic, weight memory, input buffer, start values, thresholds, control."""
    dot = dot_product_cells(
        *(u.weight_kind, u.weight_bits, u.act_kind, u.act_bits, u.simd, u.shift, u.sum_bits)
    )
    weights, starts = u.pe * u.simd * u.weight_bits, u.pe * u.sum_bits
    lut = u.pe * (dot.lut + dot.adder_lut)
    ff = u.pe * dot.held_bits + u.simd * u.act_bits
    bram = 0.0
    if weights_in_block_memory(u.words):
        bram = bram36_of(u.words, weights)
    else:
        lut += rom_luts(u.words, weights)
        ff += rom_columns(u.words, weights)
    lut += rom_luts(u.fold_out, starts)
    ff += rom_columns(u.fold_out, starts)
    if u.fold_in > 1:
        ff += starts
    if u.fold_out > 1:
        lut += lut_ram_luts(_power_of_two(2 * u.fold_in), u.simd * u.act_bits)
    else:
        lut += lut_ram_luts(2, u.simd * u.act_bits)
    counters = sum((n - 1).bit_length() for n in (u.fold_in, u.fold_out, u.words, 4 * u.fold_in))
    lut += CONTROL_LUT + COUNTER_LUT * counters
    ff += CONTROL_FF + COUNTER_FF * counters
    if u.level_bits == 0:
        ff += starts
    elif u.level_bits == 1:
        ff += u.pe
    else:
        ff += starts
        for stage in range(u.level_bits - 1):
            thresholds = 2 << stage
            lut += starts * (SEARCH_LUT + SEARCH_LUT_A_WORD * (thresholds / 4))
            lut += rom_luts(u.fold_out, starts * thresholds)
            ff += u.pe * (stage + 2) + (starts if stage < u.level_bits - 2 else 0)
    if u.out_base:
        lut += u.pe * (u.level_bits - 1)
    return Resources(lut=lut, ff=ff, bram36=bram)


def _power_of_two(n: int) -> int:
    """The least power of two that is n or more."""
    return 1 << (n - 1).bit_length()


CONTROL_LUT, COUNTER_LUT = 12.0, 1.5
CONTROL_FF, COUNTER_FF = 6.0, 1.0
SEARCH_LUT, SEARCH_LUT_A_WORD = 1.0, 1.0
"""Fitted. LUTs and registers of a unit's control, a bit of its counters; LUTs of a stage of the
threshold search, a bit of the value, and a bit of the value for each four thresholds."""


def mvu_resources(
    matvec: MatVec, threshold: Threshold | None, source: TensorInfo, pe: int, simd: int
) -> Resources:
    """One matrix-vector unit at a folding of `pe` rows and `simd` columns; cheap to ask often."""
    facts = _FACTS.get(matvec)
    if facts is None or facts.threshold is not threshold or facts.source is not source:
        facts = _Facts(matvec, threshold, source)
        _FACTS[matvec] = facts
    rows, columns = matvec.weights.shape
    return _unit(
        _Unit(
            fold_in=ceil(columns / simd),
            fold_out=ceil(rows / pe),
            simd=simd,
            pe=pe,
            weight_kind=facts.weight_kind,
            weight_bits=facts.weight_bits,
            act_kind=act_kind(source.type),
            act_bits=source.type.bits,
            shift=int(threshold is None and source.type.bipolar),
            sum_bits=facts.sum_bits,
            level_bits=facts.level_bits,
            out_base=0 if threshold is None or threshold.type.bipolar else threshold.base,
        )
    )


class _Facts:
    """What the weights decide, whatever the folding."""

    def __init__(self, matvec: MatVec, threshold: Threshold | None, source: TensorInfo) -> None:
        self.threshold, self.source = threshold, source
        self.weight_kind = WEIGHT_KINDS[matvec.weight_kind]
        self.weight_bits = matvec.weight_bits
        info = matvec.infer(source)
        if threshold is None:
            self.level_bits = 0
            lowest, highest = int(info.lo.min()), int(info.hi.max())
        else:
            n_levels = threshold.thresholds.shape[1]
            self.level_bits = max(1, n_levels.bit_length())
            middle_of = np.minimum((1 << self.level_bits) // 2 - 1, n_levels - 1)
            middle = np.clip(threshold.thresholds[:, middle_of], info.lo, info.hi + 1)
            factor = 2 if source.type.bipolar else 1
            lowest = int(((info.lo - middle) // factor).min())
            highest = int(((info.hi - middle) // factor).max())
        self.sum_bits = max(2, IntType.holding(min(lowest, -1), highest).bits)


_FACTS: WeakKeyDictionary[MatVec, _Facts] = WeakKeyDictionary()


def block_resources(block: Block) -> Resources:
    """One block of any module, from its parameters."""
    numbers = {name.lower(): v for name, v in block.parameters.items() if isinstance(v, int)}
    if block.module == "mvu":
        fields = _Unit.__dataclass_fields__
        return _unit(_Unit(**{name: v for name, v in numbers.items() if name in fields}))
    return _OTHERS[block.module](numbers)


def _splitter(n: dict[str, int]) -> Resources:
    """A multiplexer of RATIO inputs for each bit: four inputs a LUT, wide multiplexers beside."""
    counters = (n["ratio"] - 1).bit_length()
    if n["vector"] % n["ratio"]:
        counters += (n["vector"] - 1).bit_length()
    width = n["lane_bits"] * n["lanes"]
    return Resources(lut=width * max(1.0, n["ratio"] / 4) + 2 + 2 * counters, ff=counters)


def _joiner(n: dict[str, int]) -> Resources:
    """Registers that shift; a vector that needs padding has its input gated."""
    counters, gates = (n["ratio"] - 1).bit_length(), 0
    if n["vector"] % n["ratio"]:
        counters += n["vector"].bit_length()
        gates = n["lane_bits"] * n["lanes"]
    width = n["lane_bits"] * n["lanes"] * n["ratio"]
    return Resources(lut=gates + 5 + 1.5 * counters, ff=width + counters + 1)


def _arg_max(n: dict[str, int]) -> Resources:
    """A comparison and two multiplexers for each lane."""
    beats = ceil(n["n"] / n["lanes"])
    counter = (beats - 1).bit_length()
    scores = n["score_bits"] + n["index_bits"]
    lut = n["lanes"] * (1.5 * n["score_bits"] + n["index_bits"]) + 2 * counter + 4
    return Resources(lut=lut, ff=scores + n["index_bits"] + counter + 1)


def _transfer_end(n: dict[str, int]) -> Resources:
    """A counter of 32 bits that is loaded, and one of the beats of a frame."""
    counter = (n["beats"] - 1).bit_length()
    return Resources(lut=49 + 2 * counter, ff=33 + max(1, counter))


_OTHERS = {
    "lane_splitter": _splitter,
    "lane_joiner": _joiner,
    "arg_max": _arg_max,
    "transfer_end": _transfer_end,
}
