"""From the integer graph and a folding to the chain of RTL blocks."""

from __future__ import annotations

from deploy.errors import UserError

from .blocks import Block, Stream
from .estimate import weights_in_block_memory
from .folding import Folding, converter_cycles, converter_lanes, port_lanes
from .graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold
from .mvu_memory import act_kind, mvu_memory


def lower(graph: Graph, folding: dict[str, Folding], port_bits: int = 64) -> tuple[Block, ...]:
    """Blocks in stream order, from the host's input port to its output port.

    A Threshold is fused into the matrix-vector unit before it. Between two blocks of different
    widths stand the two halves of a converter. The last stream has the lanes of the output port.

    Raises:
        UserError: the graph is no chain of matrix-vector layers, each with at most one Threshold.
    """
    infos = graph.infer()
    thresholds = {layer.source: layer for layer in graph if isinstance(layer, Threshold)}
    blocks: list[Block] = []
    stream = Stream("s_axis", 0, BIPOLAR, 1)
    for layer in graph:
        if isinstance(layer, Input):
            (n,) = layer.shape
            lanes = port_lanes(n, layer.type.bits, port_bits)
            stream = Stream("s_axis", n, layer.type, lanes, layer.name)
        elif isinstance(layer, MatVec):
            _require_source(layer, stream, infos[layer.source].type)
            fold = folding[layer.name]
            stream = _convert(blocks, stream, fold.simd)
            threshold = thresholds.get(layer.name)
            block = _mvu(layer, threshold, infos[layer.source], fold, stream)
            blocks.append(block)
            stream = block.sink
        elif isinstance(layer, ArgMax):
            _require_source(layer, stream)
            stream = _convert(blocks, stream, 1)
            sink = Stream(layer.name, 1, infos[layer.name].type, 1, layer.name)
            parameters: dict[str, int | str] = {
                "N": stream.n,
                "LANES": stream.lanes,
                "SCORE_BITS": stream.type.bits,
                "SCORE_SIGNED": int(stream.type.signed and not stream.type.bipolar),
                "INDEX_BITS": sink.type.bits,
            }
            blocks.append(Block("arg_max", layer.name, stream, sink, parameters, stream.beats))
            stream = sink
    _convert(blocks, stream, port_lanes(stream.n, stream.type.bits, port_bits))
    return tuple(blocks)


def _require_source(layer: MatVec | ArgMax, stream: Stream, kind: IntType | None = None) -> None:
    """UserError unless `stream` carries the integers that `layer` takes, in the type it expects."""
    if stream.layer != layer.source or kind not in (None, stream.type):
        raise UserError(
            "the RTL has no form for this chain of layers",
            where=f"layer {layer.name}",
            found=f"it takes {layer.source}" + (f" as {kind}" if kind else ""),
            expected=f"{stream.layer} as {stream.type}: layers one after another, each "
            "matrix-vector layer with at most one Threshold behind it, and one before the next",
        )


def _mvu(
    matvec: MatVec, threshold: Threshold | None, source, fold: Folding, stream: Stream
) -> Block:
    memory = mvu_memory(matvec.name, matvec, threshold, source, fold.pe, fold.simd)
    rows, columns = matvec.weights.shape
    fold_in, fold_out = -(-columns // fold.simd), -(-rows // fold.pe)
    if threshold is None:
        out_type, out_base, layer = IntType(memory.sum_bits, signed=True), 0, matvec.name
    else:
        out_type, layer = threshold.type, threshold.name
        out_base = 0 if out_type.bipolar else threshold.base
    parameters: dict[str, int | str] = {
        "FOLD_IN": fold_in,
        "FOLD_OUT": fold_out,
        "SIMD": fold.simd,
        "PE": fold.pe,
        "WEIGHT_KIND": memory.weight_kind,
        "WEIGHT_BITS": memory.weight_bits,
        "ACT_KIND": act_kind(source.type),
        "ACT_BITS": source.type.bits,
        "SHIFT": memory.shift,
        "SUM_BITS": memory.sum_bits,
        "LEVEL_BITS": memory.level_bits,
        "OUT_BITS": out_type.bits,
        "OUT_BASE": out_base,
        "BLOCK_MEMORY": int(weights_in_block_memory(fold_in * fold_out)),
        "WEIGHT_FILE": f"{matvec.name}_weight.mem",
        "START_FILE": f"{matvec.name}_start.mem",
        "THRESHOLD_FILE": f"{matvec.name}_threshold",
    }
    sink = Stream(layer, rows, out_type, fold.pe, layer)
    return Block("mvu", matvec.name, stream, sink, parameters, fold_in * fold_out, memory.memories)


def _convert(blocks: list[Block], source: Stream, lanes: int) -> Stream:
    """Appends what turns `source` into a stream of `lanes` lanes, and returns that stream."""
    if source.lanes == lanes:
        return source
    middle = converter_lanes(source.lanes, lanes)
    if middle < source.lanes:
        sink = Stream(f"{source.name}_split", source.n, source.type, middle)
        parameters: dict[str, int | str] = {
            "LANE_BITS": source.type.bits,
            "LANES": middle,
            "RATIO": source.lanes // middle,
            "VECTOR": sink.beats,
        }
        blocks.append(Block("lane_splitter", sink.name, source, sink, parameters, sink.beats))
        source = sink
    if middle < lanes:
        name = source.name.removesuffix("_split") + "_join"
        sink = Stream(name, source.n, source.type, lanes)
        parameters = {
            "LANE_BITS": source.type.bits,
            "LANES": middle,
            "RATIO": lanes // middle,
            "VECTOR": source.beats,
        }
        cycles = converter_cycles(source.n, middle, lanes)
        blocks.append(Block("lane_joiner", name, source, sink, parameters, cycles))
        source = sink
    return source
