"""Builds the integer graph while the importer walks through the QONNX nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from deploy.errors import UserError
from hw_build.graph import Graph, Layer, Meaning, TensorInfo
from hw_build.importer.affine import Affine
from hw_build.importer.layout import Layout
from hw_build.input_quantiser import InputQuantiser
from hw_build.scalar import Step


@dataclass
class Network:
    """The layers so far, the ranges proven for them, and what their integers mean.

    `integer_input` is the quantiser of integer inputs that the file annotates or the user
    declares, None where the inputs are real numbers; `input_refusal` says what is wrong with an
    annotation that can't be used, `seen_type` that the user's inputs were all there was to go by.
    `input_steps` are those that the host takes, `input_places` where the model's input values, in
    row-major order, lie in the Input layer. `activations` are layers whose integers the next layer
    may take as they are; `shared` those whose integers go several ways before they are quantised.
    `layouts` holds those of QONNX tensors.
    """

    input_shape: tuple[int, ...]
    input_name: str
    integer_input: InputQuantiser | None = None
    input_refusal: UserError | None = None
    seen_type: str = ""
    quantiser: InputQuantiser | None = None
    input_steps: tuple[Step, ...] = ()
    input_places: np.ndarray | None = None
    layers: list[Layer] = field(default_factory=list)
    infos: dict[str, TensorInfo] = field(default_factory=dict)
    meanings: dict[str, Meaning] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    activations: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def graph(self) -> Graph:
        return Graph(tuple(self.layers), dict(self.meanings))

    def append(self, layer: Layer) -> str:
        """Adds a layer and proves its ranges; its name."""
        self.layers.append(layer)
        self.infos[layer.name] = layer.infer(*(self.infos[name] for name in layer.sources))
        return layer.name

    def swap(self, layer: Layer) -> None:
        """Puts a layer in the place of one of its name that nothing has read yet."""
        index = next(i for i, old in enumerate(self.layers) if old.name == layer.name)
        self.layers[index] = layer
        self.infos[layer.name] = layer.infer(*(self.infos[name] for name in layer.sources))

    def __getitem__(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)

    def numbered(self, kind: str) -> str:
        """The name of the next layer of a kind: conv0, conv1, ..."""
        self.counts[kind] += 1
        return f"{kind}{self.counts[kind] - 1}"

    def beside(self, name: str) -> str:
        """`name`, or one with a number behind it where a layer has it already."""
        taken = name in self.infos
        self.counts[name] += taken
        return f"{name}{self.counts[name] + 1}" if taken else name

    def mean(self, name: str, tensor: str, affine: Affine) -> None:
        """Records what a layer's integers stand for in a QONNX tensor."""
        layout, shape = self.layouts[tensor], self.infos[name].shape
        if layout.shape != shape:  # of a tensor that was made before the Input was an image
            layout = Layout(self.input_places[layout.places], shape)
        if layout.channels_first is None:
            raise UserError(
                "activations are rearranged before their quantiser",
                where=f"tensor {tensor}",
                expected="images as (C, H, W) or (H, W, C) where they are quantised",
                fix="quantise first and rearrange then",
            )
        scale, offset = np.asarray(affine.slope), np.asarray(affine.total_offset)
        self.meanings[name] = Meaning(tensor, scale, offset, layout.channels_first)
