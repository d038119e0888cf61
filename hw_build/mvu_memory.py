"""What a matrix-vector unit's memories hold: coded weights, start values, thresholds.

`rtl/mvu.sv` adds up products of coded bits. With P the sum it forms and y the integer that the
graph defines, y = factor * P + constant, the constant depending on the row alone (factor is 2 for
bipolar inputs, otherwise 1). All constants meet in the value that an accumulator starts with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .blocks import Memory
from .graph import Depthwise, IntType, MatVec, TensorInfo, Threshold

WEIGHT_KINDS = {"binary": 0, "ternary": 1, "quinary": 2, "int": 3}


def act_kind(act: IntType) -> int:
    """The RTL's number for an input type: 0 unsigned, 1 two's complement, 2 bipolar."""
    return 2 if act.bipolar else int(act.signed)


def weight_planes(weights: np.ndarray, kind: str, bits: int) -> np.ndarray:
    """Weights (rows, columns) coded as the RTL reads them: uint8 bits (rows, bits, columns)."""
    w = weights
    if kind == "binary":
        planes = [w > 0]
    elif kind == "ternary":
        planes = [w != 0, w < 0]
    elif kind == "quinary":
        planes = [abs(w) == 1, abs(w) == 2, w < 0]
    else:
        planes = [(w >> k) & 1 for k in range(bits)]
    return np.stack(planes, axis=1).astype(np.uint8)


def sum_at_zero(planes: np.ndarray, kind: str, act: IntType) -> np.ndarray:
    """P of each row when every activation bit is zero: int64 (rows,). Mirrors the RTL's coding."""
    ones = planes.sum(axis=2, dtype=np.int64)  # (rows, planes)
    lanes, bits, signed = planes.shape[2], act.bits, act.signed and not act.bipolar
    below_top = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
    top = 1 << (bits - 1) if signed else 0
    if kind == "binary":
        return below_top * (lanes - ones[:, 0]) + top * ones[:, 0]
    if kind == "ternary":
        return below_top * ones[:, 1] + top * (ones[:, 0] - ones[:, 1])
    if kind == "quinary" and act.bipolar:
        ones_negative = (planes[:, 0] & planes[:, 2]).sum(axis=1, dtype=np.int64)
        twos_negative = (planes[:, 1] & planes[:, 2]).sum(axis=1, dtype=np.int64)
        return ones_negative + 2 * twos_negative
    if kind == "quinary":
        negative = ones[:, 2]
        if signed:
            return ((1 << bits) - 1) * negative + (1 << bits) * (lanes - negative)
        return ((2 << bits) - 1) * negative
    inverted = 0
    for k in range(planes.shape[1]):
        for j in range(bits):
            if (k == planes.shape[1] - 1) != (signed and j == bits - 1):
                inverted += lanes << (k + j)
    return np.full(len(planes), inverted, np.int64)


@dataclass(frozen=True, eq=False)
class MvuMemory:
    """Memories of one unit, and the parameters that follow from their content."""

    weight_kind: int
    weight_bits: int
    shift: int
    sum_bits: int
    level_bits: int
    memories: tuple[Memory, ...]


def mvu_memory(
    name: str,
    matvec: MatVec,
    threshold: Threshold | None,
    source: TensorInfo,
    pe: int,
    simd: int,
) -> MvuMemory:
    """Codes weights, start values and thresholds for a folding of `pe` rows and `simd` columns.

    Rows and columns are padded to whole folds. Padding columns see zero bits; padding rows put
    out zero bits, whatever the type, so that they are zero lanes for whoever reads them. (Not so
    the scores of binary weights, which know no zero; nobody reads those.)
    """
    columns = matvec.weights.shape[1]
    weights = _padded(matvec, pe, simd)
    y_at_zero = zero_of(source.type) * weights[:, :columns].sum(axis=1)
    info = replace(matvec, weights=weights[:, :columns]).infer(source)  # of padding rows too
    return _memory(name, matvec, weights, threshold, source.type, y_at_zero, info, pe, simd)


def depthwise_memory(
    name: str,
    depthwise: Depthwise,
    threshold: Threshold | None,
    source: TensorInfo,
    pe: int,
) -> MvuMemory:
    """The same for a unit with `DEPTHWISE` = 1: `pe` rows, each with a lane of its own.

    `pe` is a multiple of the outputs per channel. Padding rows see zero bits, since theirs are
    padding channels, and put out zero bits, whatever the type and the weights.
    """
    weights = _padded(depthwise, pe, 1)
    info = depthwise.infer(source)
    n_padding = len(weights) - info.n_channels
    y_at_zero = zero_of(source.type) * weights.sum(axis=1)
    y_at_zero[info.n_channels :] = 0
    lo, hi = (np.pad(bound, (0, n_padding)) for bound in (info.lo, info.hi))
    padded = TensorInfo((len(weights),), info.type, lo, hi)
    return _memory(name, depthwise, weights, threshold, source.type, y_at_zero, padded, pe, 1)


def zero_of(act: IntType) -> int:
    """The integer whose bits are all zero."""
    return -1 if act.bipolar else 0


