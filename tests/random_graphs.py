"""Seeded random graphs of images: convolutions, pools, branches that add or join, and foldings."""

from __future__ import annotations

import numpy as np
from random_networks import Case, random_inputs, random_thresholds, random_weights

from hw_build.folding import Folding, legal_foldings
from hw_build.graph import (
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    IntType,
    MatVec,
    MaxPool,
    Pad,
    Threshold,
    TopK,
    Upsample,
    Window,
)

ACT_TYPES = (IntType(2, signed=False), IntType(3, signed=True), IntType(1, signed=False))


def random_image_case(seed: int, n_inputs: int = 6, n_parts: int = 4) -> Case:
    """A graph of `n_parts` parts behind each other, its folding and inputs.

    A part is a convolution, a depthwise one, a pool, an upsampling, or branches from one tensor
    that are added or concatenated. All have the same type of activations. The outputs are scores,
    the greatest ones, or an image.
    """
    rng = np.random.default_rng(seed)
    made = _Graph(rng, ACT_TYPES[seed % len(ACT_TYPES)])
    x = "input"
    for _ in range(n_parts):
        x = made.part(x)
    if seed % 4:
        made.scores(x, seed % 4)
    graph = made.graph
    return Case(graph, divisor_folding(rng, graph), random_inputs(rng, graph, n_inputs))


def divisor_folding(rng: np.random.Generator, graph: Graph) -> dict[str, Folding]:
    """Any legal folding, but none that takes more than a pixel's channels in a beat."""
    folding = {}
    infos = graph.infer()
    for name, legal in legal_foldings(graph).items():
        if name == graph.input.name:  # the port carries what fits
            continue
        simds = list(legal.simd.values)
        source = graph[graph[name].sources[0]]
        if isinstance(graph[name], MatVec) and isinstance(source, Window):
            n_channels = infos[source.source].n_channels
            simds = [simd for simd in simds if simd <= n_channels]
        folding[name] = Folding(int(rng.choice(list(legal.pe.values))), int(rng.choice(simds)))
    return folding


class _Graph:
    """A graph under construction."""

    def __init__(self, rng: np.random.Generator, kind: IntType) -> None:
        self.rng, self.kind, self.n = rng, kind, 0
        height, width = (int(n) for n in rng.integers(4, 9, 2))
        if rng.random() < 0.15:
            height = 1
        self.graph = Graph((Input("input", (height, width, int(rng.choice([1, 2, 3, 4]))), kind),))

    def add(self, layer: object) -> str:
        self.graph = Graph((*self.graph.layers, layer))
        return layer.name

    def name(self, word: str) -> str:
        self.n += 1
        return f"{word}{self.n}"

    def shape(self, x: str) -> tuple[int, int, int]:
        return self.graph.infer()[x].shape

    def part(self, x: str) -> str:
        kinds = ("conv", "depthwise", "pool", "upsample", "add", "add", "concat", "concat")
        match self.rng.choice(kinds):
            case "conv":
                return self.convolution(x, same=self.rng.random() < 0.5)
            case "depthwise":
                return self.depthwise(x)
            case "pool":
                return self.pool(x)
            case "upsample":
                height, width, _ = self.shape(x)
                if height * width > 40:
                    return self.convolution(x, same=False)
                factors = tuple(int(f) for f in self.rng.integers(1, 3, 2))
                return self.add(Upsample(self.name("up"), x, factors))
            case "add":
                return self.residual(x)
            case "concat":
                return self.fire(x)

    def threshold(self, x: str) -> str:
        name = self.name("act")
        return self.add(random_thresholds(self.rng, name, x, self.graph, self.kind))

    def window(self, x: str, *, same: bool) -> str:
        """A window that fits; `same`: of stride 1, padded so that the image keeps its size."""
        kernel, stride, dilation = [], [], []
        for size in self.shape(x)[:2]:
            odd = [k for k in (1, 3) if k <= size or same]
            k = int(self.rng.choice(odd if same else [k for k in (1, 2, 3) if k <= size]))
            far = [d for d in (1, 2) if (k - 1) * d < size or same]
            kernel.append(k)
            dilation.append(int(self.rng.choice(far)))
            stride.append(1 if same else int(self.rng.choice([1, 1, 2])))
        if same:
            around = [(k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True)]
        else:
            around = [int(self.rng.choice([0, 0, 1])) for _ in range(2)]
        if any(around):
            x = self.add(Pad(self.name("pad"), x, *around, *around, 0))
        sides = (tuple(kernel), tuple(stride), tuple(dilation))
        return self.add(Window(self.name("win"), x, *sides))

    def convolution(self, x: str, *, same: bool, n_out: int | None = None) -> str:
        sums = self.sums(x, same=same, n_out=n_out)
        return self.threshold(sums)

    def sums(self, x: str, *, same: bool, n_out: int | None = None) -> str:
        if not same or self.rng.random() < 0.7:
            x = self.window(x, same=same)
        n_out = n_out or int(self.rng.choice([2, 3, 4, 6]))
        weights = random_weights(self.rng, "ternary", n_out, self.graph.infer()[x].n_channels)
        return self.add(MatVec(self.name("conv"), x, weights))

    def depthwise(self, x: str) -> str:
        n_channels = self.shape(x)[2]
        x = self.window(x, same=self.rng.random() < 0.5)
        n_positions = self.graph[x].n_positions
        rows = n_channels * int(self.rng.choice([1, 1, 2]))
        weights = random_weights(self.rng, "ternary", rows, n_positions)
        return self.threshold(self.add(Depthwise(self.name("dw"), x, weights)))

    def pool(self, x: str) -> str:
        height, width, _ = self.shape(x)
        kernel = (min(2, height), min(2, width))
        window = self.add(Window(self.name("win"), x, kernel, kernel))
        return self.add(MaxPool(self.name("pool"), window, kernel[0] * kernel[1]))

    def residual(self, x: str) -> str:
        n_channels = self.shape(x)[2]
        deep = x
        for _ in range(int(self.rng.integers(0, 2))):
            deep = self.convolution(deep, same=True)
        deep = self.convolution(deep, same=True, n_out=n_channels)
        skip = self.convolution(x, same=True, n_out=n_channels) if self.rng.random() < 0.3 else x
        return self.threshold(self.add(Add(self.name("add"), deep, skip)))

    def fire(self, x: str) -> str:
        n_branches = int(self.rng.integers(2, 4))
        branches = [self.convolution(x, same=True) for _ in range(n_branches)]
        if self.rng.random() < 0.5:
            branches[-1] = self.convolution(branches[-1], same=True)
        return self.add(Concat(self.name("cat"), tuple(branches)))

    def scores(self, x: str, output: int) -> None:
        flat = self.add(Flatten("flat", x))
        weights = random_weights(self.rng, "ternary", 5, self.graph.infer()[flat].n_channels)
        scores = self.add(MatVec("scores", flat, weights))
        if output == 2:
            self.add(ArgMax("class", scores))
        elif output == 3:
            self.add(TopK("classes", scores, 2))


def count_layers(graph: Graph, *kinds: type) -> int:
    """Layers of the given kinds."""
    return sum(isinstance(layer, kinds) for layer in graph)


__all__ = ["Threshold", "count_layers", "divisor_folding", "random_image_case"]
