"""The quantisers of activations in a QONNX graph, and the tensor of its scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto
from onnx.helper import get_attribute_value
from onnx.numpy_helper import to_array

from deploy.errors import GateError

QUANTISERS = ("Quant", "IntQuant", "BipolarQuant")
TAIL = ("ArgMax", "Identity", "LogSoftmax", "Sigmoid", "Softmax", "TopK")
"""What follows the scores and is no part of an accelerator."""

FLOAT32_STEP = 2.0**-22
"""A level times a scale, rounded to float32 and divided by the scale again, is so near, relatively,
to the level: one rounding makes 2**-24."""


@dataclass(frozen=True, eq=False)
class Quantiser:
    """A Quant or BipolarQuant of activations.

    `tensor` is what it makes, level * scale, and `name` what the file calls that; `source` is what
    it rounds, which is a ReLU's result where it is `of_relu`. `scale` broadcasts with the tensor,
    float64. Levels are `step` apart: 2 of a bipolar one, 1 of others.
    """

    name: str
    tensor: str
    source: str
    of_relu: bool
    scale: np.ndarray
    step: int
    rounding: str

    def levels(self, values: np.ndarray, start: int = 0) -> np.ndarray:
        """The levels of values (N, ...), float64; `start` is the number of the first frame.

        Raises:
            GateError: a value that is no level times the scale.
        """
        steps = np.asarray(values, np.float64) / self.scale
        levels = np.rint(steps)
        off = ~(np.abs(steps - levels) <= FLOAT32_STEP * np.abs(levels))
        if off.any():
            index = tuple(np.argwhere(off)[0].tolist())
            raise GateError(
                "FINN's value is no level of the quantiser",
                where=place(self.name, index, start),
                found=f"{values[index]}, which is {steps[index]} steps",
                expected="whole steps",
            )
        return levels


def place(tensor: str, index: tuple[int, ...], start: int) -> str:
    """Where a value is, for a message."""
    return f"tensor {tensor}, frame {start + index[0]}, index {index[1:]}"


def quantisers_of(model: ModelProto, file: ModelProto | None = None) -> list[Quantiser]:
    """Those that round what depends on the graph's input, in the graph's order.

    Args:
        model: a graph that qonnx has cleaned up: scales and bit widths are initialisers.
        file: what it was before, for the names.
    """
    constants = {each.name: each for each in model.graph.initializer}
    nodes = _nodes_of(model)
    names = [node.output[0] for node in (_nodes_of(file) if file else nodes)]
    relus = {node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    found = []
    for name, node in zip(names, nodes, strict=True):
        attributes = {each.name: get_attribute_value(each) for each in node.attribute}
        bipolar = node.op_type == "BipolarQuant" or (
            attributes.get("signed", 1) and to_array(constants[node.input[3]]).item() == 1
        )
        found.append(
            Quantiser(
                name=name,
                tensor=node.output[0],
                source=node.input[0],
                of_relu=node.input[0] in relus,
                scale=to_array(constants[node.input[1]]).astype(np.float64),
                step=2 if bipolar else 1,
                rounding=attributes.get("rounding_mode", b"ROUND").decode().upper(),
            )
        )
    return found


def _nodes_of(model: ModelProto) -> list[NodeProto]:
    """The nodes of quantisers of activations."""
    live = {each.name for each in model.graph.input}
    live -= {each.name for each in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if not live.isdisjoint(node.input):
            live.update(node.output)
            if node.op_type in QUANTISERS:
                found.append(node)
    return found


def rounded_by(converted: ModelProto, tensor: str) -> str:
    """The tensor that FINN compares with thresholds, or rounds, to make a quantiser's `tensor`.

    FINN takes a ReLU in front away, and puts the least level and the scale behind. Where the graph
    does not make `tensor`, that itself.
    """
    made_by = {name: node for node in converted.graph.node for name in node.output}
    while tensor in made_by and made_by[tensor].op_type in ("Add", "Mul"):
        tensor = next(name for name in made_by[tensor].input if name in made_by)
    return made_by[tensor].input[0] if tensor in made_by else tensor


def scores_of(model: ModelProto) -> str:
    """The tensor that an arg max or a softmax at the end looks at; without, the output."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    tensor = model.graph.output[0].name
    while tensor in made_by and made_by[tensor].op_type in TAIL:
        tensor = made_by[tensor].input[0]
    return tensor
