"""Runs the executors of one network on the same inputs and holds them against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .gates import (
    GateResult,
    argmax_ties,
    compare,
    compare_layers,
    constant_channels,
    decode,
    require_variation,
)
from .golden import execute
from .graph import ArgMax, Graph, Input, Threshold
from .graph_file import Imported
from .oracle import Oracle
from .vectors import Vectors


@dataclass(frozen=True, eq=False)
class Checked:
    """What the software executors agreed on.

    `integers` are the accelerator's inputs, `layers` the golden model's results by layer name,
    `oracle_scores` the oracle's decoded output accumulators (or output levels).
    """

    integers: np.ndarray
    layers: dict[str, np.ndarray]
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
    """The layer whose integers are the network's scores: what an arg max at the end looks at."""
    return graph.output.source if isinstance(graph.output, ArgMax) else graph.output.name


def check_software(imported: Imported, model: Path, vectors: Vectors) -> Checked:
    """PyTorch (where its results are known) = oracle = golden model, integer by integer.

    Raises:
        GateError: naming the first differing layer, index, expected and got.
        UserError: the network is dead.
    """
    graph = imported.graph
    gates: list[GateResult] = []
    integers = imported.quantiser(vectors.inputs)
    order = compared_layers(graph)
    scores = scores_layer(graph)
    accumulators = [graph[scores].source] if isinstance(graph[scores], Threshold) else []
    layers = execute(graph, integers, keep=[*order, *accumulators, scores, graph.output.name])
    shapes = {name: info.shape for name, info in graph.infer().items()}

    oracle = Oracle(model)
    meanings = {name: graph.meanings[name] for name in (graph.input.name, *order)}
    own_shape = vectors.inputs.reshape(len(vectors.inputs), *imported.input_shape)
    reals = oracle.run(own_shape, [meaning.tensor for meaning in meanings.values()])
    decoded = {
        name: decode(meaning.arrange(reals[meaning.tensor], shapes[name]), meaning, name)
        for name, meaning in meanings.items()
    }
    golden = {graph.input.name: integers, **layers}
    gates.append(
        compare_layers("float64 QONNX oracle = golden model", decoded, golden, list(meanings))
    )

    if vectors.torch_inputs is not None:
        gates.append(
            compare(
                "PyTorch = input quantiser",
                graph.input.name,
                _arranged(vectors.torch_inputs, graph, graph.input.name, shapes),
                integers,
            )
        )
    known = {
        name: vectors.activations[meaning.tensor]
        for name, meaning in meanings.items()
        if meaning.tensor in vectors.activations
    }
    if known:
        n = min(len(array) for array in known.values())
        known = {name: _arranged(array[:n], graph, name, shapes) for name, array in known.items()}
        first = {name: golden[name][:n] for name in known}
        gates.append(
            compare_layers("PyTorch = golden model, activations", known, first, list(known))
        )
    if vectors.torch_integers is not None:
        gates.append(
            compare(
                "PyTorch = golden model, scores",
                scores,
                _arranged(vectors.torch_integers, graph, scores, shapes),
                layers[scores],
            )
        )
    variation = _require_life(graph, layers, order)
    return Checked(
        integers=integers,
        layers=layers,
        oracle_scores=decoded[scores],
        gates=tuple(gates),
        constant_channels=variation,
        ties=argmax_ties(layers[scores]) if layers[scores].shape[-1] > 1 else None,
    )


def _require_life(graph: Graph, layers: dict[str, np.ndarray], order: list[str]) -> dict[str, int]:
    """The number of constant channels of each layer in `order`; UserError for a dead network.

    A quantiser that ends the network may well say one thing to all these inputs, like a class:
    its accumulators have to vary then, and its proven range.
    """
    scores = scores_layer(graph)
    if not isinstance(graph[scores], Threshold):
        return require_variation({name: layers[name] for name in order})
    varying = [*(name for name in order if name != scores), graph[scores].source]
    counts = require_variation({name: layers[name] for name in varying})
    info = graph.infer()[scores]
    if (info.lo == info.hi).all():
        counts |= require_variation({scores: layers[scores]})
    return {name: counts.get(name, constant_channels(layers[name])) for name in order}


def outputs_of(graph: Graph, scores: np.ndarray) -> np.ndarray:
    """Score integers as the network's output: classes (N,), or reals (N, C) by their meaning.

    Of an image (N, H, W, C) both have rows and columns after the frames.
    """
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
