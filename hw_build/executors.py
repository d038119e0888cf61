"""Runs the executors of one network on the same inputs and holds them against each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.errors import GateError

from .gates import GateResult, Variation, argmax_ties, compare_layers, decode
from .golden import execute, greatest
from .graph import ArgMax, Graph, Input, Threshold, TopK
from .graph_file import Imported
from .oracle import Oracle
from .vectors import Vectors

_Layers = dict[str, np.ndarray]

MOST_VALUES = 1 << 23
"""Of the compared layers, held at a time: some hundred MB of integers, reals and differences."""


@dataclass(frozen=True, eq=False)
class Checked:
    """What the software executors agreed on.

    `integers` are the accelerator's inputs, `scores` the golden model's score integers and
    `oracle_scores` the oracle's, decoded (of a network that ends in a quantiser: its levels).
    """

    integers: np.ndarray
    scores: np.ndarray
    oracle_scores: np.ndarray
    gates: tuple[GateResult, ...]
    constant_channels: dict[str, int]
    ties: int | None


def compared_layers(graph: Graph) -> list[str]:
    """Layers with a real-valued meaning, after the input, in network order."""
    return [
        layer.name
        for layer in graph
        if layer.name in graph.meanings and not isinstance(layer, Input)
    ]


def scores_layer(graph: Graph) -> str:
    """The layer whose integers are the network's scores: what an arg max or a top k looks at."""
    return graph.output.source if isinstance(graph.output, ArgMax | TopK) else graph.output.name


def check_software(
    imported: Imported,
    model: Path,
    vectors: Vectors,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """PyTorch (where its results are known) = oracle = golden model, integer by integer.

    Frames go through in batches that fit in memory; `progress` takes how many did, and of how many.

    Raises:
        GateError: naming the first differing layer, index, expected and got.
        UserError: the network is dead.
    """
    graph = imported.graph
    integers = imported.quantiser(vectors.inputs)
    comparison = _Comparison(imported, Oracle(model), vectors)
    n, step = len(integers), comparison.frames_at_a_time
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, n, step):
        parts.append(comparison.compare(integers[start : start + step], start))
        progress(min(start + step, n), n)
    scores, oracle_scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Checked(
        integers=integers,
        scores=scores,
        oracle_scores=oracle_scores,
        gates=tuple(GateResult(name, vectors) for name, vectors in comparison.passed.items()),
        constant_channels=_constant_channels(graph, comparison.variation),
        ties=argmax_ties(scores) if scores.shape[-1] > 1 else None,
    )


