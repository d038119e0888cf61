"""The integer dataflow graph: typed, frozen layers with exact integer semantics.

A graph is a tuple of layers in the order they run. Tensors are channels-last integer arrays with
the batch first: `(N, C)` for vectors, `(N, H, W, C)` for images. Every executor (numpy, RTL under
Verilator, FINN, a board) computes exactly what the layers' docstrings say. What the integers mean
as real numbers is kept beside the graph in `Meaning`, for comparisons and reports; it never enters
a computation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from deploy.errors import UserError

from .image_layers import Add, Concat, Depthwise, Flatten, MaxPool, Pad, Upsample, Window
from .int_type import BIPOLAR, IntType, TensorInfo
from .layers import ArgMax, Input, MatVec, Threshold, TopK

__all__ = [
    "BIPOLAR",
    "Add",
    "ArgMax",
    "Concat",
    "Depthwise",
    "Flatten",
    "Graph",
    "Input",
    "IntType",
    "Layer",
    "MatVec",
    "MaxPool",
    "Meaning",
    "Pad",
    "TensorInfo",
    "Threshold",
    "TopK",
    "Upsample",
    "Window",
]

Layer = (
    Input
    | Pad
    | Window
    | MatVec
    | Depthwise
    | Threshold
    | MaxPool
    | Add
    | Concat
    | Upsample
    | Flatten
    | ArgMax
    | TopK
)


@dataclass(frozen=True, eq=False)
class Meaning:
    """What a layer's integers stand for: real = scale * integer + offset, per channel.

    `tensor` names the QONNX tensor that carries those real numbers. `scale` and `offset` are
    float64 arrays of shape () or (C,). The tensor's values of a frame, in row-major order, are
    the layer's; where it is `channels_first`, channel by channel instead of pixel by pixel.
    """

    tensor: str
    scale: np.ndarray
    offset: np.ndarray
    channels_first: bool = False

    def arrange(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """An array laid out as the tensor, (N, ...), as (N, *shape), `shape` being the layer's."""
        n = len(array)
        if not self.channels_first:
            return array.reshape(n, *shape)
        return np.moveaxis(array.reshape(n, shape[-1], *shape[:-1]), 1, -1)

    def to_real(self, integers: np.ndarray) -> np.ndarray:
        """scale * integers + offset, float64."""
        return integers.astype(np.float64) * self.scale + self.offset


@dataclass(frozen=True, eq=False)
class Graph:
    """Layers in execution order; the last one is the output.

    `meanings` maps the names of the input, of every quantised layer and of the output scores to
    their real-valued meaning: these are the points at which executors are compared.
    """

    layers: tuple[Layer, ...]
    meanings: dict[str, Meaning] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for layer in self.layers:
            if layer.name in seen or not set(layer.sources) <= seen:
                raise ValueError(f"layer {layer.name!r} is named twice or runs before its source")
            seen.add(layer.name)
        if not self.layers or not isinstance(self.layers[0], Input):
            raise ValueError("a graph starts with its Input")

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise UserError("no such layer", where=name, expected=f"one of {names}")

    @property
    def input(self) -> Input:
        return self.layers[0]

    @property
    def output(self) -> Layer:
        return self.layers[-1]

    @property
    def n_readers(self) -> Counter[str]:
        """How many layers read each layer; whoever takes the output counts as one."""
        counted = Counter(source for layer in self.layers for source in layer.sources)
        counted[self.output.name] += 1
        return counted

    def infer(self) -> dict[str, TensorInfo]:
        """Shape, type and proven range of every layer's output, by layer name."""
        infos: dict[str, TensorInfo] = {}
        for layer in self.layers:
            infos[layer.name] = layer.infer(*(infos[source] for source in layer.sources))
        return infos
