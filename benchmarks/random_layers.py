"""Random layers, each with all that the RTL needs for it: what lowering makes of a small network.

A layer is what a row of the report tells of: the unit, pool or join with its thresholds, the pad
and the window before it, and the width converters around it. Sizes are those that keep Yosys to
seconds a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from hw_build.blocks import Block
from hw_build.fifo_sizing import size_fifos
from hw_build.fifos import with_fifos
from hw_build.folding import Folding, legal_foldings
from hw_build.graph import (
    BIPOLAR,
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Graph,
    Input,
    IntType,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    Threshold,
    TopK,
    Upsample,
    Window,
)
from hw_build.lowering import lower

TYPES = (
    *(BIPOLAR, BIPOLAR, IntType(2, False), IntType(2, True), IntType(3, True)),
    *(IntType(4, False), IntType(5, True), IntType(8, False), IntType(8, True)),
)
"""Of activations; what is often used, more often."""

LEVELS: dict[str, tuple[int, ...]] = {
    "binary": (-1, 1),
    "ternary": (-1, 0, 1),
    "quinary": (-2, -1, 0, 1, 2),
    **{f"int{bits}": tuple(range(-1 << bits - 1, 1 << bits - 1)) for bits in (3, 4, 8)},
}
MOST_PRODUCTS = 160
"""One-bit products of a layer in a cycle, at most."""
MOST_WORDS = 1024
"""Words of a weight memory, at most."""
MOST_LANE_BITS = 96
"""Bits of a beat between layers that have no weights, at most."""


@dataclass(frozen=True, eq=False)
class RandomLayer:
    """A layer of one of `KINDS`, as a network of its own that has a folding."""

    kind: str
    graph: Graph
    folding: dict[str, Folding]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All that the pipeline holds, from port to port, FIFOs included."""
        bare = lower(self.graph, self.folding)
        return with_fifos(bare, size_fifos(bare))


def random_layers(seed: int, number: int) -> Iterator[RandomLayer]:
    """`number` layers, of the kinds in turn; the first ones are the same for any number."""
    for i in range(number):
        kind = KINDS[i % len(KINDS)]
        yield random_layer(np.random.default_rng([seed, i]), kind)


def random_layer(rng: np.random.Generator, kind: str) -> RandomLayer:
    """A layer of `kind`, of random sizes, types and folding."""
    draft = _Draft(rng)
    _DRAWN[kind](draft)
    return RandomLayer(kind, draft.graph, draft.folding())


