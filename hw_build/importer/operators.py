"""What the importer makes of each QONNX operator: one small function per kind, and their table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hw_build.importer.branches import add, concat
from hw_build.importer.constants import CONSTANT_OPERATORS
from hw_build.importer.conv import conv
from hw_build.importer.dense import gemm, matmul
from hw_build.importer.network import Network
from hw_build.importer.pools import average_pooling, global_average, max_pooling, reduce_mean
from hw_build.importer.quantisers import bipolar_quant, quant, trunc
from hw_build.importer.resizing import pad, resize
from hw_build.importer.shapes import flatten, reshape, shape, squeeze, transpose, unsqueeze
from hw_build.importer.values import Constant, Node, Signal, Tail, Value
from hw_build.scalar import UNBOUNDED

Operator = Callable[[Node, Network], Value]


def _arithmetic(constant_second: str, constant_first: str | None, key: str) -> Operator:
    """Add, Sub, Mul, Div of data and a constant, in either order."""

    def operate(node: Node, network: Network) -> Value:
        first, second = node.inputs[0], node.inputs[1]
        if isinstance(second, Constant) and not isinstance(first, Constant):
            return elementwise(node, first, (constant_second, {key: second.value}))
        if isinstance(first, Constant) and constant_first is not None:
            name = {"sub_from": "whole"}.get(constant_first, key)
            return elementwise(node, second, (constant_first, {name: first.value}))
        if isinstance(first, Constant):
            raise node.refuse("it divides a constant by activations")
        if constant_second in ("add", "sub"):
            return add(node, network, 1 if constant_second == "add" else -1)
        raise node.refuse(
            "it multiplies or divides activations by activations",
            expected="sums and differences of two activations, products with constants",
        )

    return operate


def elementwise(node: Node, x: Value | None, *steps: tuple[str, dict]) -> Value:
    """A signal with more steps; behind the network's end one more thing for the host to do."""
    match x:
        case Signal():
            return node.extended(x, *steps)
        case Tail() if not x.n_best:
            return replace(x, operators=(*x.operators, node.op))
    raise node.refuse("it does arithmetic on the class or on constants alone")


def _div(node: Node, network: Network) -> Value:
    if isinstance(node.inputs[1], Constant) and not node.inputs[1].value.all():
        raise node.refuse("it divides by 0")
    return _arithmetic("div", None, "by")(node, network)


def batch_normalization(node: Node, network: Network) -> Value:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, in the order of ONNX's definition."""
    if node.attributes.get("training_mode", 0):
        raise node.refuse(
            "the batch norm is in training mode", fix="export the network in evaluation mode"
        )
    roles = ("gamma", "beta", "mean", "variance")
    gamma, beta, mean, variance = (
        node.constant(i + 1, role).value.astype(np.float64) for i, role in enumerate(roles)
    )
    variance = variance + node.real("epsilon", 1e-5)
    if not (variance > 0).all():
        raise node.refuse("the variance is not positive", found=str(variance.min()))
    deviation = np.sqrt(variance)
    x = node.inputs[0]
    if isinstance(x, Signal) and len(x.shape) > 1:  # (batch, C, ...): parameters run along C
        along = (-1, *(1 for _ in x.shape[1:]))
        gamma, beta, mean, deviation = (p.reshape(along) for p in (gamma, beta, mean, deviation))
    return elementwise(
        node,
        x,
        ("sub", {"less": mean}),
        ("mul", {"by": gamma}),
        ("div", {"by": deviation}),
        ("add", {"to": beta}),
    )


def relu(node: Node, network: Network) -> Value:
    return elementwise(node, node.inputs[0], ("clip", {"low": 0.0, "high": UNBOUNDED}))


def clip(node: Node, network: Network) -> Value:
    low, high = (
        node.scalar(i, f"{key} bound") if node.has(i) else float(node.attributes.get(key, default))
        for i, key, default in ((1, "min", -UNBOUNDED), (2, "max", UNBOUNDED))
    )
    bounds = {"low": max(low, -UNBOUNDED), "high": min(high, UNBOUNDED)}
    return elementwise(node, node.inputs[0], ("clip", bounds))


def leaky_relu(node: Node, network: Network) -> Value:
    slope = node.real("alpha", 0.01)
    return elementwise(node, node.inputs[0], ("leaky", {"slope": slope}))


def prelu(node: Node, network: Network) -> Value:
    slope = node.constant(1, "slope").value
    return elementwise(node, node.inputs[0], ("leaky", {"slope": slope}))


def hard_sigmoid(node: Node, network: Network) -> Value:
    """max(0, min(1, alpha * x + beta))."""
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
    bounds = {"low": 0.0, "high": 1.0}
    steps = (("mul", {"by": alpha}), ("add", {"to": beta}), ("clip", bounds))
    return elementwise(node, node.inputs[0], *steps)


