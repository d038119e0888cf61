"""Estimated LUTs, registers and block RAMs of each block, before any synthesis.

Formulas count what `rtl/` instantiates, by the counting rules of `netlist`; the few coefficients
are fitted to Yosys, and `ERROR` says how far off they are. Every figure from here is of the kind
"estimated".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from weakref import WeakKeyDictionary

import numpy as np

from .blocks import Block, Memory
from .dot_product_cells import dot_product_cells
from .estimate_streams import stream_block_resources
from .folding import Folding, weight_memory
from .graph import Depthwise, IntType, MatVec, TensorInfo, Threshold
from .lower_units import alone, is_writable
from .lut_rom import MOST_UNROLLED
from .mvu_memory import WEIGHT_KINDS, act_kind, coded_sums, weight_planes, zero_of
from .resources import (
    Resources,
    block_memory,
    counter_bits,
    lanes_ram_luts,
    lut_ram_luts,
    rom_columns,
    rom_luts,
    weights_in_block_memory,
)

ERROR: dict[str, int | float | str] = {
    "layers": 204,
    "lut_median": 0.037,
    "lut_worst": 0.20,
    "bram36_wrong": 0,
    "command": "python -m benchmarks.estimate_error --seed 6 --layers 204",
}
"""Over random layers that no formula was fitted to, as `command` prints it: shares of what Yosys
makes of a layer of 30 LUTs or more, and in how many layers block RAM is estimated wrong."""


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
    start_bits: int  # of start values, and of thresholds, that differ: see different_bits
    threshold_bits: int
    depthwise: int = 0
    multiplier: int = 1
    block_memory: int = 0
    writable: int = 0
    ones: tuple[float, ...] = ()  # of weights that are constants: shares of ones by plane

    @property
    def words(self) -> int:
        return self.fold_in * self.fold_out

    @property
    def lanes(self) -> int:
        """Activations of an input beat."""
        return self.pe // self.multiplier if self.depthwise else self.simd


def _unit(u: _Unit) -> Resources:
    """Arithmetic, weight memory, input buffer, start values, thresholds, control."""
    dot = dot_product_cells(
        *(u.weight_kind, u.weight_bits, u.act_kind, u.act_bits, u.simd, u.shift, u.sum_bits),
        *(u.pe, u.words, u.ones),
    )
    weights, starts = u.pe * u.simd * u.weight_bits, u.pe * u.sum_bits
    one_product = u.depthwise and u.weight_kind <= 2
    one_start = u.fold_in == u.fold_out == 1
    if one_product:
        lut = u.pe * u.sum_bits * (0.5 if one_start else 1.0)
    else:
        lut = u.pe * (dot.constant_adder_lut if one_start else dot.adder_lut)
    if not (one_product and u.ones):
        lut += u.pe * dot.lut + dot.counters_lut
    elif u.act_kind == 1:  # a product by a constant is wiring, but for its sign
        lut += u.pe
    ff = u.pe * dot.held_bits + u.lanes * u.act_bits
    bram = 0.0
    if u.ones:
        pass
    elif u.block_memory:
        memory = block_memory(u.words, weights, written=bool(u.writable))
        lut, ff, bram = lut + memory.lut, ff + memory.ff, memory.bram36
    elif u.writable:
        lut += lut_ram_luts(u.words, weights)
        ff += weights if u.words > 1 else 0
    else:
        lut += rom_luts(u.words, weights)
        ff += rom_columns(u.words, weights)
    if u.writable:
        lut += lut_ram_luts(u.fold_out, starts)
        word = max(weights, starts)
        ff += word if word <= 32 else 32 * ceil(word / 32)  # that the host shifts in
    else:
        lut += _starts_lut(u)
    if u.fold_in > 1:
        ff += starts
    beat, group = counter_bits(u.fold_in), counter_bits(u.fold_out)
    address = 0 if u.ones else counter_bits(u.words)
    if u.fold_out > 1 and not u.depthwise:
        depth = 1 << counter_bits(2 * u.fold_in)
        pointers = 3 * (counter_bits(depth) + 1) + beat + group
    else:
        depth, pointers = 2, 4
    lut += lut_ram_luts(depth, u.lanes * u.act_bits)
    lut += CONTROL_LUT + POINTER_LUT * pointers + COUNTER_LUT * (beat + group + address)
    # first, last and valid of two stages, and the group, go along with the data
    ff += CONTROL_FF + pointers + beat + address + 3 * group
    if u.fold_in == 1:  # every beat is the first and the last
        ff -= 4
    if u.level_bits == 0:
        ff += starts
    elif u.level_bits == 1:
        ff += u.pe
    else:
        ff += starts + group
        for stage in range(u.level_bits - 1):
            words = u.fold_out * (2 << stage)
            if u.writable:
                lut += lanes_ram_luts(words, u.pe, u.sum_bits) + u.pe * u.sum_bits
                ff += u.pe * (stage + 1) if stage else 0  # Yosys gives a RAM registers of its own
            else:
                lut += u.pe * _comparison(words, u.sum_bits, u.threshold_bits)
            ff += u.pe * (stage + 2) + 1
            if stage < u.level_bits - 2:
                ff += starts + group
    if u.out_base:
        lut += u.pe * (u.level_bits - 1)
    return Resources(lut=lut, ff=ff, bram36=bram)


def _starts_lut(u: _Unit) -> float:
    """LUTs of the values that accumulators start with, by group of rows."""
    starts, different = u.pe * u.sum_bits, u.pe * u.start_bits
    if u.start_bits == 0:
        return 0.0  # the same value for all rows
    if 2 < u.fold_out <= 8 and u.fold_in > 1:  # they join the choice between start and accumulator
        return JOINED_START_LUT * starts
    if 2 < u.fold_out <= 32 and u.fold_in == 1 and u.depthwise and u.weight_kind <= 2:
        return 0.0  # a bit's table has room beside the one bit that it is added to
    if u.fold_out > 64:  # the last multiplexer joins that choice
        return rom_luts(u.fold_out, different) - rom_columns(u.fold_out, different)
    # few words make few different columns, but sharing them is not always the best mapping
    return max(rom_luts(u.fold_out, different), 0.5 * different if u.fold_out > 2 else 0.0)


def _comparison(words: int, bits: int, different: int) -> float:
    """LUTs of a lane's comparison of a value with one of `words` thresholds, which it reads.

    `different` of the thresholds' bits are not alike.
    """
    address = counter_bits(words)
    inputs = bits + address
    if inputs <= 7:  # a table of its own
        return 1.0 if inputs <= 6 else 2.0
    if words <= MOST_UNROLLED:  # the thresholds' bits join the comparison
        return COMPARISON_LUT[address - 1] * bits
    return DEEP_COMPARISON_LUT * bits + rom_luts(words, different)


CONTROL_LUT, POINTER_LUT, COUNTER_LUT = 12.5, 0.5, 1.6
CONTROL_FF = 7.0
JOINED_START_LUT = 0.15
COMPARISON_LUT = (0.72, 0.72, 0.5, 1.25, 1.65)
DEEP_COMPARISON_LUT = 0.7
"""Fitted. LUTs and registers of a unit's control, LUTs for a bit of its pointers and counters; LUTs
for a bit of 3 to 8 start values; LUTs of a comparison for a bit of the value, by the address bits
of the thresholds, and with many of them."""


def mvu_resources(
    matvec: MatVec, threshold: Threshold | None, source: TensorInfo, fold: Folding
) -> Resources:
    """One matrix-vector unit at a folding; cheap to ask often."""
    facts = _facts_of(matvec, threshold, source)
    rows, columns = matvec.weights.shape
    simd, pe = fold.simd, fold.pe
    return _unit(
        _Unit(
            fold_in=ceil(columns / simd),
            fold_out=ceil(rows / pe),
            simd=simd,
            pe=pe,
            ones=facts.ones if weight_memory(matvec, fold)[0] == 1 else (),
            block_memory=_block_memory(matvec, threshold, fold),
            act_kind=act_kind(source.type),
            act_bits=source.type.bits,
            **facts.parameters,
        )
    )


def depthwise_resources(
    layer: Depthwise | None, threshold: Threshold | None, source: TensorInfo, fold: Folding
) -> Resources:
    """One depthwise unit of PE rows a beat, or that of a Threshold alone (`layer` None)."""
    if layer is None:
        assert threshold is not None
        layer = _ALONE.setdefault(threshold, alone(threshold, source.n_channels))
    facts = _facts_of(layer, threshold, source)
    rows, n_positions = layer.weights.shape
    per_channel = rows // layer.n_channels(source)
    pe = fold.pe
    return _unit(
        _Unit(
            fold_in=n_positions,
            fold_out=rows // pe,
            block_memory=_block_memory(layer, threshold, fold),
            simd=1,
            pe=pe,
            act_kind=act_kind(source.type),
            act_bits=source.type.bits,
            depthwise=1,
            multiplier=per_channel,
            ones=facts.ones if weight_memory(layer, fold)[0] == 1 else (),
            **facts.parameters,
        )
    )


def sum_type(layer: MatVec | Depthwise, source: TensorInfo) -> IntType:
    """What a unit without thresholds puts out; that of a folding with padding may be wider."""
    return IntType(_facts_of(layer, None, source).parameters["sum_bits"], signed=True)


def _block_memory(layer: MatVec | Depthwise, threshold: Threshold | None, fold: Folding) -> int:
    writable = is_writable(layer, threshold)
    memory = weight_memory(layer, fold)
    return int(weights_in_block_memory(*memory, fold.memory, writable=writable))


def _facts_of(layer: MatVec | Depthwise, threshold: Threshold | None, source: TensorInfo) -> _Facts:
    facts = _FACTS.get(layer)
    if facts is None or facts.threshold is not threshold or facts.source is not source:
        facts = _FACTS[layer] = _Facts(layer, threshold, source)
    return facts


class _Facts:
    """What the weights decide, whatever the folding."""

    def __init__(
        self, layer: MatVec | Depthwise, threshold: Threshold | None, source: TensorInfo
    ) -> None:
        self.threshold, self.source = threshold, source
        planes = weight_planes(layer.weights, layer.weight_kind, layer.weight_bits)
        self.ones = tuple(float(share) for share in planes.mean(axis=(0, 2)))
        y_at_zero = zero_of(source.type) * layer.weights.sum(axis=1, dtype=np.int64)
        sums = coded_sums(layer, planes, threshold, source.type, y_at_zero, layer.infer(source))
        self.parameters = {
            "weight_kind": WEIGHT_KINDS[layer.weight_kind],
            "weight_bits": layer.weight_bits,
            "shift": int(threshold is None and source.type.bipolar),
            "sum_bits": sums.bits,
            "level_bits": sums.level_bits,
            "out_base": 0 if threshold is None or threshold.type.bipolar else threshold.base,
            "writable": int(is_writable(layer, threshold)),
            "start_bits": different_bits(sums.starts, sums.bits),
            "threshold_bits": different_bits(sums.relative, sums.bits),
        }


def different_bits(integers: np.ndarray, bits: int) -> int:
    """How many different columns the integers' bits make, in two's complement, constants aside.

    Only these cost in a deep ROM: the highest bits of small integers are alike.
    """
    planes = (integers.reshape(-1, 1) >> np.arange(bits)) & 1
    columns = np.unique(planes, axis=1) if planes.size else planes
    return int((columns != columns[:1]).any(axis=0).sum())


_FACTS: WeakKeyDictionary[MatVec | Depthwise, _Facts] = WeakKeyDictionary()
_ALONE: WeakKeyDictionary[Threshold, Depthwise] = WeakKeyDictionary()


def block_resources(block: Block) -> Resources:
    """One block of any module, from its parameters."""
    numbers = {name.lower(): v for name, v in block.parameters.items() if isinstance(v, int)}
    if block.module != "mvu":
        return stream_block_resources(block.module, numbers)
    given = {name: v for name, v in numbers.items() if name in _Unit.__dataclass_fields__}
    *thresholds, starts, _ = block.memories
    bits = {
        "start_bits": _different_bits_of([starts], numbers["sum_bits"]),
        "threshold_bits": _different_bits_of(thresholds, numbers["sum_bits"]),
    }
    return _unit(_Unit(**given, **bits, ones=_ones_of_constants(block)))


def _different_bits_of(memories: list[Memory], bits: int) -> int:
    words = [
        word >> shift for m in memories for word in m.words for shift in range(0, m.width, bits)
    ]
    return different_bits(np.array([word & ((1 << bits) - 1) for word in words], np.int64), bits)


def _ones_of_constants(block: Block) -> tuple[float, ...]:
    """The share of ones in each plane of weights whose words are all alike, else nothing."""
    (weights,) = (m for m in block.memories if m.file == block.parameters["WEIGHT_FILE"])
    if len(set(weights.words)) > 1 or block.parameters["WRITABLE"]:
        return ()
    bits = np.array([weights.words[0] >> i & 1 for i in range(weights.width)])
    planes = bits.reshape(-1, int(block.parameters["WEIGHT_BITS"]), int(block.parameters["SIMD"]))
    return tuple(float(share) for share in planes.mean(axis=(0, 2)))