class _Draft:
    """A network under construction."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.layers: list[Layer] = []

    @property
    def graph(self) -> Graph:
        return Graph(tuple(self.layers))

    def add(self, layer: Layer) -> str:
        self.layers.append(layer)
        return layer.name

    def type(self) -> IntType:
        return TYPES[self.rng.integers(len(TYPES))]

    def size(self, least: int, most: int) -> int:
        """An integer whose logarithm is evenly spread."""
        return int(least * (most / least) ** self.rng.random())

    def vector(self) -> str:
        return self.add(Input("input", (self.size(8, 193),), self.type()))

    def image(self, most_channels: int = 48) -> str:
        height, width = (int(n) for n in self.rng.integers(5, 41, 2))
        n_channels = self.size(1, most_channels + 1)
        if n_channels > 4 and self.rng.random() < 0.7:
            n_channels = n_channels // 4 * 4
        return self.add(Input("input", (height, width, n_channels), self.type()))

    def window(self, x: str) -> str:
        """Half of them padded to keep the image's size; mostly square, of stride and dilation 1."""
        rng = self.rng
        kernel = [(3, 3, 3, 3, 5, 2, 1)[k] for k in rng.integers(7, size=2)]
        stride, dilation = [1, 1], [1, 1]
        if rng.random() < 0.7:
            kernel[1] = kernel[0] = max(kernel)
        if rng.random() < 0.3:
            stride = [int(s) for s in rng.integers(1, 4, 2)]
        if rng.random() < 0.15:
            dilation = [int(d) for d in rng.integers(1, 3, 2)]
        if kernel == [1, 1]:
            kernel[1] = 3
        if rng.random() < 0.4:
            around = [(k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True)]
            if any(around):
                value = -1 if self.layers[0].type.bipolar and rng.random() < 0.5 else 0
                x = self.add(Pad("pad", x, *around, *around, value))
        shape = self.graph.infer()[x].shape
        for i in range(2):
            while (kernel[i] - 1) * dilation[i] >= shape[i]:
                kernel[i] -= 1
        return self.add(Window("window", x, tuple(kernel), tuple(stride), tuple(dilation)))

    def weights(self, rows: int, columns: int) -> np.ndarray:
        kinds = ("binary", "binary", "ternary", "quinary", "int3", "int4", "int8")
        kind = kinds[self.rng.integers(len(kinds))]
        return self.rng.choice(LEVELS[kind], (rows, columns)).astype(np.int64)

    def threshold(self, x: str, name: str = "act") -> str:
        """Of up to 15 levels, 7 of many channels, within the range of what is compared."""
        info, kind = self.graph.infer()[x], self.type()
        base = -1 if kind.bipolar else kind.lo + int(kind.signed)
        step = 2 if kind.bipolar else 1
        n_levels = min((kind.hi - base) // step, 15 if info.n_channels <= 32 else 7)
        middle, spread = (info.lo + info.hi) / 2, (info.hi - info.lo) * 0.15
        table = (
            middle[:, None] + self.rng.normal(size=(info.n_channels, n_levels)) * spread[:, None]
        )
        table = np.sort(np.rint(table).astype(np.int64), axis=1)
        return self.add(Threshold(name, x, table, base, step, kind))

    def folding(self) -> dict[str, Folding]:
        """Of every layer that has one; alike where streams meet, so that one converter suffices."""
        graph = self.graph
        infos = graph.infer()
        chosen = {}
        for name, legal in legal_foldings(graph).items():
            layer = graph[name]
            if isinstance(layer, Input):
                continue
            if isinstance(layer, MatVec | Depthwise):
                act = infos[layer.source].type
                chosen[name] = self._unit_folding(layer, act, legal.pe.values, legal.simd.values)
            else:
                bits = max(infos[source].type.bits for source in layer.sources)
                few = [pe for pe in legal.pe.values if pe * bits <= MOST_LANE_BITS]
                chosen[name] = Folding(int(self.rng.choice(few or legal.pe.values[:1])), 1)
        return chosen

    def _unit_folding(
        self, layer: MatVec | Depthwise, act: IntType, pes: tuple, simds: tuple
    ) -> Folding:
        rows, columns = layer.weights.shape
        bits = layer.weight_bits * act.bits
        least = rows * columns / MOST_WORDS
        products = max(MOST_PRODUCTS ** self.rng.uniform(0.4, 1.0) / bits, least, 1)
        if self.rng.random() < 0.15 and rows * columns * bits <= MOST_PRODUCTS:
            products = rows * columns  # unrolled as a whole
        simd = _near(simds, self.size(1, int(min(products, columns)) + 1))
        pe = _near(pes, max(1, int(products / simd)))
        words = -(-rows // pe) * -(-columns // simd)
        memory = ("auto", "auto", "auto", "lut", "block")[self.rng.integers(5)]
        return Folding(pe, simd, "auto" if words == 1 or words > 512 else memory)


def _near(values: tuple | range, most: int) -> int:
    """The greatest of ascending `values` that is at most `most`, else the least."""
    return max((v for v in values if v <= most), default=values[0])


def _matrix_vector(draft: _Draft) -> None:
    x = draft.vector()
    columns = draft.graph.infer()[x].n_channels
    sums = draft.add(MatVec("fc", x, draft.weights(draft.size(8, 97), columns)))
    if draft.rng.random() < 0.75:
        draft.threshold(sums)


def _unrolled(draft: _Draft) -> None:
    x = draft.add(Input("input", (draft.size(8, 33),), draft.type()))
    columns = draft.graph.infer()[x].n_channels
    weights = draft.weights(draft.size(4, 33), columns)
    bits = draft.layers[0].type.bits * int(np.abs(weights).max()).bit_length()
    rows = max(2, min(len(weights), MOST_PRODUCTS // (bits * columns)))
    sums = draft.add(MatVec("fc", x, weights[:rows]))
    if draft.rng.random() < 0.75:
        draft.threshold(sums)


def _convolution(draft: _Draft) -> None:
    x = draft.window(draft.image())
    columns = draft.graph.infer()[x].n_channels
    sums = draft.add(MatVec("conv", x, draft.weights(4 * draft.size(1, 25), columns)))
    if draft.rng.random() < 0.75:
        draft.threshold(sums)


def _depthwise(draft: _Draft) -> None:
    x = draft.image(24)
    n_channels = draft.graph.infer()[x].n_channels
    x = draft.window(x)
    n_positions = prod(draft.layers[-1].kernel)
    rows = n_channels * (1, 1, 2)[draft.rng.integers(3)]
    sums = draft.add(Depthwise("dw", x, draft.weights(rows, n_positions)))
    if draft.rng.random() < 0.75:
        draft.threshold(sums)


def _sum_pool(draft: _Draft) -> None:
    x = draft.image(24)
    n_channels = draft.graph.infer()[x].n_channels
    x = draft.window(x)
    ones = np.ones((n_channels, prod(draft.layers[-1].kernel)), np.int64)
    sums = draft.add(Depthwise("pool", x, ones))
    if draft.rng.random() < 0.5:
        draft.threshold(sums)


def _max_pool(draft: _Draft) -> None:
    x = draft.image()
    kernel = ((2, 2), (2, 2), (3, 3), (1, 2))[draft.rng.integers(4)]
    x = draft.add(Window("window", x, kernel, kernel))
    draft.add(MaxPool("pool", x, prod(kernel)))


def _thresholds(draft: _Draft) -> None:
    height, width = (int(n) for n in draft.rng.integers(5, 41, 2))
    kind = IntType(int(draft.rng.integers(4, 17)), signed=True)
    draft.threshold(draft.add(Input("input", (height, width, draft.size(1, 25)), kind)))


def _add(draft: _Draft) -> None:
    x = draft.image(32)
    multipliers = ((1, 1), (1, 1), (1, 1), (2, 1), (1, -1), (3, 5))[draft.rng.integers(6)]
    draft.add(Add("add", draft.threshold(x), x, multipliers))


def _concat(draft: _Draft) -> None:
    x = draft.image(32)
    draft.add(Concat("concat", (x, x)))


def _upsample(draft: _Draft) -> None:
    factors = ((2, 2), (2, 2), (1, 2), (3, 1), (3, 3), (4, 4))[draft.rng.integers(6)]
    draft.add(Upsample("up", draft.image(), factors))


def _scores(draft: _Draft) -> str:
    kind = IntType(int(draft.rng.integers(5, 20)), signed=True)
    return draft.add(Input("input", (draft.size(5, 200),), kind))


def _arg_max(draft: _Draft) -> None:
    draft.add(ArgMax("class", _scores(draft)))


def _top_k(draft: _Draft) -> None:
    draft.add(TopK("classes", _scores(draft), int(draft.rng.integers(2, 6))))


_DRAWN: dict[str, Callable[[_Draft], None]] = {
    "matrix-vector": _matrix_vector,
    "unrolled": _unrolled,
    "convolution": _convolution,
    "depthwise": _depthwise,
    "sum pool": _sum_pool,
    "max pool": _max_pool,
    "thresholds": _thresholds,
    "add": _add,
    "concat": _concat,
    "upsample": _upsample,
    "arg max": _arg_max,
    "top k": _top_k,
}
KINDS = (
    *("matrix-vector", "convolution", "unrolled", "depthwise", "matrix-vector", "max pool"),
    *("convolution", "thresholds", "matrix-vector", "add", "convolution", "sum pool", "concat"),
    *("upsample", "unrolled", "arg max", "top k"),
)
"""In the order in which layers are drawn; what networks have more of, more often."""