def _plain(op: str) -> Operator:
    return lambda node, network: elementwise(node, node.inputs[0], (op, {}))


def negative(node: Node, network: Network) -> Value:
    return elementwise(node, node.inputs[0], ("mul", {"by": -1.0}))


def unchanged(node: Node, network: Network) -> Value:
    """Operators that change no value of a network in evaluation."""
    x = node.inputs[0]
    if node.op == "Dropout" and node.has(2) and node.constant(2, "mode").value.any():
        raise node.refuse(
            "the dropout is in training mode", fix="export the network in evaluation mode"
        )
    return replace(x, tensor=node.outputs[0]) if isinstance(x, Signal) else x


def cast(node: Node, network: Network) -> Value:
    """A cast of data to a floating type; float64 evaluation knows only one."""
    to = int(node.attributes.get("to", 1))
    if isinstance(node.inputs[0], Signal) and to not in _FLOAT_TYPES:
        raise node.refuse("it casts activations to a type that truncates", found=f"ONNX type {to}")
    return unchanged(node, network)


_FLOAT_TYPES = (1, 11)  # TensorProto.FLOAT and DOUBLE: what float64 evaluation holds


def softmax(node: Node, network: Network) -> Value:
    x = node.inputs[0]
    axis = int(node.attributes.get("axis", -1))
    if isinstance(x, Signal) and not _along_channels(x, axis):
        raise node.refuse("it doesn't run along the channels", found=f"axis {axis}")
    return _ended(node, x)


def _along_channels(signal: Signal, axis: int) -> bool:
    """Whether an axis, counted with the batch, is the one of a layer's channels."""
    return axis != 0 and signal.layout.runs_along(axis - 1 if axis > 0 else axis)


def arg_max(node: Node, network: Network) -> Value:
    """The lowest index of the greatest score."""
    axis = int(node.attributes.get("axis", 0))
    if node.attributes.get("select_last_index", 0):
        raise node.refuse(
            "it takes the last of equal scores", expected="select_last_index 0: the lowest index"
        )
    return _best_along(node, axis, 1)


def top_k(node: Node, network: Network) -> Value:
    """The indices of the k greatest scores, the greatest first, the lowest among equals."""
    counts = node.integers(1, "k")
    if counts is None or len(counts) != 1:
        raise node.refuse("k is not one number", found=f"k = {counts}")
    if not node.attributes.get("largest", 1):
        raise node.refuse("it takes the least scores", found="largest = 0", expected="largest = 1")
    if counts[0] > 1 and not node.attributes.get("sorted", 1):
        raise node.refuse(
            "its indices have no defined order", found="sorted = 0", expected="sorted = 1"
        )
    return _best_along(node, int(node.attributes.get("axis", -1)), counts[0])


def _best_along(node: Node, axis: int, k: int) -> Tail:
    ended = _ended(node, node.inputs[0])
    if not _along_channels(ended.signal, axis):
        raise node.refuse("it doesn't run along the channels", found=f"axis {axis}")
    n = ended.signal.shape[axis - 1 if axis > 0 else axis]
    if not 1 <= k <= n:
        raise node.refuse("there are not so many scores", found=f"k = {k}", expected=f"1 to {n}")
    return replace(ended, n_best=k)


def _ended(node: Node, x: Value | None) -> Tail:
    match x:
        case Signal():
            return Tail(x, (node.op,))
        case Tail() if not x.n_best:
            return replace(x, operators=(*x.operators, node.op))
    raise node.refuse("it needs the network's scores")


OPERATORS: dict[str, Operator] = {
    "Quant": quant,
    "IntQuant": quant,
    "BipolarQuant": bipolar_quant,
    "Trunc": trunc,
    "MatMul": matmul,
    "Gemm": gemm,
    "Conv": conv,
    "MaxPool": max_pooling,
    "AveragePool": average_pooling,
    "GlobalAveragePool": global_average,
    "ReduceMean": reduce_mean,
    "Concat": concat,
    "Resize": resize,
    "Upsample": resize,
    "Pad": pad,
    "Add": _arithmetic("add", "add", "to"),
    "Sub": _arithmetic("sub", "sub_from", "less"),
    "Mul": _arithmetic("mul", "mul", "by"),
    "Div": _div,
    "Neg": negative,
    "BatchNormalization": batch_normalization,
    "Relu": relu,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Clip": clip,
    "HardSigmoid": hard_sigmoid,
    "Sigmoid": _plain("sigmoid"),
    "Tanh": _plain("tanh"),
    "Abs": _plain("abs"),
    "Identity": unchanged,
    "Dropout": unchanged,
    "Cast": cast,
    "Shape": shape,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Softmax": softmax,
    "LogSoftmax": softmax,
    "ArgMax": arg_max,
    "TopK": top_k,
}
"""Operator -> function, for operators that read the network's data."""

KNOWN = sorted(set(OPERATORS) | set(CONSTANT_OPERATORS))