def _padded(layer: MatVec | Depthwise, pe: int, simd: int) -> np.ndarray:
    """Weights with rows and columns up to whole folds."""
    rows, columns = layer.weights.shape
    pad_weight = 1 if layer.weight_kind == "binary" else 0  # +1 on zero bits adds nothing
    weights = np.full((-(-rows // pe) * pe, -(-columns // simd) * simd), pad_weight, np.int64)
    weights[:rows, :columns] = layer.weights
    return weights


def _memory(
    name: str,
    layer: MatVec | Depthwise,
    weights: np.ndarray,
    threshold: Threshold | None,
    act: IntType,
    y_at_zero: np.ndarray,
    info: TensorInfo,
    pe: int,
    simd: int,
) -> MvuMemory:
    """Memories of padded `weights` (rows, columns); `y_at_zero` and `info` are of every row."""
    kind, bits = layer.weight_kind, layer.weight_bits
    planes = weight_planes(weights, kind, bits)
    sums = coded_sums(layer, planes, threshold, act, y_at_zero, info)
    memories = []
    for stage in range(sums.level_bits - 1):
        # prefix r of `stage + 1` bits asks for the threshold in the middle of what it leaves
        step = 1 << (sums.level_bits - 2 - stage)
        picked = sums.relative[:, step - 1 :: 2 * step]
        memories.append(
            Memory(
                f"{name}_threshold{stage}.mem",
                pe * sums.bits,
                words_of(group_major(picked, pe).reshape(-1, pe), sums.bits),
            )
        )
    starts = words_of(sums.starts.reshape(-1, pe), sums.bits)
    memories.append(Memory(f"{name}_start.mem", pe * sums.bits, starts))
    n_groups, n_beats = len(weights) // pe, weights.shape[1] // simd
    coded = planes.reshape(n_groups, pe, bits, n_beats, simd)
    coded = coded.transpose(0, 3, 1, 2, 4).reshape(n_groups * n_beats, -1)
    memories.append(Memory(f"{name}_weight.mem", coded.shape[1], words_of(coded, 1)))
    shift = int(threshold is None and act.bipolar)
    return MvuMemory(WEIGHT_KINDS[kind], bits, shift, sums.bits, sums.level_bits, tuple(memories))


@dataclass(frozen=True, eq=False)
class CodedSums:
    """Accumulators of a unit: their width, what they start with, and thresholds they meet.

    `starts` is int64 (rows,). Thresholds are relative to the middle one, int64
    (rows, 2^level_bits - 1); none, (rows, 0), where sums leave as they are and `level_bits` is 0.
    """

    bits: int
    level_bits: int
    starts: np.ndarray
    relative: np.ndarray


def coded_sums(
    layer: MatVec | Depthwise,
    planes: np.ndarray,
    threshold: Threshold | None,
    act: IntType,
    y_at_zero: np.ndarray,
    info: TensorInfo,
) -> CodedSums:
    """What follows from coded weights, `planes`, of rows of which those of padding come last.

    `y_at_zero` is the sum of each row when every activation bit is zero, and `info` has its bounds.
    """
    factor = 2 if act.bipolar else 1
    constant = y_at_zero - factor * sum_at_zero(planes, layer.weight_kind, act)
    lo, hi, rows = info.lo, info.hi, len(layer.weights)
    if threshold is None:
        bits = max(2, IntType.holding(min(int(lo.min()), -1), int(hi.max())).bits)
        return CodedSums(bits, 0, constant, np.zeros((len(planes), 0), np.int64))
    # y >= t, with y = factor * P + constant, is P >= ceil((t - constant) / factor)
    n_levels = threshold.thresholds.shape[1]
    level_bits = max(1, int(n_levels).bit_length())
    never = hi + 1
    table = np.repeat(never[:, None], (1 << level_bits) - 1, axis=1)
    table[:rows, :n_levels] = np.clip(threshold.thresholds, lo[:rows, None], never[:rows, None])
    if threshold.base < 0 and not threshold.type.bipolar:  # padding rows stand at zero
        table[rows:, : -threshold.base] = lo[rows:, None]
    table = -((constant[:, None] - table) // factor)  # ceil
    p_lo, p_hi = -((constant - lo) // factor), (hi - constant) // factor
    middle = table[:, table.shape[1] // 2]
    relative = table - middle[:, None]
    extremes = np.concatenate([p_lo - middle, p_hi - middle, relative.min(1), relative.max(1)])
    if layer.writable is not None or threshold.writable:
        extremes = span_of_any(lo, hi, factor)
    bits = max(2, IntType.holding(min(int(extremes.min()), -1), int(extremes.max())).bits)
    return CodedSums(bits, level_bits, -middle, relative)


def span_of_any(lo: np.ndarray, hi: np.ndarray, factor: int) -> np.ndarray:
    """How far sums from `lo` to `hi` may lie from any threshold, and thresholds from each other."""
    span = -((lo - hi - 1) // factor)
    return np.concatenate([-span, span])


def group_major(table: np.ndarray, pe: int) -> np.ndarray:
    """(rows, K) to (groups, K * pe): for each group of `pe` rows, K runs of `pe` lanes."""
    groups = table.reshape(-1, pe, table.shape[1])
    return groups.transpose(0, 2, 1).reshape(len(groups), -1)


def words_of(lanes: np.ndarray, bits: int) -> tuple[int, ...]:
    """Rows of integers (words, lanes) to words of lanes * bits bits, lane 0 least significant."""
    unsigned = lanes.astype(np.int64) & ((1 << bits) - 1)
    as_bits = ((unsigned[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8)
    packed = np.packbits(as_bits.reshape(len(lanes), -1), axis=1, bitorder="little")
    return tuple(int.from_bytes(row.tobytes(), "little") for row in packed)
