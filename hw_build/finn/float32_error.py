"""How far a float32 execution may lie beside the real numbers: a bound, value by value.

Where no term of a sum of products is rounded more than n times on its way, the float32 result
lies within

    gamma(n) * S,   gamma(n) = min(n, 8 sqrt(n)) u / (1 - n u),   u = 2**-24,

of the real one, S being the sum of the terms' magnitudes, whatever the order of summation. With n
that is always so (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3); with
8 sqrt(n), which is less from n = 65 on, but for one value in 10**9 or fewer, as rounding errors do
not conspire (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci.
Comput. 41, 2019: the share is at most 2 n exp(-8**2 / 2)).

S is what the same graph makes of the magnitudes of its inputs, constants and quantised tensors; n
is counted along the graph, from one quantised tensor to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

from hw_build.oracle import Oracle

UNIT = 2.0**-24
EXACT = (
    *("Cast", "Concat", "Dropout", "Flatten", "Gather", "Identity", "MaxPool", "Neg"),
    *("Pad", "Relu", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Clip"),
)
ONCE = ("Add", "Sub", "Mul", "Div")
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
OTHER = 8
"""Roundings of an operator that is neither a sum nor in one of these lists. Batch norm,
(x - mean) * (gamma / sqrt(variance + epsilon)) + beta, has seven, in whatever order."""

GENTLE = ("Clip", "HardSigmoid", "Sigmoid", "Tanh")
"""Functions of a slope of at most 1 and, but for Clip, which does not round, values of at most 1:
S + 1 stands for their result."""


class Float32Error:
    """Bounds for a graph in which the tensors named in `quantised` are known exactly.

    `converted` is the graph that is executed in float32, with the shapes of its tensors.

    Raises:
        UserError: an operator that the oracle does not know.
    """

    def __init__(self, converted: ModelProto, quantised: Sequence[str]) -> None:
        self._roundings = roundings(converted, quantised)
        self._oracle = Oracle(magnitudes(converted))

    def __call__(
        self, inputs: np.ndarray, given: Mapping[str, np.ndarray], tensors: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """By tensor, how far each value may be off: (N, ...) float64.

        `inputs` are the graph's, `given` the quantised tensors' values, (N, ...) each.
        """
        known = {name: np.abs(values) for name, values in given.items()}
        sums = self._oracle.run(np.abs(inputs), tensors, known)
        return {name: gamma(self._roundings[name]) * sums[name] for name in tensors}


def gamma(n: int) -> float:
    """The relative error of n roundings."""
    return min(n, 8 * math.sqrt(n)) * UNIT / (1 - n * UNIT)


def roundings(model: ModelProto, quantised: Sequence[str]) -> dict[str, int]:
    """How often a term of each tensor was rounded since the quantised tensors, at most."""
    graph, shapes = model.graph, _shapes(model)
    counts = {each.name: 0 for each in graph.input}
    for node in graph.node:
        live = [counts[name] for name in node.input if name in counts]
        if not live:
            continue
        before = sum(live) if node.op_type in ("Mul", "MatMul") else max(live)
        for name in node.output:
            # A level times its scale is rounded once, where it isn't the level itself.
            counts[name] = 1 if name in quantised else before + _roundings_of(node, shapes)
    return counts


def _roundings_of(node: NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    if node.op_type == "MatMul":
        return shapes[node.input[0]][-1]
    if node.op_type == "Conv":
        return math.prod(shapes[node.input[1]][1:]) + 1
    if node.op_type in AVERAGES:
        return math.prod(shapes[node.input[0]][2:]) + 1  # over all pixels, at most
    if node.op_type in EXACT:
        return 0
    return 1 if node.op_type in ONCE else OTHER


def magnitudes(model: ModelProto) -> ModelProto:
    """The graph that makes sums of magnitudes of the magnitudes of its inputs."""
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    negative = {node.input[3] for node in graph.node if node.op_type == "BatchNormalization"}
    for tensor in graph.initializer:
        array = to_array(tensor)
        if array.dtype.kind == "f":
            sign = -1 if tensor.name in negative else 1  # x - mean adds |mean|
            tensor.CopyFrom(from_array(sign * np.abs(array), tensor.name))
    one = "one of the bound"
    graph.initializer.append(from_array(np.float32(1), one))
    for node in graph.node:
        if node.op_type == "Sub":
            node.op_type = "Add"
        elif node.op_type == "Neg":
            node.op_type = "Identity"
        elif node.op_type in GENTLE:
            node.CopyFrom(make_node("Add", [node.input[0], one], list(node.output), node.name))
    return result


def _shapes(model: ModelProto) -> dict[str, list[int]]:
    graph = model.graph
    shapes = {
        each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (*graph.input, *graph.value_info, *graph.output)
    }
    return shapes | {each.name: list(each.dims) for each in graph.initializer}
