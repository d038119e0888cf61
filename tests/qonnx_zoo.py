"""QONNX files of fully connected networks, written the way different exporters write them.

Every entry of `ZOO` builds a `Specimen`: a model with seeded random weights and the range of its
input. The networks are alive: batch norms and biases sit where their accumulators are. Models that
a compiler of integer networks must refuse are in `qonnx_refused.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from onnx import TensorProto
from onnx.numpy_helper import from_array
from qonnx_collections import COLLECTIONS
from qonnx_writer import Specimen, Writer, layer_sizes, random_integers

SIZES = (16, 12, 8, 5)

# --- Brevitas 0.13, TorchScript and dynamo exporters --------------------------------------------


def brevitas(
    name: str,
    weight_bits: int = 1,
    act_bits: int = 1,
    input_bits: int = 8,
    sizes: Sequence[int] = SIZES,
    dynamo: bool = False,
    relu: bool = True,
    bias: bool = False,
    gamma: Callable[[np.random.Generator, int], np.ndarray] | None = None,
    batch: object = 1,
    seed: int = 1,
) -> Specimen:
    """Quant weights, batch norms, quantised activations with scales as training leaves them.

    TorchScript writes Flatten and Transpose -> MatMul, dynamo Reshape to a baked-in (1, n) and
    Gemm with transB.
    """
    w = Writer(seed, opset=20 if dynamo else 13)
    n_out, side = sizes[-1], (1, 1, sizes[0])
    flat = w.const([1, sizes[0]], np.int64)
    x = w.add("Reshape", "inp", flat) if dynamo else w.add("Flatten", "inp", axis=1)
    x = w.bipolar(x) if input_bits == 1 else w.quant(x, 2.0 / 2**input_bits, input_bits)
    spread = 0.6
    for n, m, last in layer_sizes(sizes):
        latent = w.const(w.rng.normal(0, 0.1, (m, n)))
        scale = np.float32(0.0613 if weight_bits == 1 else 0.25 / 2 ** (weight_bits - 1))
        weights = (
            w.bipolar(latent, scale)
            if weight_bits == 1
            else w.quant(latent, scale, weight_bits, narrow=True)
        )
        bias_input = [w.const(w.rng.normal(0, 0.05, m))] if bias else []
        if dynamo:
            x = w.add("Gemm", x, weights, *bias_input, transB=1)
        else:
            x = w.add("MatMul", x, w.add("Transpose", weights, perm=[1, 0]))
            if bias:
                x = w.add("Add", x, *bias_input)
        if last:
            break
        chosen = gamma(w.rng, m) if gamma else None
        x = w.batch_norm(x, m, spread * 0.09 * np.sqrt(n), chosen)
        if act_bits == 1:
            x, spread = w.bipolar(x), 1.0
        elif relu:
            step = np.float32(1.7 / (2**act_bits - 1))
            x, spread = w.quant(w.add("Relu", x), step, act_bits, signed=False), 1.0
        else:
            step = np.float32(1.3 / (2 ** (act_bits - 1) - 0.5))
            x, spread = w.quant(x, step, act_bits, narrow=True), 0.9
    return w.specimen(name, x, -1.0, 1.0, 0.0, shape=side, n_out=n_out, batch=batch)


def bipolar_by_quant(name: str, sizes: Sequence[int] = SIZES) -> Specimen:
    """Quant of 1 bit, signed: QONNX defines it as the sign, with 0 to +1."""
    w = Writer(2)
    x = "inp"
    for n, m, last in layer_sizes(sizes):
        x = w.quant(x, 1.0, 1, signed=True)
        weights = w.quant(w.const(random_integers(w, 1, (n, m))), 0.25, 1, signed=True, narrow=True)
        x = w.add("MatMul", x, weights)
        if not last:
            x = w.add("Add", x, w.const(w.rng.integers(-2, 3, m)))
    return w.specimen(name, x, -1, 1, 0.125, True, shape=[sizes[0]], n_out=sizes[-1])


# --- older Brevitas -----------------------------------------------------------------------------


def old_brevitas(
    name: str, domain: str = "onnx.brevitas", act_bits: int = 1, sizes: Sequence[int] = SIZES
) -> Specimen:
    """Images of 1 x 1 x n, 2x-1 in the graph, flattened by a Shape-Gather-Concat-Reshape chain.

    The last layer ends in a scalar norm, written as Sub, Div, Mul, Add.
    """
    w = Writer(3, domain, opset=11)
    index = w.add("Constant", value=from_array(np.array(0, np.int64)))
    count = w.add("Gather", w.add("Shape", "inp"), index, axis=0)
    minus_one = w.add("Constant", value=from_array(np.array([-1], np.int64)))
    target = w.add("Concat", w.add("Unsqueeze", count, axes=[0]), minus_one, axis=0)
    x = w.add("Reshape", "inp", target)
    x = w.add("Sub", w.add("Mul", w.const(2.0), x), w.const([1.0]))
    x = w.bipolar(x) if act_bits == 1 else w.quant(x, 0.5, act_bits)
    for n, m, last in layer_sizes(sizes):
        weights = w.bipolar(w.const(w.rng.normal(0, 0.1, (m, n))))
        x = w.add("MatMul", x, w.add("Transpose", weights, perm=[1, 0]))
        if not last:
            x = w.batch_norm(x, m, 0.8 * np.sqrt(n))
            x = w.bipolar(x) if act_bits == 1 else w.quant(x, 0.625, act_bits, narrow=True)
    x = w.add("Div", w.add("Sub", x, w.const(0.37)), w.const(2.13))
    x = w.add("Add", w.add("Mul", x, w.const(1.19)), w.const(-0.21))
    side = (1, 1, sizes[0])
    return w.specimen(name, x, 0.0, 1.0, 1 / 255, shape=side, n_out=sizes[-1])


def folded_scales(name: str, sizes: Sequence[int] = SIZES) -> Specimen:
    """Integer weights as Quant of scale 1; the scales stand in the graph as Mul and Div."""
    w = Writer(4)
    x = w.quant(w.add("Div", "inp", w.const(0.0625)), 1.0, 5)
    for n, m, last in layer_sizes(sizes):
        weights = w.quant(w.const(random_integers(w, 2, (n, m))), 1.0, 2, narrow=True)
        x = w.add("Mul", w.add("MatMul", x, weights), w.const(w.rng.uniform(0.01, 0.03, (1, m))))
        if not last:
            x = w.add("Div", x, w.const(0.071))
            x = w.add("Mul", w.quant(x, 1.0, 4, narrow=True), w.const(1.7))
    return w.specimen(name, x, -1.0, 1.0, 0.0, shape=[sizes[0]], n_out=sizes[-1], batch="batch")


# --- QKeras and hls4ml --------------------------------------------------------------------------


def qkeras(
    name: str,
    bits: int = 6,
    input_bits: int = 8,
    softmax: bool = True,
    bias_quant: bool = True,
    rounding: str = "ROUND",
    sizes: Sequence[int] = SIZES,
) -> Specimen:
    """Power-of-two scales everywhere, Add for the bias, Relu, Softmax: ties are common."""
    w = Writer(5, "qonnx.custom_op.general")
    step = 2.0 ** (1 - input_bits)
    x = w.quant("inp", step, input_bits, rounding=rounding)
    for n, m, last in layer_sizes(sizes):
        weight_step = 2.0 ** (1 - bits)
        latent = w.rng.uniform(-1, 1, (n, m)).astype(np.float32)
        x = w.add("MatMul", x, w.quant(w.const(latent), weight_step, bits, rounding=rounding))
        bias = w.const(w.rng.uniform(-0.5, 0.5, m))
        if bias_quant:
            bias = w.quant(bias, weight_step, bits, rounding=rounding)
        x = w.add("Add", x, bias)
        if not last:
            x = w.quant(w.add("Relu", x), 2.0 ** (2 - bits), bits, signed=False, rounding=rounding)
    x = w.add("Softmax", x, axis=1) if softmax else x
    return w.specimen(
        name,
        x,
        -1.25,
        1.25,
        step / 2,
        bias_quant and not softmax,
        shape=[sizes[0]],
        n_out=sizes[-1],
    )


# --- Gemm, scales, activations ------------------------------------------------------------------


def gemm(name: str, sizes: Sequence[int] = SIZES, **attributes) -> Specimen:
    """Gemm with or without transB, alpha and beta; `bias` is "float", "quant" or left out."""
    w = Writer(6)
    kind = attributes.pop("bias", None)
    x = w.quant("inp", 0.125, 4)
    for n, m, last in layer_sizes(sizes):
        shape = (m, n) if attributes.get("transB") else (n, m)
        inputs = [x, w.quant(w.const(random_integers(w, 3, shape) * 0.25), 0.25, 3, narrow=True)]
        if kind:
            bias = w.const(w.rng.integers(-40, 41, m) / 64)
            inputs.append(w.quant(bias, 2.0**-5, 6) if kind == "quant" else bias)
        x = w.add("Gemm", *inputs, **attributes)
        if not last:
            x = w.quant(x, 0.25, 4)
    return w.specimen(name, x, -1.0, 1.0, 0.0625, True, shape=[sizes[0]], n_out=sizes[-1])


def per_channel(name: str, trans_b: bool = False, sizes: Sequence[int] = SIZES) -> Specimen:
    """A weight scale per output: (1, out) for MatMul, (out, 1) for Gemm with transB."""
    w = Writer(7)
    x = w.quant("inp", np.float32(0.1), 6)
    for n, m, last in layer_sizes(sizes):
        scale = w.rng.uniform(0.05, 0.2, (1, m)).astype(np.float32)
        latent = w.rng.uniform(-0.6, 0.6, (n, m)).astype(np.float32)
        if trans_b:
            weights = w.quant(w.const(latent.T), scale.T, 4, narrow=True)
            x = w.add("Gemm", x, weights, transB=1)
        else:
            x = w.add("MatMul", x, w.quant(w.const(latent), scale, 4, narrow=True))
        if not last:
            x = w.quant(w.batch_norm(x, m, 0.3 * np.sqrt(n)), np.float32(0.23), 4)
    return w.specimen(name, x, -3.0, 3.0, 0.0, shape=[sizes[0]], n_out=sizes[-1])


def per_channel_activation(name: str, requantised: bool, sizes: Sequence[int] = SIZES) -> Specimen:
    """An activation scale per channel, made one scale by a Mul, or by a Mul and a second Quant."""
    w = Writer(8)
    x = w.quant("inp", 0.25, 4)
    for n, m, last in layer_sizes(sizes):
        weights = w.quant(w.const(random_integers(w, 2, (n, m))), 1.0, 2, narrow=True)
        x = w.add("MatMul", x, weights)
        if not last:
            scale = 2.0 ** w.rng.integers(-2, 2, (1, m))
            x = w.quant(x, scale, 3)
            if requantised:
                x = w.quant(w.add("Mul", x, w.const(w.rng.uniform(0.3, 0.9, m))), 0.5, 3)
            else:
                x = w.add("Mul", x, w.const(0.25 / scale))
    return w.specimen(name, x, -2.0, 2.0, 0.125, not requantised, shape=[sizes[0]], n_out=sizes[-1])


def activation(
    name: str,
    op: str,
    bits: int = 4,
    signed: bool = True,
    narrow: bool = False,
    rounding: str = "ROUND",
    zero_point: float = 0.0,
    limits: tuple[float, float] | None = None,
    sizes: Sequence[int] = SIZES,
    **attributes,
) -> Specimen:
    """Accumulator -> scale and bias -> `op` -> Quant; `op` is "" for none, Clip takes `limits`."""
    w = Writer(9)
    x = w.quant("inp", 0.125, 4)
    bounds = [w.const(limit) for limit in limits or ()]
    for n, m, last in layer_sizes(sizes):
        weights = w.quant(w.const(random_integers(w, 3, (n, m)) * 0.25), 0.25, 3, narrow=True)
        x = w.add("Add", w.add("MatMul", x, weights), w.const(w.rng.integers(-8, 9, m) / 16))
        if not last:
            x = w.add(op, x, *bounds, **attributes) if op else x
            step = 2.0 ** (-(bits - 1) if signed else 1 - bits)
            x = w.quant(x, step, bits, signed, narrow, rounding, zero_point)
    exact = op in ("", "Relu", "Clip")
    return w.specimen(name, x, -1.0, 1.0, 0.0625, exact, shape=[sizes[0]], n_out=sizes[-1])


def ties(name: str, bipolar: bool, sizes: Sequence[int] = SIZES) -> Specimen:
    """Every accumulator of odd value lies exactly between two levels; inputs and weights as well.

    Bipolar: batch norms of mean 0 and beta 0, so that an accumulator of 0 is decided by x >= 0.
    """
    w = Writer(10)
    x = w.quant("inp", 1.0, 3)
    for n, m, last in layer_sizes(sizes):
        latent = random_integers(w, 3, (n, m)) + w.rng.choice([-0.5, 0.0, 0.5], (n, m))
        x = w.add("MatMul", x, w.quant(w.const(latent), 1.0, 3, narrow=True))
        if last:
            break
        if bipolar:
            gamma = w.rng.choice([-1.5, 0.7, 1.0], m)
            zeros, ones = np.zeros(m), np.ones(m)
            constants = [w.const(value) for value in (gamma, zeros, zeros, ones)]
            x = w.bipolar(w.add("BatchNormalization", x, *constants, epsilon=1e-5))
        else:
            x = w.quant(w.add("Mul", x, w.const(0.125)), 0.25, 4)
    return w.specimen(name, x, -4.0, 4.0, 0.5, not bipolar, shape=[sizes[0]], n_out=sizes[-1])


# --- integer inputs, endings --------------------------------------------------------------------


def annotated_input(
    name: str,
    datatype: str,
    low: float,
    high: float,
    step: float = 1.0,
    scaling: str = "",
    sizes: Sequence[int] = SIZES,
) -> Specimen:
    """No input quantiser: the input's datatype is a quantization annotation.

    `scaling` "pow2" puts x/128 - 1 into the graph, "pixels" 2 (x/255) - 1, "" nothing.
    """
    w = Writer(11)
    w.annotate("inp", datatype)
    x, spread = "inp", max(abs(low), abs(high)) * 0.6
    if scaling:
        divisor, factor = (128.0, 1.0) if scaling == "pow2" else (255.0, 2.0)
        x = w.add("Mul", w.add("Div", x, w.const(divisor)), w.const(factor))
        x, spread = w.add("Sub", x, w.const(1.0)), 0.6
    for n, m, last in layer_sizes(sizes):
        weights = w.quant(w.const(random_integers(w, 2, (n, m))), 1.0, 2, narrow=True)
        x = w.add("MatMul", x, weights)
        if not last:
            x = w.quant(w.batch_norm(x, m, spread * 0.8 * np.sqrt(n)), 0.5, 3)
            spread = 1.0
    return w.specimen(name, x, low, high, step, shape=[sizes[0]], n_out=sizes[-1])


def ending(name: str, end: str, sizes: Sequence[int] = SIZES) -> Specimen:
    """A ternary network, then `end`: quant, scale, channel_scale, sigmoid, argmax or topk."""
    w = Writer(12)
    x = w.quant("inp", 0.5, 3)
    for n, m, last in layer_sizes(sizes):
        weights = w.quant(w.const(random_integers(w, 2, (n, m))), 1.0, 2, narrow=True)
        x = w.add("MatMul", x, weights)
        if not last:
            x = w.quant(x, 1.0, 3)
    n_out = sizes[-1]
    if end == "quant":
        x = w.quant(x, 2.0, 4)
    elif end == "scale":
        x = w.add("Identity", w.add("Mul", x, w.const(0.37)))
    elif end == "channel_scale":
        x = w.add("Mul", x, w.const(w.rng.uniform(0.2, 0.9, n_out)))
    elif end == "sigmoid":
        x = w.add("Sigmoid", x)
    elif end == "argmax":
        x, n_out = w.add("ArgMax", x, axis=1, keepdims=1), 1
    elif end == "topk":
        w.add("TopK", x, w.const([1], np.int64), axis=1, outputs=2)
        x, n_out = f"{w.nodes[-1].name}_out1", 1
    exact = end in ("quant", "argmax", "topk")
    made = w.specimen(name, x, -2.0, 2.0, 0.25, exact, shape=[sizes[0]], n_out=n_out)
    if end in ("argmax", "topk"):
        made.model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return made


def _negative_gamma(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform(0.5, 1.5, n) * np.where(np.arange(n) % 2, 1, -1)


def _zero_gamma(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(np.arange(n) % 3, rng.uniform(0.5, 1.5, n), 0.0)


_BUILDERS: dict[str, Callable[..., Specimen]] = {
    "brevitas_w1a1": brevitas,
    "brevitas_w1a1_bipolar_input": partial(brevitas, input_bits=1, batch="N"),
    "brevitas_w1a2": partial(brevitas, act_bits=2, input_bits=2, relu=False),
    "brevitas_w2a2": partial(brevitas, weight_bits=2, act_bits=2, input_bits=2),
    "brevitas_w4a4_bias": partial(brevitas, weight_bits=4, act_bits=4, bias=True),
    "brevitas_dynamo_w1a1": partial(brevitas, dynamo=True),
    "brevitas_dynamo_w2a2_bias": partial(
        brevitas, weight_bits=2, act_bits=2, dynamo=True, bias=True
    ),
    "brevitas_negative_gamma_w1a1": partial(brevitas, gamma=_negative_gamma),
    "brevitas_negative_gamma_w2a3": partial(
        brevitas, weight_bits=2, act_bits=3, relu=False, gamma=_negative_gamma
    ),
    "brevitas_zero_gamma_w2a2": partial(brevitas, weight_bits=2, act_bits=2, gamma=_zero_gamma),
    "bipolar_by_quant": bipolar_by_quant,
    "old_brevitas_w1a1": old_brevitas,
    "old_brevitas_w1a2": partial(old_brevitas, domain="finn.custom_op.general", act_bits=2),
    "folded_scales": folded_scales,
    "qkeras_6bit": qkeras,
    "qkeras_3bit_16bit_input": partial(qkeras, bits=3, input_bits=16, softmax=False),
    "qkeras_8bit": partial(qkeras, bits=8, softmax=False),
    "qkeras_floor": partial(qkeras, bits=4, rounding="FLOOR", softmax=False),
    "qkeras_float_bias": partial(qkeras, bits=4, bias_quant=False, softmax=False),
    "gemm_transb_bias": partial(gemm, transB=1, bias="float"),
    "gemm_transb_no_bias": partial(gemm, transB=1),
    "gemm_bias_quant": partial(gemm, bias="quant"),
    "gemm_alpha_beta": partial(gemm, alpha=0.5, beta=2.0, transB=1, bias="float"),
    "per_channel_matmul": per_channel,
    "per_channel_gemm": partial(per_channel, trans_b=True),
    "per_channel_activation": partial(per_channel_activation, requantised=False),
    "per_channel_activation_twice": partial(per_channel_activation, requantised=True),
    **{
        f"unsigned_{bits}bit": partial(activation, op="Relu", bits=bits, signed=False)
        for bits in range(1, 9)
    },
    "signed_narrow": partial(activation, op="", bits=4, narrow=True),
    "relu_then_signed": partial(activation, op="Relu", bits=4),
    "zero_point": partial(activation, op="", bits=4, signed=False, zero_point=5.0),
    **{
        f"rounding_{mode.lower()}": partial(activation, op="", bits=3, rounding=mode)
        for mode in ("CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")
    },
    "leaky_relu": partial(activation, op="LeakyRelu", alpha=0.1),
    "sigmoid": partial(activation, op="Sigmoid", bits=3, signed=False),
    "tanh": partial(activation, op="Tanh"),
    "hard_sigmoid": partial(activation, op="HardSigmoid", bits=3, signed=False),
    "hard_tanh": partial(activation, op="Clip", limits=(-1.0, 1.0)),
    "ties_multibit": partial(ties, bipolar=False),
    "ties_bipolar": partial(ties, bipolar=True),
    "uint8_input": partial(annotated_input, datatype="UINT8", low=0, high=255),
    "uint8_input_scaled": partial(
        annotated_input, datatype="UINT8", low=0, high=255, scaling="pow2"
    ),
    "uint8_pixels": partial(annotated_input, datatype="UINT8", low=0, high=255, scaling="pixels"),
    "bipolar_input": partial(annotated_input, datatype="BIPOLAR", low=-1, high=1, step=2.0),
    "int4_input": partial(annotated_input, datatype="INT4", low=-8, high=7),
    **{
        f"ends_in_{end}": partial(ending, end=end)
        for end in ("quant", "scale", "channel_scale", "sigmoid", "argmax", "topk")
    },
}

ZOO: dict[str, Callable[..., Specimen]] = {
    name: partial(build, name) for name, build in (_BUILDERS | COLLECTIONS).items()
}
"""Name -> builder; call it without arguments."""
