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
    if u.fold_in > 1:
        ff += starts
    beat, group, address = (_bits(n) for n in (u.fold_in, u.fold_out, u.words))
    if u.fold_out > 1:
        depth = _power_of_two(2 * u.fold_in)
        pointers = 3 * (_bits(depth) + 1) + beat + group
    else:
        depth, pointers = 2, 4
    lut += lut_ram_luts(depth, u.simd * u.act_bits)
    lut += CONTROL_LUT + COUNTER_LUT * (pointers + beat + group + address)
    # first, last and valid of two stages, and the group, go along with the data
    ff += CONTROL_FF + pointers + beat + address + 3 * group
    if u.level_bits == 0:
        ff += starts
    elif u.level_bits == 1:
        ff += u.pe
    else:
        ff += starts + group
        for stage in range(u.level_bits - 1):
            # each lane reads by its own prefix; a ROM of five address bits joins the comparison
            words = u.fold_out * (2 << stage)
            rom = 0.0 if words <= 32 else rom_luts(words, u.sum_bits)
            lut += u.pe * (SEARCH_LUT * u.sum_bits + rom)
            ff += u.pe * (stage + 2) + 1
            if stage < u.level_bits - 2:
                ff += starts + group
    if u.out_base:
        lut += u.pe * (u.level_bits - 1)
    return Resources(lut=lut, ff=ff, bram36=bram)


def _bits(n: int) -> int:
    """Bits of a counter of n values."""
    return (n - 1).bit_length()


def _power_of_two(n: int) -> int:
    """The least power of two that is n or more."""
    return 1 << _bits(n)


CONTROL_LUT, COUNTER_LUT = 12.0, 1.2
CONTROL_FF = 7.0
SEARCH_LUT = 1.0
"""Fitted. LUTs and registers of a unit's control, and for a bit of its counters; LUTs of a stage of
the threshold search for a bit of the value."""


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
    """A multiplexer of RATIO inputs for each bit, four inputs a LUT."""
    counters = _bits(n["ratio"])
    if n["vector"] % n["ratio"]:
        counters += _bits(n["vector"])
    width = n["lane_bits"] * n["lanes"]
    return Resources(lut=width * max(1.0, n["ratio"] / 4) + 2 + 2 * counters, ff=counters)


def _joiner(n: dict[str, int]) -> Resources:
    """Registers that shift, and counters; padding is the registers' own reset."""
    counters, padding = _bits(n["ratio"]), 0
    if n["vector"] % n["ratio"]:
        counters += n["vector"].bit_length()
        padding = 4
    width = n["lane_bits"] * n["lanes"] * n["ratio"]
    return Resources(lut=2.5 + 1.5 * counters + padding, ff=width + counters + 1)


def _arg_max(n: dict[str, int]) -> Resources:
    """A comparison by a carry chain and two multiplexers; more of both for lanes beyond one."""
    counter = _bits(ceil(n["n"] / n["lanes"]))
    score, index = n["score_bits"], n["index_bits"]
    lut = 4.5 + 0.7 * score + 2.7 * index + (n["lanes"] - 1) * (1.5 * score + index)
    return Resources(lut=lut, ff=score + 2 * index + counter + 1)


def _transfer_end(n: dict[str, int]) -> Resources:
    """A counter of 32 bits that is loaded, and one of the beats of a frame."""
    counter = max(1, _bits(n["beats"]))
    return Resources(lut=47.5 + 1.5 * counter, ff=33 + counter)


_OTHERS = {
    "lane_splitter": _splitter,
    "lane_joiner": _joiner,
    "arg_max": _arg_max,
    "transfer_end": _transfer_end,
}
