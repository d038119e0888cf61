"""The integer graph in FINN's own dialect: integer MatMul, Im2Col and MultiThreshold in QONNX.

Nothing is left for FINN's streamlining to do: weights and thresholds are integers held in float32,
every tensor carries its QONNX data type, one vector is (1, C) and one image (1, H, W, C). What is
FINN's own way of holding and counting is in `carried` and `multi_threshold`. Its binary unit counts
agreements: +-1 weights on a bipolar vector of n entries become `XnorPopcountMatMul` on {0, 1} and
yield the popcount p of y = 2 * p - n.

`FinnModel.carried` says for every layer which tensor holds it and how its values read.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from qonnx.core.modelwrapper import ModelWrapper

from deploy.errors import UserError
from hw_build.graph import (
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    MatVec,
    MaxPool,
    Pad,
    Threshold,
    TopK,
    Upsample,
    Window,
)

from .carried import Carried
from .writer import Writer

NOT_WRITTEN = {
    Depthwise: "a depthwise convolution, an average pool, or factors per channel",
    Add: "a residual connection",
    Concat: "branches joined",
    Upsample: "pixels repeated",
    TopK: "the indices of several scores",
}
"""Layers that the dialect is not written for, and what they are in a network."""


@dataclass(frozen=True, eq=False)
class FinnModel:
    """A QONNX model in FINN's dialect and, by layer name, how it carries the graph's integers.

    `standalone_thresholds` tells whether FINN shall keep Threshold layers apart from the
    matrix-vector units. It decides how bipolar vectors are written, so it is settled here.
    `windows` maps each MaxPool to its Window, which FINN makes itself.
    """

    model: ModelWrapper
    carried: dict[str, Carried]
    standalone_thresholds: bool
    windows: dict[str, str]


def to_finn(graph: Graph, *, standalone_thresholds: bool = False) -> FinnModel:
    """Write `graph`, a chain of layers on vectors and images, in FINN's dialect.

    Raises:
        UserError: a layer or a wiring that the dialect is not written for, or numbers that
            float32, in which FINN computes, does not hold exactly.
    """
    _refuse_kinds(graph)
    _refuse_wiring(graph)
    writer = Writer(graph, standalone_thresholds)
    windows: dict[str, str] = {}
    for index, layer in enumerate(graph):
        behind = graph.layers[index + 1 :]
        match layer:
            case Input():
                writer.add_input(layer, behind)
            case MatVec():
                writer.add_matvec(layer)
            case Threshold():
                writer.add_threshold(layer, behind)
            case Pad():
                writer.add_pad(layer)
            case Window() if behind and isinstance(behind[0], MaxPool):
                writer.keep(layer)  # FINN's max pool has its window in it
                windows[behind[0].name] = layer.name
            case Window():
                writer.add_window(layer)
            case MaxPool():
                writer.add_max_pool(layer, graph[layer.source])
            case Flatten():
                writer.add_flatten(layer)
            case ArgMax():
                writer.add_argmax(layer)
    return FinnModel(writer.model(), writer.carried, standalone_thresholds, windows)


def _refuse_kinds(graph: Graph) -> None:
    for layer in graph:
        if isinstance(layer, tuple(NOT_WRITTEN)):
            raise UserError(
                "FINN's dialect is not written for this layer",
                where=layer.name,
                found=f"{type(layer).__name__}: {NOT_WRITTEN[type(layer)]}",
                expected="a chain of Input, Pad, Window, MatVec, Threshold, MaxPool, Flatten and "
                "ArgMax",
                fix="our own RTL takes it: `run` with --backend rtl",
            )


def _refuse_wiring(graph: Graph) -> None:
    infos = graph.infer()
    for before, layer in pairwise(graph):
        if layer.sources != (before.name,):
            raise UserError(
                "FINN's dialect is written for chains of layers",
                where=layer.name,
                found=f"reads {', '.join(layer.sources)}",
                expected=f"reads {before.name}, the layer before it",
            )
        if isinstance(layer, MaxPool) and not isinstance(before, Window):
            raise UserError(
                "FINN pools what lies under a window",
                where=layer.name,
                found=f"reads {before.name}",
            )
        if isinstance(layer, ArgMax) and infos[before.name].n_pixels > 1:
            raise UserError(
                "FINN's dialect takes the class of a vector, not of every pixel",
                where=layer.name,
                found=f"scores of shape {infos[before.name].shape}",
            )
        ends = isinstance(before, Input) or layer is graph.output
        if isinstance(layer, Flatten) and ends:
            raise UserError(
                "FINN drops a Flatten between two layers of hardware, and knows no other",
                where=layer.name,
                found="the input's" if isinstance(before, Input) else "the output's",
            )
