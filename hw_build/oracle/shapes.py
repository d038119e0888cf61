"""Operators of ONNX that move, shape and select: they copy numbers and compute none."""

from __future__ import annotations

import math

import numpy as np
from onnx.numpy_helper import to_array

from hw_build.oracle.call import Arrays, Call, Operator, optional


def reshape(call: Call, inputs: Arrays) -> np.ndarray:
    """As ONNX defines it, but for one rule: a file's own batch size stands for the frames.

    Where a batched array's target starts with the batch size that the file was written with, that
    entry becomes the number of frames. A target computed by Shape has them already.
    """
    x, target = inputs[0], [int(size) for size in inputs[1]]
    if not call.attribute("allowzero", 0):
        target = [x.shape[i] if size == 0 else size for i, size in enumerate(target)]
    if call.batched[0] and target[:1] == [call.file_batch]:
        target[0] = call.frames
    return x.reshape(target)


def flatten(call: Call, inputs: Arrays) -> np.ndarray:
    """(product of the axes before `axis`, product of the rest)."""
    (x,) = inputs
    axis = call.attribute("axis", 1)
    rows = math.prod(x.shape[: axis + x.ndim if axis < 0 else axis])
    return x.reshape(rows, -1)


def transpose(call: Call, inputs: Arrays) -> np.ndarray:
    """Axes reordered by `perm`, reversed without."""
    (x,) = inputs
    perm = call.attribute("perm", range(x.ndim)[::-1])
    if call.batched[0] and perm[0] != 0:
        raise call.refuse("the batch axis is moved", found=f"perm {list(perm)}")
    return np.transpose(x, perm)


def _axes(call: Call, inputs: Arrays) -> list[int] | None:
    """`axes`, an attribute before opset 13, an optional input since."""
    axes = optional(inputs, 1)
    return call.attribute("axes") if axes is None else [int(axis) for axis in axes]


def squeeze(call: Call, inputs: Arrays) -> np.ndarray:
    """Axes of size 1 removed: those named, or all but the batch."""
    x, axes = inputs[0], _axes(call, inputs)
    if axes is None:
        axes = [i for i in range(int(call.batched[0]), x.ndim) if x.shape[i] == 1]
    return np.squeeze(x, tuple(call.axis(axis, x.ndim) for axis in axes))


def unsqueeze(call: Call, inputs: Arrays) -> np.ndarray:
    """Axes of size 1 put in."""
    x, axes = inputs[0], _axes(call, inputs)
    return np.expand_dims(x, tuple(call.axis(axis, x.ndim + len(axes)) for axis in axes))


def shape(call: Call, inputs: Arrays) -> np.ndarray:
    """The shape, with the true number of frames."""
    return np.array(inputs[0].shape, np.int64)[call.attribute("start", 0) : call.attribute("end")]


def gather(call: Call, inputs: Arrays) -> np.ndarray:
    """Entries of one axis, by index."""
    data, indices = inputs
    if call.batched[1]:
        raise call.refuse("indices that depend on the input")
    return np.take(data, indices, axis=call.axis(call.attribute("axis", 0), data.ndim))


def concat(call: Call, inputs: Arrays) -> np.ndarray:
    """Arrays joined along one axis."""
    if len(set(call.batched)) > 1:
        raise call.refuse("a join of constants with batched tensors")
    return np.concatenate(inputs, axis=call.axis(call.attributes["axis"], inputs[0].ndim))


def slice_(call: Call, inputs: Arrays) -> np.ndarray:
    """Ranges of some axes; all arguments are attributes before opset 10, inputs since."""
    x = inputs[0]
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (
        call.attribute(name) if value is None else [int(v) for v in value]
        for name, value in zip(names, [optional(inputs, i) for i in range(1, 5)], strict=True)
    )
    chosen = [slice(None)] * x.ndim
    for axis, start, end, step in zip(
        axes or range(len(starts)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        everything = start == 0 and end >= 2**31 - 1 and step == 1
        if not everything:
            chosen[call.axis(axis, x.ndim)] = slice(start, end, step)
    return x[tuple(chosen)]


def constant(call: Call, inputs: Arrays) -> np.ndarray:
    """A tensor, or a number or list of numbers, in an attribute."""
    for name, value in call.attributes.items():
        if name == "value":
            return widen(to_array(value))
        if name in ("value_float", "value_floats", "value_int", "value_ints"):
            return widen(np.asarray(value))
    raise call.refuse("a constant of an unsupported kind", found=", ".join(call.attributes))


def constant_of_shape(call: Call, inputs: Arrays) -> np.ndarray:
    """An array of one value, a float32 0 where none is given."""
    value = call.attributes.get("value")
    fill = np.zeros(1) if value is None else widen(to_array(value)).reshape(-1)
    return np.full([int(size) for size in inputs[0]], fill[0])


def reduce_prod(call: Call, inputs: Arrays) -> np.ndarray:
    """The product of a constant's entries, as arithmetic of shapes needs it."""
    if any(call.batched):
        raise call.refuse("a product over activations")
    axes = _axes(call, inputs)
    keep = bool(call.attribute("keepdims", 1))
    return np.prod(inputs[0], axis=None if axes is None else tuple(axes), keepdims=keep)


def widen(array: np.ndarray) -> np.ndarray:
    """Reals to float64, integers and booleans to int64, both exactly."""
    return array.astype(np.int64 if array.dtype.kind in "iub" else np.float64)


def arg_max(call: Call, inputs: Arrays) -> np.ndarray:
    """The lowest index of the greatest value."""
    (x,) = inputs
    if call.attribute("select_last_index", 0):
        raise call.refuse("the last of equal values is asked for")
    axis = call.axis(call.attribute("axis", 0), x.ndim)
    return np.argmax(x, axis=axis, keepdims=bool(call.attribute("keepdims", 1)))


def top_k(call: Call, inputs: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """The k greatest (or least) values and their indices, lowest index first among equals."""
    x, k = inputs[0], optional(inputs, 1)
    count = int(call.attributes["k"] if k is None else k.item())
    axis = call.axis(call.attribute("axis", -1), x.ndim)
    keys = -x if call.attribute("largest", 1) else x
    order = np.argsort(keys, axis=axis, kind="stable")
    indices = np.take(order, range(count), axis=axis)
    return np.take_along_axis(x, indices, axis), indices


def identity(call: Call, inputs: Arrays) -> np.ndarray:
    """The first input; Dropout outside training."""
    return inputs[0]


SHAPES: dict[str, Operator] = {
    "ArgMax": arg_max,
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Dropout": identity,
    "Flatten": flatten,
    "Gather": gather,
    "Identity": identity,
    "ReduceProd": reduce_prod,
    "Reshape": reshape,
    "Shape": shape,
    "Slice": slice_,
    "Squeeze": squeeze,
    "TopK": top_k,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