class _Comparison:
    """The executors of one network, held against each other batch by batch.

    `passed` counts the frames that went through each gate.
    """

    def __init__(self, imported: Imported, oracle: Oracle, vectors: Vectors) -> None:
        for known in (vectors.torch_inputs, vectors.torch_integers):
            if known is not None and len(known) != len(vectors.inputs):
                raise GateError(
                    "PyTorch's results are of another number of frames",
                    where=vectors.origin,
                    found=f"{len(known)}",
                    expected=f"{len(vectors.inputs)}",
                )
        self.variation = Variation()
        self.passed: dict[str, int] = {}
        self._imported, self._oracle, self._vectors = imported, oracle, vectors
        graph = imported.graph
        self._graph = graph
        self._shapes = {name: info.shape for name, info in graph.infer().items()}
        self._order = compared_layers(graph)
        self._meanings = {name: graph.meanings[name] for name in (graph.input.name, *self._order)}
        self._torch = {
            name: _arranged(vectors.activations[meaning.tensor], graph, name, self._shapes)
            for name, meaning in self._meanings.items()
            if meaning.tensor in vectors.activations
        }

    @property
    def frames_at_a_time(self) -> int:
        n_values = sum(math.prod(self._shapes[name]) for name in self._meanings)
        return max(1, MOST_VALUES // n_values)

    def compare(self, integers: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Score integers of the golden model and of the oracle, once all agree on these frames."""
        graph, vectors, scores = self._graph, self._vectors, scores_layer(self._graph)
        rows = slice(start, start + len(integers))
        keep = {*self._order, *_living_layers(graph), scores}
        golden = {graph.input.name: integers, **execute(graph, integers, keep)}
        self.variation.add({name: golden[name] for name in keep})
        decoded = self._decoded(vectors.inputs[rows], start)
        self._pass("float64 QONNX oracle = golden model", decoded, golden, start)
        if vectors.torch_inputs is not None:
            name = graph.input.name
            known = {name: _arranged(vectors.torch_inputs[rows], graph, name, self._shapes)}
            self._pass("PyTorch = input quantiser", known, golden, start)
        known = {name: array[rows] for name, array in self._torch.items() if len(array) > start}
        if known:
            n = len(next(iter(known.values())))
            self._pass("PyTorch = golden model, activations", known, golden, start, n)
        if vectors.torch_integers is not None:
            known = {scores: _arranged(vectors.torch_integers[rows], graph, scores, self._shapes)}
            self._pass("PyTorch = golden model, scores", known, golden, start)
        return golden[scores], decoded[scores]

    def _decoded(self, inputs: np.ndarray, start: int) -> dict[str, np.ndarray]:
        """The oracle's tensors as the integers of the layers they belong to."""
        frames = inputs.reshape(len(inputs), *self._imported.input_shape)
        reals = self._oracle.run(frames, [meaning.tensor for meaning in self._meanings.values()])
        integers = {}
        for name, meaning in self._meanings.items():
            arranged = meaning.arrange(reals[meaning.tensor], self._shapes[name])
            integers[name] = decode(arranged, meaning, name, start)
        return integers

    def _pass(
        self, gate: str, expected: _Layers, golden: _Layers, start: int, n: int | None = None
    ) -> None:
        """The first `n` of these frames, or all of them, through a gate."""
        got = {name: golden[name][:n] for name in expected}
        passed = compare_layers(gate, expected, got, list(expected), start)
        self.passed[gate] = self.passed.get(gate, 0) + passed.vectors


def _living_layers(graph: Graph) -> list[str]:
    """Layers that have to vary, in network order: the compared ones.

    A quantiser that ends the network may well say one thing to all these inputs, like a class:
    its accumulators have to vary then.
    """
    order, scores = compared_layers(graph), scores_layer(graph)
    if not isinstance(graph[scores], Threshold):
        return order
    return [*(name for name in order if name != scores), graph[scores].source]


def _constant_channels(graph: Graph, variation: Variation) -> dict[str, int]:
    """The number of constant channels of each compared layer; UserError for a dead network."""
    variation.require(_living_layers(graph))
    scores = scores_layer(graph)
    info = graph.infer()[scores]
    if isinstance(graph[scores], Threshold) and (info.lo == info.hi).all():
        variation.require([scores])  # whatever the input, it says one thing
    return {name: variation.constant_channels(name) for name in compared_layers(graph)}


def outputs_of(graph: Graph, scores: np.ndarray) -> np.ndarray:
    """Score integers as the output: classes (N,), the best (N, k), or reals (N, C) by meaning.

    Of an image (N, H, W, C) all have rows and columns after the frames.
    """
    if isinstance(graph.output, TopK):
        return greatest(graph.output.k, scores)
    if isinstance(graph.output, ArgMax):
        return scores.argmax(axis=-1)
    return graph.meanings[graph.output.name].to_real(scores)


def classes_of(graph: Graph, scores: np.ndarray) -> np.ndarray:
    """The class of each frame: the lowest index among the greatest real scores."""
    return graph.meanings[scores_layer(graph)].to_real(scores).argmax(axis=-1)


def _arranged(
    array: np.ndarray, graph: Graph, name: str, shapes: dict[str, tuple[int, ...]]
) -> np.ndarray:
    """PyTorch's integers of a layer as the layer has them: vectors of images are in tensor order.

    Images are channels last as they come, without rows where the signal has one dimension.
    """
    if array.ndim < 2 or np.prod(array.shape[1:]) != np.prod(shapes[name]):
        return array  # the gate says what is wrong with it
    if array.ndim == 2:
        return graph.meanings[name].arrange(array, shapes[name])
    return array.reshape(len(array), *shapes[name])
