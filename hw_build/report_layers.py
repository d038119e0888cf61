"""The report's table of the network: a row per layer that computes, with what is fused into it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np

from .blocks import Block
from .folding import fused_thresholds
from .graph import (
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    TensorInfo,
    Threshold,
    TopK,
    Upsample,
    Window,
)
from .report_rows import resources_of
from .report_stages import Json, StageResults

MOST_BINS = 33
"""Bars of a histogram at most; fewer values have a bar each."""


def layer_rows(graph: Graph, blocks: tuple[Block, ...], results: StageResults) -> list[Json]:
    """A row per layer in the graph's order.

    Pads and windows are told with the layer that reads them, a fused Threshold with its sums.
    Shapes are of a frame: [H, W, C] or [C]. Keys that a layer has no figure for are null.
    """
    infos, fused = graph.infer(), fused_thresholds(graph)
    by_name = {block.name: block for block in blocks}
    told = (Input, Pad, Window, Flatten)
    return [
        _row(layer, graph, infos, fused.get(layer.name), by_name[layer.name], results)
        for layer in graph
        if not isinstance(layer, told) and layer not in fused.values()
    ]


def _row(
    layer: Layer,
    graph: Graph,
    infos: dict[str, TensorInfo],
    fused: Threshold | None,
    block: Block,
    results: StageResults,
) -> Json:
    threshold = layer if isinstance(layer, Threshold) else fused
    ends_in = fused.name if fused is not None else layer.name
    is_unit = isinstance(layer, MatVec | Depthwise)
    first, window, pad = _under(layer, graph)
    fold = results.folding.get(layer.name) or {"pe": None, "simd": None}
    bits = {memory.file: memory.width * len(memory.words) for memory in block.memories}
    weight_bits = bits.get(str(block.parameters.get("WEIGHT_FILE")), 0)
    shape = infos[ends_in].shape
    return {
        "name": layer.name,
        "operator": _operator(layer, window),
        "shape": list(layer.weights.shape) if is_unit else None,  # [outputs, inputs]
        "input_shapes": [list(infos[name].shape) for name in first],
        "output_shape": list(shape),
        "kernel": list(window.kernel) if window else None,
        "stride": list(window.stride) if window else None,
        "dilation": list(window.dilation) if window else None,
        "padding": [pad.top, pad.left, pad.bottom, pad.right] if pad else None,
        "n_vectors": prod(shape[:-1]),
        "macs": prod(shape[:-1]) * int(layer.weights.size) if is_unit else 0,
        "weight_kind": layer.weight_kind if is_unit else None,
        "weight_bits": layer.weight_bits if is_unit else None,
        "input_type": str(infos[layer.sources[0]].type),
        "accumulator_type": str(infos[layer.name].type) if is_unit else None,
        "output_type": str(infos[ends_in].type),
        "pe": fold["pe"],
        "simd": fold["simd"],
        "cycles": block.cycles,
        "n_thresholds": int(threshold.thresholds.size) if threshold is not None else 0,
        "weight_memory_bits": weight_bits,
        "threshold_memory_bits": sum(bits.values()) - weight_bits,
        "memory_bits": sum(bits.values()),
        "constant_channels": results.golden["constant_channels"].get(ends_in),
        "weight_histogram": histogram(layer.weights) if is_unit else None,
        "threshold_histogram": _reached(threshold, infos) if threshold is not None else None,
        **resources_of(layer.name, results),
    }


def _under(layer: Layer, graph: Graph) -> tuple[tuple[str, ...], Window | None, Pad | None]:
    """What the layer reads once its window, the window's pad and flattening are looked through."""
    if len(layer.sources) > 1:
        return layer.sources, None, None
    source, window, pad = graph[layer.sources[0]], None, None
    if isinstance(source, Flatten):
        source = graph[source.source]
    if isinstance(source, Window):
        window, source = source, graph[source.source]
    if isinstance(source, Pad):
        pad, source = source, graph[source.source]
    return (source.name,), window, pad


def _operator(layer: Layer, window: Window | None) -> str:
    match layer:
        case MatVec():
            return "convolution" if window else "matrix-vector"
        case Depthwise():
            # weights of one value sum a window: an average pool
            is_sum = window is not None and int(np.ptp(layer.weights)) == 0
            return "sum pool" if is_sum else "depthwise"
        case Threshold():
            return "thresholds"
        case MaxPool():
            return "max pool"
        case Add():
            return "add"
        case Concat():
            return "concat"
        case Upsample():
            return "upsample"
        case ArgMax():
            return "arg max"
        case TopK():
            return f"top {layer.k}"
        case _:
            return type(layer).__name__.lower()


def _reached(threshold: Threshold, infos: dict[str, TensorInfo]) -> Json:
    """Histogram of the thresholds that some sum may reach and another may not.

    `never` and `always` count the others: above the proven range of their channel, or at or below
    its low end.
    """
    info, values = infos[threshold.source], threshold.thresholds
    never, always = values > info.hi[:, None], values <= info.lo[:, None]
    return {
        **histogram(values[~(never | always)]),
        "never": int(never.sum()),
        "always": int(always.sum()),
    }


def histogram(values: np.ndarray) -> Json:
    """Counts of integers in at most `MOST_BINS` bins of equal width.

    Bin i holds the integers from `first` + i * `step` up to, not including, the next bin's.
    """
    if not values.size:
        return {"first": 0, "step": 1, "counts": []}
    low, high = int(values.min()), int(values.max())
    step = -(-(high - low + 1) // MOST_BINS)
    bins = (values.ravel() - low) // step
    counts: Iterable[int] = np.bincount(bins, minlength=(high - low) // step + 1)
    return {"first": low, "step": step, "counts": [int(count) for count in counts]}
