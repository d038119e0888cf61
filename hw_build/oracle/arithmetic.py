"""Products, batch norm and elementwise operators, in float64, in the order of ONNX's formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from hw_build.oracle.call import Arrays, Call, Operator, optional
from hw_build.oracle.product import exact_product, integer_form


def _product(call: Call, a: np.ndarray, b: np.ndarray, b_batched: bool) -> np.ndarray:
    """a @ b, exact where the operands are quantised; elsewhere plain float64, which is noted."""
    if b_batched or b.ndim != 2:
        right = b
    else:
        if "b" not in call.derived:
            call.derived["b"] = integer_form(b)
        right = call.derived["b"]
    exact = None
    if right is not None and call.chain is not None:
        exact = call.chain.product(right)
    if right is not None and exact is None:
        exact = exact_product(a, right)
    call.inexact = exact is None
    return a @ b if exact is None else exact


def matmul(call: Call, inputs: Arrays) -> np.ndarray:
    """a @ b: frames by a constant matrix, a constant matrix by frames, or frame by frame."""
    a, b = inputs
    separate = {
        (False, False): True,
        (True, False): a.ndim >= 2 and b.ndim == 2,
        (False, True): a.ndim == 2 and b.ndim >= 3,
        (True, True): a.ndim == b.ndim >= 3,
    }
    if not separate[tuple(call.batched)]:
        raise call.refuse("a product across the batch axis", found=f"{a.shape} @ {b.shape}")
    return _product(call, a, b, call.batched[1])


def gemm(call: Call, inputs: Arrays) -> np.ndarray:
    """alpha * A' @ B' + beta * C, where ' transposes if transA or transB say so."""
    a, b, c = inputs[0], inputs[1], optional(inputs, 2)
    if call.batched[1] or (call.batched[0] and call.attribute("transA", 0)):
        raise call.refuse("a product across the batch axis", found="a batched B, or transA")
    a = a.T if call.attribute("transA", 0) else a
    b = b.T if call.attribute("transB", 0) else b
    y = call.attribute("alpha", 1.0) * _product(call, a, b, False)
    if c is None:
        return y
    if call.batched[0] and c.ndim == 2 and c.shape[0] != 1 and not call.batched[2]:
        raise call.refuse("a constant reaches into the batch axis", found=f"C of shape {c.shape}")
    return y + call.attribute("beta", 1.0) * c


def batch_normalization(call: Call, inputs: Arrays) -> np.ndarray:
    """(x - mean) / sqrt(var + epsilon) * gamma + beta, channels on axis 1."""
    if call.attribute("training_mode", 0):
        raise call.refuse("batch norm in training mode", fix="export the model after eval()")
    x = inputs[0]
    column = (-1, *(1,) * (x.ndim - 2))
    gamma, beta, mean, variance = (value.reshape(column) for value in inputs[1:5])
    return (x - mean) / np.sqrt(variance + call.attribute("epsilon", 1e-5)) * gamma + beta


def elementwise(function: Callable[..., np.ndarray]) -> Operator:
    """An operator that broadcasts."""

    def run(call: Call, inputs: Arrays) -> np.ndarray:
        call.check_broadcast(inputs)
        return function(*inputs)

    return run


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integers (of shapes) divide as integers, reals as reals."""
    return a // b if a.dtype.kind == b.dtype.kind == "i" else a / b


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), with an exponential that never overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def leaky_relu(call: Call, inputs: Arrays) -> np.ndarray:
    """x where x >= 0, alpha * x elsewhere."""
    (x,) = inputs
    return np.where(x >= 0, x, call.attribute("alpha", 0.01) * x)


def prelu(call: Call, inputs: Arrays) -> np.ndarray:
    """x where x >= 0, slope * x elsewhere."""
    call.check_broadcast(inputs)
    x, slope = inputs
    return np.where(x >= 0, x, slope * x)


def hard_sigmoid(call: Call, inputs: Arrays) -> np.ndarray:
    """max(0, min(1, alpha * x + beta))."""
    return np.clip(call.attribute("alpha", 0.2) * inputs[0] + call.attribute("beta", 0.5), 0.0, 1.0)


def clip(call: Call, inputs: Arrays) -> np.ndarray:
    """min(max(x, low), high); the limits are attributes before opset 11, optional inputs since."""
    low, high = optional(inputs, 1), optional(inputs, 2)
    low = call.attribute("min") if low is None else low
    high = call.attribute("max") if high is None else high
    x = inputs[0] if low is None else np.maximum(inputs[0], low)
    return x if high is None else np.minimum(x, high)


def softmax(call: Call, inputs: Arrays) -> np.ndarray:
    """exp(x) / sum of exp(x) over one axis; before opset 13 over all axes from `axis` on."""
    (x,) = inputs
    axis = call.axis(call.attribute("axis", 1 if call.opset < 13 else -1), x.ndim)
    axes = axis if call.opset >= 13 else tuple(range(axis, x.ndim))
    powers = np.exp(x - x.max(axis=axes, keepdims=True))
    return powers / powers.sum(axis=axes, keepdims=True)


def log_softmax(call: Call, inputs: Arrays) -> np.ndarray:
    """x less its maximum, less the log of the sum of exp of that, over the axes of softmax."""
    (x,) = inputs
    axis = call.axis(call.attribute("axis", 1 if call.opset < 13 else -1), x.ndim)
    axes = axis if call.opset >= 13 else tuple(range(axis, x.ndim))
    below = x - x.max(axis=axes, keepdims=True)
    return below - np.log(np.exp(below).sum(axis=axes, keepdims=True))


def cast(call: Call, inputs: Arrays) -> np.ndarray:
    """Reals stay float64 (float32 rounds nothing here); to integers towards zero."""
    target = call.attributes["to"]
    if target in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return inputs[0].astype(np.float64)
    kind = np.dtype(tensor_dtype_to_np_dtype(target))
    if kind.kind not in "iub":
        raise call.refuse("a cast that rounds", found=f"to {kind}", expected="float32 or integers")
    if kind.kind == "b":
        return (inputs[0] != 0).astype(np.int64)
    whole = np.trunc(inputs[0])
    limits = np.iinfo(kind)
    if ((whole < limits.min) | (whole > limits.max)).any():
        raise call.refuse("a cast that overflows", found=f"to {kind}")
    return whole.astype(np.int64)


ARITHMETIC: dict[str, Operator] = {
    "Abs": elementwise(np.abs),
    "Add": elementwise(np.add),
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Div": elementwise(_divide),
    "Gemm": gemm,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "MatMul": matmul,
    "Mul": elementwise(np.multiply),
    "Neg": elementwise(np.negative),
    "PRelu": prelu,
    "Pow": elementwise(np.power),
    "Reciprocal": elementwise(lambda x: 1.0 / x),
    "Relu": elementwise(lambda x: np.maximum(x, 0)),
    "Sigmoid": elementwise(_sigmoid),
    "Softmax": softmax,
    "Sqrt": elementwise(np.sqrt),
    "Sub": elementwise(np.subtract),
    "Tanh": elementwise(np.tanh),
}
