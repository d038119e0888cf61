"""Operators on constants alone: parameters that are still computed, and arithmetic of shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype

from hw_build.importer.values import Constant, Node

Fold = Callable[[Node], Constant]


def widened(array: np.ndarray) -> np.ndarray:
    """A constant as the importer computes with it: float64, or int64 for integers and bools."""
    with np.errstate(invalid="ignore"):  # a signalling nan; who computes with it, refuses it
        return array.astype(np.int64 if array.dtype.kind in "biu" else np.float64)


def fold(node: Node) -> Constant:
    """The value of a node all of whose inputs are constants."""
    return CONSTANT_OPERATORS[node.op](node)


def _constant(node: Node) -> Constant:
    for key, value in node.attributes.items():
        if key == "value":
            return Constant(widened(numpy_helper.to_array(value)))
        if key in ("value_float", "value_floats", "value_int", "value_ints"):
            return Constant(widened(np.asarray(value)))
    raise node.refuse("it holds no numbers", found=", ".join(node.attributes) or "nothing")


def _constant_of_shape(node: Node) -> Constant:
    shape = node.constant(0, "shape").value.astype(np.int64)
    value = node.attributes.get("value")
    fill = np.zeros(1) if value is None else numpy_helper.to_array(value)
    return Constant(widened(np.full(shape, fill.reshape(-1)[0])))


def _values(node: Node) -> list[np.ndarray]:
    return [value.value for value in node.inputs if isinstance(value, Constant)]


def _elementwise(function: Callable[..., np.ndarray]) -> Fold:
    return lambda node: Constant(np.asarray(function(*_values(node))))


def _scaling(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Fold:
    """Mul or Div: quantised weights keep their integers, and their scale takes the factor."""

    def operate(node: Node) -> Constant:
        first, second = node.constant(0, "first input"), node.constant(1, "second input")
        if first.integers is None and second.integers is not None and function is np.multiply:
            first, second = second, first
        if first.integers is not None and first.scale is not None:
            scale = function(first.scale, second.value.astype(np.float64))
            if scale.shape == first.integers.shape:
                return Constant(scale * first.integers, first.integers, scale)
        values = first.value, second.value
        if function is np.divide and all(value.dtype.kind == "i" for value in values):
            return Constant(values[0] // values[1])
        return Constant(np.asarray(function(*values)))

    return operate


def _cast(node: Node) -> Constant:
    kind = np.dtype(tensor_dtype_to_np_dtype(int(node.attributes["to"])))
    if kind.kind not in "biu":
        return node.constant(0, "input").rearranged(lambda array: array)
    return Constant(widened(node.constant(0, "input").value.astype(kind)))


def _move(make: Callable[[Node], Callable[[np.ndarray], np.ndarray]]) -> Fold:
    return lambda node: node.constant(0, "input").rearranged(make(node))


def _transpose(node: Node) -> Callable[[np.ndarray], np.ndarray]:
    order = node.attributes.get("perm")
    return lambda array: np.transpose(array, order)


def _reshape(node: Node) -> Callable[[np.ndarray], np.ndarray]:
    target = node.integers(1, "shape") or []
    return lambda array: array.reshape(
        [array.shape[i] if n == 0 else n for i, n in enumerate(target)]
    )


def _flatten(node: Node) -> Callable[[np.ndarray], np.ndarray]:
    axis = int(node.attributes.get("axis", 1))
    return lambda array: array.reshape(int(np.prod(array.shape[:axis])), -1)


def _squeeze(node: Node) -> Callable[[np.ndarray], np.ndarray]:
    axes = node.integers(1, "axes")
    return lambda array: np.squeeze(array, None if axes is None else tuple(axes))


def _unsqueeze(node: Node) -> Callable[[np.ndarray], np.ndarray]:
    axes = tuple(node.integers(1, "axes") or ())
    return lambda array: np.expand_dims(array, axes)


def _concat(node: Node) -> Constant:
    axis = int(node.attributes["axis"])
    return Constant(np.concatenate([np.atleast_1d(array) for array in _values(node)], axis))


def _gather(node: Node) -> Constant:
    data, indices = node.constant(0, "data").value, node.constant(1, "indices").value
    axis = int(node.attributes.get("axis", 0))
    return Constant(np.asarray(np.take(data, indices.astype(np.int64), axis)))


def _slice(node: Node) -> Constant:
    data = node.constant(0, "data").value
    starts, ends = node.integers(1, "starts") or [], node.integers(2, "ends") or []
    axes = node.integers(3, "axes") or list(range(len(starts)))
    steps = node.integers(4, "steps") or [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return Constant(data[tuple(index)])


CONSTANT_OPERATORS: dict[str, Fold] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Identity": _move(lambda node: lambda array: array),
    "Cast": _cast,
    "Transpose": _move(_transpose),
    "Reshape": _move(_reshape),
    "Flatten": _move(_flatten),
    "Squeeze": _move(_squeeze),
    "Unsqueeze": _move(_unsqueeze),
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Mul": _scaling(np.multiply),
    "Div": _scaling(np.divide),
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Neg": _elementwise(np.negative),
    "Sqrt": _elementwise(np.sqrt),
    "Pow": _elementwise(np.power),
    "Reciprocal": _elementwise(np.reciprocal),
    "Abs": _elementwise(np.abs),
    "ReduceProd": _elementwise(lambda array, *_: np.prod(array)),
}
"""Operator -> fold, for nodes whose inputs are all constants (and for Constant itself)."""
