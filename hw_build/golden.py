"""The golden model: the integer graph on whole batches in numpy, exact to the last integer.

Dot products run in floating point BLAS where that is provably exact: every partial sum is an
integer below 2**24 (float32) or 2**53 (float64) in magnitude, in whatever order it is taken.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np

from deploy.errors import UserError
from hw_build.golden_images import Kernel, image_kernel
from hw_build.graph import (
    Add,
    ArgMax,
    Depthwise,
    Graph,
    Input,
    MatVec,
    TensorInfo,
    Threshold,
    TopK,
)

CHUNK_ROWS = 512
CHUNK_VALUES = 1 << 22
"""Frames, and values of the largest layer, computed at a time: so that vectors stay in the
processor's cache, and images in memory."""

COUNTED_THRESHOLDS = 15
"""Up to so many thresholds are compared one by one, more are searched."""


def execute(
    graph: Graph, batch: np.ndarray, keep: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Every layer's integers for a batch.

    Args:
        graph: what to execute.
        batch: integers of shape (N, C) or (N, H, W, C), as the graph's Input takes them.
        keep: names of the layers to return; None for all of them.

    Returns:
        Arrays of shape (N, *layer's shape) in the narrowest integer type that holds the layer's
        proven range, by layer name.

    Raises:
        UserError: a wrong shape, a value outside the input's type, an unknown layer in `keep`,
            or sums beyond 53 bits.
    """
    infos = graph.infer()
    kept = _kept(graph, keep)
    check_input(graph.input, batch)
    kernels = _kernels(graph, infos)
    last = max(i for i, layer in enumerate(graph.layers) if layer.name in kept) if kept else 0
    results = {
        name: np.empty((len(batch), *infos[name].shape), _integer_dtype(infos[name]))
        for name in kept
    }
    largest = max(int(np.prod(info.shape)) for info in infos.values())
    n_rows = max(1, min(CHUNK_ROWS, CHUNK_VALUES // largest))
    for start in range(0, len(batch), n_rows):
        rows = slice(start, start + n_rows)
        values: dict[str, np.ndarray] = {graph.input.name: batch[rows]}
        for layer in graph.layers[: last + 1]:
            if not isinstance(layer, Input):
                sources = (values[source] for source in layer.sources)
                values[layer.name] = kernels[layer.name](*sources)
            if layer.name in kept:
                results[layer.name][rows] = values[layer.name]
    return results


def check_input(layer: Input, batch: np.ndarray) -> None:
    """UserError with the index of the first value that isn't one of the input's integers."""
    if batch.shape[1:] != layer.shape:
        expected = f"(frames, {', '.join(map(str, layer.shape))})"
        raise UserError(
            "the batch has the wrong shape",
            where=f"layer {layer.name}",
            found=str(batch.shape),
            expected=expected,
        )
    if batch.dtype.kind not in "iu":
        raise UserError(
            "the golden model takes integers",
            where=f"layer {layer.name}",
            found=f"dtype {batch.dtype}",
            expected="an integer dtype",
            fix="quantise the inputs with the network's input quantiser",
        )
    if not batch.size:
        return
    lo, hi = layer.type.lo, layer.type.hi
    wrong = batch.min() < lo or batch.max() > hi
    if wrong or (layer.type.bipolar and not batch.all()):
        bad = (batch < lo) | (batch > hi)
        if layer.type.bipolar:
            bad |= batch == 0
        frame, *index = np.argwhere(bad)[0]
        place = "channel" if len(index) == 1 else "row, column, channel"
        raise UserError(
            "an input is outside the network's input type",
            where=f"layer {layer.name}, frame {frame}, {place} {', '.join(map(str, index))}",
            found=str(batch[frame, *index]),
            expected=f"{layer.type}: " + ("-1 or +1" if layer.type.bipolar else f"{lo} to {hi}"),
        )


def _kept(graph: Graph, keep: Collection[str] | None) -> set[str]:
    names = {layer.name for layer in graph.layers}
    if keep is None:
        return names
    for name in keep:
        _ = graph[name]  # its error lists the layers
    return set(keep)


def _integer_dtype(info: TensorInfo) -> np.dtype:
    lo = min(int(info.lo.min()), info.type.lo)
    hi = max(int(info.hi.max()), info.type.hi)
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32):
        if np.iinfo(kind).min <= lo and hi <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int64)


def _kernels(graph: Graph, infos: dict[str, TensorInfo]) -> dict[str, Kernel]:
    """One function per layer, with its constants in the number type that it computes in."""
    numbers: dict[str, np.dtype] = {}  # in which each layer's values are computed and passed on
    kernels: dict[str, Kernel] = {}
    for layer in graph.layers:
        sources = [numbers[name] for name in layer.sources]
        number = max(sources, key=lambda kind: kind.itemsize, default=np.dtype(np.float32))
        if isinstance(layer, MatVec | Depthwise | Add):
            number = exact_dtype(layer.name, _largest_sum(layer, infos))
        elif isinstance(layer, Threshold):
            number = exact_dtype(layer.name, abs(layer.base) + layer.step * len(layer.thresholds.T))
        numbers[layer.name] = number
        x = [infos[name] for name in layer.sources]
        match layer:
            case Input():
                continue
            case MatVec():
                kernels[layer.name] = _product(layer, number)
            case Threshold():
                kernels[layer.name] = _staircase(layer, x[0], sources[0], number)
            case ArgMax():
                kernels[layer.name] = lambda x: x.argmax(axis=-1)[..., None]
            case TopK():
                kernels[layer.name] = partial(greatest, layer.k)
            case _:
                kernels[layer.name] = image_kernel(layer, x, number)
    return kernels


def _largest_sum(layer: MatVec | Depthwise | Add, infos: dict[str, TensorInfo]) -> int:
    """A bound on every partial sum's magnitude, in whatever order it is taken."""
    # Python integers: the proof must not itself overflow.
    magnitudes = [
        np.maximum(np.abs(infos[name].lo), np.abs(infos[name].hi)).astype(object)
        for name in layer.sources
    ]
    if isinstance(layer, Add):
        return max(
            abs(layer.multipliers[0]) * a + abs(layer.multipliers[1]) * b
            for a, b in zip(*magnitudes, strict=True)
        )
    weights = np.abs(layer.weights).astype(object)
    if isinstance(layer, Depthwise):
        return int(weights.sum(axis=1).max() * magnitudes[0].max())
    return int((weights @ magnitudes[0]).max())


def exact_dtype(layer: str, bound: int) -> np.dtype:
    """The floating-point type in which integers up to `bound` in magnitude are exact."""
    for number, bits in ((np.float32, 24), (np.float64, 53)):
        if bound < 1 << bits:
            return np.dtype(number)
    raise UserError(
        "a sum is too large to be computed exactly",
        where=f"layer {layer}",
        found=f"partial sums up to {bound}",
        expected="less than 2**53",
    )


def greatest(k: int, x: np.ndarray) -> np.ndarray:
    """int64 (..., k): the indices of the k greatest of (..., C), the lowest first among equals."""
    # a stable sort of the negated values keeps the order of equals
    return np.argsort(-x.astype(np.float64), axis=-1, kind="stable")[..., :k]


def _product(layer: MatVec, number: np.dtype) -> Kernel:
    """x @ weights.T in the number type in which it is exact."""
    transposed = np.ascontiguousarray(layer.weights.T, number)
    return lambda x: x.astype(number, copy=False) @ transposed


def _staircase(layer: Threshold, x: TensorInfo, number: np.dtype, level_number: np.dtype) -> Kernel:
    # Clipped to one beyond the range nothing changes, and every threshold is exact in `number`.
    bounded = np.clip(layer.thresholds, x.lo[:, None], x.hi[:, None] + 1)
    columns = np.ascontiguousarray(bounded.T, number)  # (K, C)

    def count_one_by_one(values: np.ndarray) -> np.ndarray:
        count = np.zeros(values.shape, np.uint8)
        for thresholds in columns:
            count += values >= thresholds
        return count

    def search(values: np.ndarray) -> np.ndarray:
        count = np.empty(values.shape, np.int32)
        for c, thresholds in enumerate(np.ascontiguousarray(columns.T)):
            count[..., c] = np.searchsorted(thresholds, values[..., c], side="right")
        return count

    counter = count_one_by_one if len(columns) <= COUNTED_THRESHOLDS else search

    def levels(values: np.ndarray) -> np.ndarray:
        y = counter(values).astype(level_number)
        y *= layer.step
        y += layer.base
        return y

    return levels
