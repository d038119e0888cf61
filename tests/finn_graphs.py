"""Chains of random layers for FINN, what they compute in a few lines of numpy, and their inputs.

The golden integers here share no code with the project's executors.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hw_build.finn.flow import run_finn
from hw_build.finn.result import FinnResult
from hw_build.graph import (
    BIPOLAR,
    ArgMax,
    Flatten,
    Graph,
    Input,
    IntType,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    Threshold,
    Window,
)

PART = "xc7z020clg400-1"
WEIGHTS = {
    "binary": [-1, 1],
    "ternary": [-1, 0, 1],
    "quinary": [-2, -1, 0, 1, 2],
    "no +1": [-1, 0],
    "int4": [*range(-7, 8)],
}
OUTPUTS = {  # type, base, step, number of thresholds
    "bipolar": (BIPOLAR, -1, 2, 1),
    "ternary": (IntType(2, signed=True), -1, 1, 2),
    "int2": (IntType(2, signed=True), -2, 1, 3),
    "uint4": (IntType(4, signed=False), 0, 1, 15),
    "int3 from 0": (IntType(3, signed=True), 0, 1, 3),
    "uint2 from 1": (IntType(2, signed=False), 1, 1, 2),
    "bit": (IntType(1, signed=False), 0, 1, 1),
    "constant": (IntType(2, signed=True), -1, 1, 0),
}


class Chain:
    """A random chain under construction; each layer reads the one before it."""

    def __init__(self, seed: int, shape: tuple[int, ...], kind: IntType) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers: list[Layer] = [Input("in", shape, kind)]

    @property
    def graph(self) -> Graph:
        return Graph(tuple(self.layers))

    @property
    def last(self) -> str:
        return self.layers[-1].name

    def matvec(self, name: str, n_out: int, weights: str) -> None:
        n_in = self.graph.infer()[self.last].n_channels
        values = self.rng.choice(WEIGHTS[weights], (n_out, n_in)).astype(np.int64)
        self.layers.append(MatVec(name, self.last, values))

    def threshold(self, name: str, output: str) -> None:
        """Thresholds lie about the middle, some doubled, some out of reach."""
        kind, base, step, n_levels = OUTPUTS[output]
        info = self.graph.infer()[self.last]
        middle = (info.lo + info.hi)[:, None] / 2
        width = np.sqrt(info.hi - info.lo)[:, None]  # a sum of independent terms spreads so
        table = np.round(self.rng.normal(middle, width, (info.n_channels, n_levels)))
        table = table.astype(np.int64)
        far = self.rng.random(table.shape) < 0.05
        table[far] = self.rng.choice([-(10**6), 10**6], far.sum())
        table = np.sort(table, axis=1)
        self.layers.append(Threshold(name, self.last, table, base, step, kind))

    def pad(self, name: str, sides: tuple[int, int, int, int], value: int = 0) -> None:
        self.layers.append(Pad(name, self.last, *sides, value))

    def window(self, name: str, kernel: tuple[int, int], *steps: tuple[int, int]) -> None:
        self.layers.append(Window(name, self.last, kernel, *steps))

    def pool(self, name: str, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        self.window(f"{name}_window", kernel, stride)
        self.layers.append(MaxPool(name, self.last, kernel[0] * kernel[1]))

    def flatten(self) -> None:
        self.layers.append(Flatten("flat", self.last))

    def argmax(self) -> None:
        self.layers.append(ArgMax("class", self.last))


def mlp(
    seed: int,
    sizes: list[int],
    input_type: IntType,
    weights: list[str],
    outputs: list[str],
    *,
    argmax: bool = False,
) -> Graph:
    """A random chain on vectors."""
    chain = Chain(seed, (sizes[0],), input_type)
    for index, (_, n_out) in enumerate(pairwise(sizes)):
        chain.matvec(f"fc{index}", n_out, weights[index])
        if index < len(outputs):
            chain.threshold(f"act{index}", outputs[index])
    if argmax:
        chain.argmax()
    return chain.graph


def cnv(
    seed: int,
    input_type: IntType,
    weights: list[str],
    outputs: list[str],
    *,
    padded: bool = False,
    channels: tuple[int, int] = (6, 8),
) -> Graph:
    """8 x 8 x 2 through a convolution, a pool, another convolution, and two dense layers."""
    chain = Chain(seed, (8, 8, 2), input_type)
    for index, n_out in enumerate(channels):
        if padded:
            chain.pad(f"pad{index}", (1, 1, 1, 1))
        chain.window(f"win{index}", (3, 3))
        chain.matvec(f"conv{index}", n_out, weights[index])
        chain.threshold(f"act{index}", outputs[index])
        if not index:
            chain.pool("pool0", (2, 2), (2, 2) if padded else (1, 1))
    chain.flatten()
    chain.matvec("fc0", 12, weights[2])
    chain.threshold("act2", outputs[2])
    chain.matvec("fc1", 5, weights[3])
    return chain.graph


def golden(graph: Graph, inputs: np.ndarray) -> dict[str, np.ndarray]:
    values = {graph.input.name: inputs}
    for layer in graph.layers[1:]:
        x = values[layer.source]
        match layer:
            case MatVec():
                y = x @ layer.weights.T
            case Threshold():
                reached = (x[..., None] >= layer.thresholds).sum(axis=-1)
                y = layer.base + layer.step * reached
            case ArgMax():
                y = x.argmax(axis=-1)[..., None]
            case Pad():
                around = ((0, 0), (layer.top, layer.bottom), (layer.left, layer.right), (0, 0))
                y = np.pad(x, around, constant_values=layer.value)
            case Window():
                (down, right), (below, beside) = layer.stride, layer.dilation
                reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation, strict=True)]
                seen = sliding_window_view(x, reach, axis=(1, 2))
                seen = seen[:, ::down, ::right, :, ::below, ::beside]
                y = np.moveaxis(seen, 3, 5).reshape(*seen.shape[:3], -1)
            case MaxPool():
                y = x.reshape(*x.shape[:-1], layer.n_positions, -1).max(axis=-2)
            case Flatten():
                y = x.reshape(len(x), -1)
        values[layer.name] = y
    return values


def draw(graph: Graph, n: int, seed: int = 0) -> np.ndarray:
    kind, rng = graph.input.type, np.random.default_rng(seed)
    shape = (n, *graph.input.shape)
    return rng.choice([-1, 1], shape) if kind.bipolar else rng.integers(kind.lo, kind.hi + 1, shape)


def check(graph: Graph, folder: Path, **options: object) -> FinnResult:
    inputs = draw(graph, 100)
    options = {"part": PART, "clock_mhz": 100.0} | options
    expected = golden(graph, inputs)
    assert (expected[graph.output.name] != expected[graph.output.name][0]).any(), "a dead network"
    return run_finn(graph, inputs, expected, folder, **options)
