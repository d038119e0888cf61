"""Seeded random integer graphs, foldings and inputs, dealt so that few of them cover every kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw_build.folding import Folding
from hw_build.folding_search import choose_folding
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold

WEIGHT_KINDS = ("binary", "ternary", "quinary", *(f"int{bits}" for bits in range(2, 9)))
ACT_TYPES = (
    BIPOLAR,
    *(IntType(bits, signed=False) for bits in range(1, 9)),
    *(IntType(bits, signed=True) for bits in range(2, 9)),
)


@dataclass(frozen=True)
class LayerKind:
    """What a fully connected layer is drawn from: `weights` is one of WEIGHT_KINDS."""

    weights: str
    inputs: IntType


def random_weights(rng: np.random.Generator, kind: str, rows: int, columns: int) -> np.ndarray:
    """int64 (rows, columns); `intB` holds both ends of its range, so that it takes B bits."""
    levels = {"binary": [-1, 1], "ternary": [-1, 0, 1], "quinary": [-2, -1, 0, 1, 2]}
    if kind in levels:
        return rng.choice(levels[kind], (rows, columns)).astype(np.int64)
    half = 1 << (int(kind.removeprefix("int")) - 1)
    weights = rng.integers(-half, half, (rows, columns))
    weights.flat[rng.integers(weights.size)] = -half
    return weights


def random_thresholds(
    rng: np.random.Generator, name: str, source: str, graph: Graph, kind: IntType
) -> Threshold:
    """Levels of `kind` spread over the values of `source` that inputs are likely to reach.

    Signed types put out one level fewer than they have, symmetric about 0, as quantisers do. Some
    channels are constant, some have levels that no value reaches.
    """
    info = graph.infer()[source]
    base = -1 if kind.bipolar else kind.lo + int(kind.signed)
    step = 2 if kind.bipolar else 1
    n_levels = (kind.hi - base) // step
    middle, spread = (info.lo + info.hi) / 2, (info.hi - info.lo) * 0.12
    shape = (info.n_channels, n_levels)
    table = np.rint(middle[:, None] + rng.normal(size=shape) * spread[:, None])
    table = np.sort(table.astype(np.int64), axis=1)
    if rng.random() < 0.5:
        table[0], table[-1] = info.hi[0] + 5, info.lo[-1] - 3
    if n_levels > 2 and rng.random() < 0.5:
        table[:, -1] = np.maximum(table[:, -1], info.hi + 1)
    return Threshold(name, source, table, base, step, kind)


def random_graph(
    rng: np.random.Generator,
    sizes: list[int],
    kinds: list[LayerKind],
    output: IntType | str = "scores",
) -> Graph:
    """Fully connected layers from sizes[i] to sizes[i + 1].

    `output` is "scores" (accumulators), "class" (arg max of them), or the type of a Threshold.
    """
    layers: list = [Input("input", (sizes[0],), kinds[0].inputs)]
    source = "input"
    for i, kind in enumerate(kinds):
        weights = random_weights(rng, kind.weights, sizes[i + 1], sizes[i])
        layers.append(MatVec(f"fc{i}", source, weights))
        source = f"fc{i}"
        leaves = kinds[i + 1].inputs if i + 1 < len(kinds) else output
        if isinstance(leaves, IntType):
            graph = Graph(tuple(layers))
            layers.append(random_thresholds(rng, f"fc{i}_act", source, graph, leaves))
            source = f"fc{i}_act"
        elif leaves == "class":
            layers.append(ArgMax("class", source))
    return Graph(tuple(layers))


def random_folding(rng: np.random.Generator, graph: Graph) -> dict[str, Folding]:
    """PE and SIMD of each layer: all, one, or any number between, whether it divides or not.

    Of every second class the scores come several a beat.
    """

    def any_of(n: int) -> int:
        return int(rng.choice([1, n, rng.integers(1, n + 1), rng.integers(1, n + 1)]))

    folding = {
        layer.name: Folding(any_of(len(layer.weights)), any_of(layer.weights.shape[1]))
        for layer in graph
        if isinstance(layer, MatVec)
    }
    if isinstance(graph.output, ArgMax) and rng.random() < 0.5:
        n_scores = graph.infer()[graph.output.source].n_channels
        folding[graph.output.name] = Folding(any_of(n_scores), 1)
    return folding


def random_inputs(rng: np.random.Generator, graph: Graph, n: int) -> np.ndarray:
    """Integers (n, C) over the whole range of the graph's input."""
    kind, shape = graph.input.type, (n, *graph.input.shape)
    x = rng.choice([-1, 1], shape) if kind.bipolar else rng.integers(kind.lo, kind.hi + 1, shape)
    return x.astype(np.int8 if kind.lo < 0 else np.uint8)


@dataclass(frozen=True, eq=False)
class Case:
    """A network to simulate."""

    graph: Graph
    folding: dict[str, Folding]
    inputs: np.ndarray


def random_case(seed: int, n_inputs: int = 40, most: int = 24) -> Case:
    """Case number `seed`: any 17 cases in a row hold every weight kind and every input type.

    Two or three layers of at most `most` neurons; every third case ends in scores, in a class, in
    thresholds; every fifth has a folding that was chosen for an interval.
    """
    rng = np.random.default_rng(seed)
    n_layers = 2 + seed % 2
    kinds = [
        LayerKind(
            WEIGHT_KINDS[(3 * seed + layer) % len(WEIGHT_KINDS)],
            ACT_TYPES[(5 * seed + 3 * layer) % len(ACT_TYPES)],
        )
        for layer in range(n_layers)
    ]
    sizes = [int(n) for n in rng.integers(2, most + 1, n_layers + 1)]
    output = ("scores", "class", ACT_TYPES[seed % len(ACT_TYPES)])[seed % 3]
    graph = random_graph(rng, sizes, kinds, output)
    chosen = seed % 5 == 4
    folding = choose_folding(graph, int(rng.integers(1, 60))) if chosen else None
    return Case(graph, folding or random_folding(rng, graph), random_inputs(rng, graph, n_inputs))
