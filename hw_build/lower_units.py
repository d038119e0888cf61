"""Blocks that compute: matrix-vector and depthwise units, arg max and top k."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .blocks import Block, Stream
from .folding import Folding
from .graph import ArgMax, Depthwise, IntType, MatVec, TensorInfo, Threshold, TopK
from .int_type import WeightType
from .mvu_memory import MvuMemory, act_kind, depthwise_memory, mvu_memory
from .resources import weights_in_block_memory


def matvec_block(
    layer: MatVec, threshold: Threshold | None, x: TensorInfo, fold: Folding, stream: Stream
) -> Block:
    """The unit of a MatVec and the Threshold fused into it."""
    memory = mvu_memory(layer.name, layer, threshold, x, fold.pe, fold.simd)
    rows, columns = layer.weights.shape
    folds = (-(-columns // fold.simd), -(-rows // fold.pe))
    sink = _unit_sink(layer.name, threshold, memory, rows, fold.pe, stream)
    parameters = {
        "FOLD_IN": folds[0],
        "FOLD_OUT": folds[1],
        "SIMD": fold.simd,
        "PE": fold.pe,
        **_unit_parameters(
            layer.name,
            threshold,
            memory,
            x.type,
            sink,
            fold,
            writable=is_writable(layer, threshold),
        ),
    }
    cycles = stream.vectors * folds[0] * folds[1]
    return Block("mvu", layer.name, (stream,), (sink,), parameters, cycles, memory.memories)


def depthwise_block(
    layer: Depthwise | None,
    threshold: Threshold | None,
    x: TensorInfo,
    fold: Folding,
    stream: Stream,
) -> Block:
    """The unit of a Depthwise and the Threshold fused into it, or of a Threshold alone."""
    if layer is None:
        assert threshold is not None
        layer = alone(threshold, x.n_channels)
    memory = depthwise_memory(layer.name, layer, threshold, x, fold.pe)
    rows, n_positions = layer.weights.shape
    folds = (n_positions, rows // fold.pe)
    sink = _unit_sink(layer.name, threshold, memory, rows, fold.pe, stream)
    parameters = {
        "DEPTHWISE": 1,
        "MULTIPLIER": fold.pe // stream.lanes,
        "FOLD_IN": folds[0],
        "FOLD_OUT": folds[1],
        "SIMD": 1,
        "PE": fold.pe,
        **_unit_parameters(
            layer.name,
            threshold,
            memory,
            x.type,
            sink,
            fold,
            writable=is_writable(layer, threshold),
        ),
    }
    cycles = stream.vectors * folds[0] * folds[1]
    return Block("mvu", layer.name, (stream,), (sink,), parameters, cycles, memory.memories)


def is_writable(layer: MatVec | Depthwise, threshold: Threshold | None) -> bool:
    """Whether the host may replace the weights or the thresholds of a unit."""
    return layer.writable is not None or (threshold is not None and threshold.writable)


def alone(threshold: Threshold, n_channels: int) -> Depthwise:
    """What the unit of a Threshold alone multiplies with: one."""
    ones = np.ones((n_channels, 1), np.int64)
    writable = WeightType.of(ones) if threshold.writable else None
    return Depthwise(threshold.name, threshold.source, ones, writable)


def _unit_sink(
    name: str, threshold: Threshold | None, memory: MvuMemory, rows: int, pe: int, x: Stream
) -> Stream:
    kind = IntType(memory.sum_bits, signed=True) if threshold is None else threshold.type
    made = name if threshold is None else threshold.name
    return Stream(made, rows, kind, pe, made, x.vectors)


def _unit_parameters(
    name: str,
    threshold: Threshold | None,
    memory: MvuMemory,
    act: IntType,
    sink: Stream,
    fold: Folding,
    *,
    writable: bool,
) -> dict[str, int | str]:
    plain = threshold is None or threshold.type.bipolar
    weights = memory.memories[-1]
    n_words = len(weights.words)
    if not writable and len(set(weights.words)) == 1:
        n_words = 1  # a constant is no memory
    return {
        "WEIGHT_KIND": memory.weight_kind,
        "WEIGHT_BITS": memory.weight_bits,
        "ACT_KIND": act_kind(act),
        "ACT_BITS": act.bits,
        "SHIFT": memory.shift,
        "SUM_BITS": memory.sum_bits,
        "LEVEL_BITS": memory.level_bits,
        "OUT_BITS": sink.type.bits,
        "OUT_BASE": 0 if plain else threshold.base,
        "BLOCK_MEMORY": int(
            weights_in_block_memory(n_words, weights.width, fold.memory, writable=writable)
        ),
        "WRITABLE": int(writable),
        "WEIGHT_FILE": f"{name}_weight.mem",
        "START_FILE": f"{name}_start.mem",
        "THRESHOLD_FILE": f"{name}_threshold",
    }


def arg_max_block(layer: ArgMax, info: TensorInfo, stream: Stream) -> Block:
    """One index for every vector of scores."""
    sink = replace(stream, name=layer.name, n=1, type=info.type, lanes=1, layer=layer.name)
    parameters: dict[str, int | str] = {
        "N": stream.n,
        "LANES": stream.lanes,
        "SCORE_BITS": stream.type.bits,
        "SCORE_SIGNED": int(stream.type.signed and not stream.type.bipolar),
        "INDEX_BITS": sink.type.bits,
    }
    return Block("arg_max", layer.name, (stream,), (sink,), parameters, stream.beats)


def top_k_block(layer: TopK, info: TensorInfo, stream: Stream) -> Block:
    """`k` indices, a beat each, for every vector of scores."""
    sink = replace(stream, name=layer.name, n=layer.k, type=info.type, lanes=1, layer=layer.name)
    parameters: dict[str, int | str] = {
        "N": stream.n,
        "K": layer.k,
        "SCORE_BITS": stream.type.bits,
        "SCORE_SIGNED": int(stream.type.signed and not stream.type.bipolar),
        "INDEX_BITS": sink.type.bits,
    }
    return Block("top_k", layer.name, (stream,), (sink,), parameters, stream.beats)
