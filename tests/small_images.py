"""Seeded graphs of images so small that all of their foldings can be tried."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from random_networks import random_thresholds, random_weights

from hw_build.graph import (
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    IntType,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    Upsample,
    Window,
)

KINDS = (IntType(1, signed=False), IntType(2, signed=False), IntType(3, signed=True))


class _Small:
    """A graph under construction; all activations have the type of its input."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, channels: int) -> None:
        self.rng, self.kind = rng, KINDS[rng.integers(len(KINDS))]
        self.graph = Graph((Input("input", (height, width, channels), self.kind),))

    def add(self, kind: type, *arguments: object) -> str:
        layer: Layer = kind(f"{kind.__name__.lower()}{len(self.graph.layers)}", *arguments)
        self.graph = Graph((*self.graph.layers, layer))
        return layer.name

    def channels(self, x: str) -> int:
        return self.graph.infer()[x].n_channels

    def window(self, x: str, kernel: tuple[int, int], stride: int = 1, padding: int = 0) -> str:
        if padding:
            x = self.add(Pad, x, *[padding] * 4, 0)
        return self.add(Window, x, kernel, (stride, stride))

    def act(self, x: str) -> str:
        threshold = random_thresholds(self.rng, f"act{x}", x, self.graph, self.kind)
        self.graph = Graph((*self.graph.layers, threshold))
        return threshold.name

    def conv(self, x: str, channels: int) -> str:
        weights = random_weights(self.rng, "ternary", channels, self.channels(x))
        return self.act(self.add(MatVec, x, weights))

    def depthwise(self, window: str, outputs_a_channel: int = 1) -> str:
        n_positions = self.graph[window].n_positions
        rows = outputs_a_channel * self.channels(window) // n_positions
        weights = random_weights(self.rng, "ternary", rows, n_positions)
        return self.act(self.add(Depthwise, window, weights))

    def pool(self, x: str) -> str:
        return self.add(MaxPool, self.window(x, (2, 2), stride=2), 4)

    def mean(self, x: str) -> str:
        """A sum pool over the whole image, without thresholds."""
        height, width, channels = self.graph.infer()[x].shape
        ones = np.ones((channels, height * width), np.int64)
        return self.add(Depthwise, self.add(Window, x, (height, width)), ones)

    def scores(self, x: str, n: int) -> str:
        x = self.add(Flatten, x)
        return self.add(MatVec, x, random_weights(self.rng, "ternary", n, self.channels(x)))

    def any_of(self, *values: int) -> int:
        return int(self.rng.choice(values))


def convolution_and_pool(rng: np.random.Generator) -> Graph:
    made = _Small(rng, 6, 4, int(rng.choice([1, 2, 3])))
    x = made.pool(made.conv(made.window("input", (3, 3), padding=1), made.any_of(2, 4)))
    made.conv(x, 3)
    return made.graph


def padded_convolutions(rng: np.random.Generator) -> Graph:
    made = _Small(rng, 5, 4, int(rng.choice([1, 2, 3])))
    x = made.conv(made.window("input", (3, 3), padding=1), made.any_of(4, 6))
    made.conv(made.window(x, (2, 2), stride=2), made.any_of(2, 4))
    return made.graph


def signal(rng: np.random.Generator) -> Graph:
    """One row, whose mean is classified."""
    made = _Small(rng, 1, 12, int(rng.choice([1, 2])))
    x = made.mean(made.conv(made.window("input", (1, 3)), made.any_of(3, 4)))
    made.add(ArgMax, made.scores(x, 2))
    return made.graph


def separable(rng: np.random.Generator) -> Graph:
    made = _Small(rng, 5, 4, int(rng.choice([3, 4])))
    x = made.depthwise(made.window("input", (3, 3), padding=1), made.any_of(1, 2))
    made.depthwise(made.window(made.conv(x, made.any_of(4, 6)), (2, 2)))
    return made.graph


def residual(rng: np.random.Generator) -> Graph:
    made = _Small(rng, 4, 3, 2)
    channels = made.any_of(3, 4)
    x = made.conv("input", channels)
    deep = made.conv(made.window(x, (3, 3), padding=1), channels)
    made.act(made.add(Add, deep, x))
    return made.graph


def residual_of_two(rng: np.random.Generator) -> Graph:
    """Both branches pad, and leave out pixels."""
    made = _Small(rng, 4, 4, 2)
    channels = made.any_of(3, 4)
    deep, skip = (
        made.conv(made.window("input", (side, side), stride=2, padding=1), channels)
        for side in (2, 1)
    )
    made.act(made.add(Add, deep, skip))
    return made.graph


def fire(rng: np.random.Generator) -> Graph:
    made = _Small(rng, 4, 3, 3)
    x = made.conv("input", made.any_of(2, 4))
    wide = made.conv(made.window(x, (3, 3), padding=1), made.any_of(2, 4))
    made.add(Concat, (made.conv(x, 4), wide))
    return made.graph


def three_branches(rng: np.random.Generator) -> Graph:
    made = _Small(rng, 3, 3, 2)
    x = made.conv("input", 2)
    made.add(Concat, tuple(made.conv(x, made.any_of(2, 4)) for _ in range(3)))
    return made.graph


def upsampled(rng: np.random.Generator) -> Graph:
    made = _Small(rng, 4, 3, 2)
    x = made.conv(made.window("input", (2, 2)), made.any_of(2, 4))
    x = made.add(Upsample, x, (2, made.any_of(1, 2)))
    made.conv(made.window(x, (3, 2)), 4)
    return made.graph


SMALL_IMAGES: dict[str, Callable[[np.random.Generator], Graph]] = {
    make.__name__: make
    for make in (
        convolution_and_pool,
        padded_convolutions,
        signal,
        separable,
        residual,
        residual_of_two,
        fire,
        three_branches,
        upsampled,
    )
}
