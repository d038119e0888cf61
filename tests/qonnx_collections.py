"""QONNX files in the manners of public model collections, for the zoo.

Every builder writes a small network the way a family of published files is written: with the
exporter, the opset, the names and the oddities of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array
from qonnx_writer import Specimen, Writer, layer_sizes, random_integers

SIZES = (16, 12, 8, 5)


def mnist_of_old(
    name: str, weight_bits: int = 1, act_bits: int = 1, sizes: Sequence[int] = SIZES
) -> Specimen:
    """Opset 9: every parameter a Constant node, initialisers listed as inputs, batch norms with
    the outputs of training, an image flattened by Shape-Gather-Concat, 2x - 1, and a last Mul
    and Add where the tensor norm was."""
    w = Writer(61, "finn.custom_op.general", opset=9)
    count = w.add("Gather", w.add("Shape", "inp"), _node(w, 0, np.int64), axis=0)
    parts = (w.add("Unsqueeze", count, axes=[0]), _node(w, [-1], np.int64))
    x = w.add("Reshape", "inp", w.add("Concat", *parts, axis=0))
    x = w.add("Sub", w.add("Mul", x, _node(w, 2.0)), _node(w, [1.0]))
    x = _act(w, x, act_bits)
    for n, m, last in layer_sizes(sizes):
        latent = w.const(w.rng.normal(0, 0.1, (m, n)))
        weights = (
            w.add("BipolarQuant", latent, _node(w, 0.0613), domain=w.domain)
            if weight_bits == 1
            else _quant(w, latent, 0.07, weight_bits, narrow=1)
        )
        x = w.add("MatMul", x, w.add("Transpose", weights, perm=[1, 0]))
        if not last:
            x = w.batch_norm(x, m, 0.05 * np.sqrt(n))
            w.nodes[-1].output.extend(f"{x}_{part}" for part in ("m", "v", "sm", "sv"))
            x = _act(w, x, act_bits)
    x = w.add("Add", w.add("Mul", x, _node(w, 0.853)), _node(w, [-0.0412]))
    side = (1, 4, sizes[0] // 4)
    made = w.specimen(name, x, 0.0, 1.0, 1 / 255, shape=side, n_out=sizes[-1])
    made.model.ir_version = 4
    listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in w.constants]
    made.model.graph.input.extend(listed)
    return made


def _node(w: Writer, value: object, dtype: type = np.float32) -> str:
    """A Constant node."""
    return w.add("Constant", value=from_array(np.asarray(value, dtype)))


def _quant(w: Writer, x: str, scale: float, bits: int, narrow: int = 1, signed: int = 1) -> str:
    """A Quant whose parameters are Constant nodes."""
    parameters = [_node(w, np.float32(value)) for value in (scale, 0, bits)]
    mode = {"rounding_mode": "ROUND", "signed": signed, "narrow": narrow}
    return w.add("Quant", x, *parameters, domain=w.domain, **mode)


def _act(w: Writer, x: str, bits: int) -> str:
    if bits == 1:
        return w.add("BipolarQuant", x, _node(w, 1.0), domain=w.domain)
    return _quant(w, x, 0.6667, bits)


def intrusion(name: str, input_type: str = "BIPOLAR", sizes: Sequence[int] = (16, 12, 8, 1)):
    """Inputs of -1 and +1, moved to 0 and 1 in the graph; biases, batch norms, Relu and Quant of
    2 bits; one output, which a BipolarQuant decides."""
    w = Writer(62)
    w.annotate("inp", input_type)
    x = w.add("Div", w.add("Add", "inp", w.const([1.0])), w.const(2.0))
    for n, m, last in layer_sizes(sizes):
        weights = w.quant(w.const(w.rng.normal(0, 0.3, (m, n))), np.float32(0.31), 2, narrow=True)
        x = w.add("Gemm", x, weights, w.const(w.rng.normal(0, 0.1, m)), transB=1)
        if not last:
            x = w.add("Relu", w.batch_norm(x, m, 0.15 * np.sqrt(n)))
            x = w.quant(x, np.float32(0.47), 2, signed=False)
    x = w.bipolar(w.add("Sub", x, w.const([-0.4])), 1.0)
    return w.specimen(name, x, -1.0, 1.0, 2.0, shape=[sizes[0]], n_out=sizes[-1])


def keywords(name: str, sizes: Sequence[int] = SIZES) -> Specimen:
    """Features of 8 bits, weights and activations of 3, batch norms, the best class at the end."""
    w = Writer(63, opset=11)
    x = w.quant("inp", np.float32(0.0213), 8)
    for n, m, last in layer_sizes(sizes):
        latent = w.const(w.rng.normal(0, 0.1, (m, n)))
        weights = w.quant(latent, np.float32(0.0471), 3, narrow=True)
        x = w.add("MatMul", x, w.add("Transpose", weights, perm=[1, 0]))
        if not last:
            x = w.add("Relu", w.batch_norm(x, m, 0.13 * np.sqrt(n)))
            x = w.quant(x, np.float32(0.29), 3, signed=False)
    w.add("TopK", x, w.const([1], np.int64), axis=-1, largest=1, sorted=1, outputs=2)
    x = f"{w.nodes[-1].name}_out1"
    made = w.specimen(name, x, -2.5, 2.5, 0.0, shape=[sizes[0]], n_out=1)
    made.model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return made


def jets(
    name: str, bits: int = 6, fixed: str = "quant", sizes: Sequence[int] = (16, 12, 8, 5)
) -> Specimen:
    """QKeras through tf2onnx: names with slashes and colons, a symbolic batch, quantised biases,
    Softmax. `fixed` "quant" makes the input 16 bits, 6 of them integer, by a Quant; "annotated"
    says the same of the input's type."""
    w = Writer(64)
    if fixed == "annotated":
        w.annotate("inp", "FIXED<16,6>")
    x = w.quant("inp", 2.0**-10, 16) if fixed == "quant" else "inp"
    for n, m, last in layer_sizes(sizes):
        kernel = w.quant(w.const(w.rng.normal(0, 0.4, (n, m))), 2.0 ** (1 - bits), bits)
        x = w.add("MatMul", x, kernel)
        bias = w.quant(w.const(w.rng.normal(0, 0.2, m)), 2.0 ** (1 - bits), bits)
        x = w.add("Add", x, bias)
        if not last:
            x = w.quant(w.add("Relu", x), 2.0 ** (2 - bits), bits, signed=False)
    x = w.add("Softmax", x, axis=-1)
    step = 2.0**-10 if fixed == "annotated" else 2.0**-11
    made = w.specimen(name, x, -4.0, 4.0, step, shape=[sizes[0]], n_out=sizes[-1], batch="unk__17")
    return replace(made, model=_renamed(made.model))


def _renamed(model: ModelProto) -> ModelProto:
    """Every tensor and node under a name as Keras gives them; the input stays `inp`."""

    def new(tensor: str) -> str:
        return tensor if tensor == "inp" else f"model/q_dense_1/{tensor}/ReadVariableOp:0"

    graph = model.graph
    for node in graph.node:
        node.name = f"model/q_dense_1/{node.name}"
        for tensors in (node.input, node.output):
            tensors[:] = [new(tensor) for tensor in tensors]
    for item in (*graph.initializer, *graph.output):
        item.name = new(item.name)
    return model


def without_quantisers(name: str, left: str, sizes: Sequence[int] = SIZES) -> Specimen:
    """Weights whose quantiser a tool has taken away: `left` "integers" with an annotation and a
    Mul after the product, or "floats", integers times a scale of the matrix or of each output."""
    w = Writer(65)
    x = w.quant("inp", np.float32(0.1), 5)
    for i, (n, m, last) in enumerate(layer_sizes(sizes)):
        integers = random_integers(w, 3, (n, m))
        scale = w.rng.uniform(0.05, 0.2, (1, m) if i else (1, 1)).astype(np.float32)
        if left == "integers":
            weights = w.const(integers)
            w.annotate(weights, "INT3")
            x = w.add("Mul", w.add("MatMul", x, weights), w.const(scale))
        else:
            short = np.float32(np.float16(scale))  # 11 bits: 3 times it is a float32 number
            x = w.add("MatMul", x, w.const(integers * short))
        if not last:
            x = w.quant(w.batch_norm(x, m, 0.25 * np.sqrt(n)), np.float32(0.27), 4)
    return w.specimen(name, x, -1.6, 1.6, 0.0, shape=[sizes[0]], n_out=sizes[-1])


def pixels(name: str, std: bool = False, sizes: Sequence[int] = SIZES) -> Specimen:
    """uint8 pixels, x / 255 and 2x - 1 in the graph, then bipolar layers without a batch norm:
    every sum that is 0 lies on a tie. `std` divides by a standard deviation as well."""
    w = Writer(66)
    w.annotate("inp", "UINT8")
    x = w.add("Sub", w.add("Mul", w.add("Div", "inp", w.const(255.0)), w.const(2.0)), w.const(1.0))
    if std:
        x = w.add("Div", w.add("Sub", x, w.const(0.1307)), w.const(0.3081))
    for n, m, last in layer_sizes(sizes):
        x = w.add("MatMul", x, w.bipolar(w.const(random_integers(w, 1, (n, m))), 0.25))
        x = x if last else w.bipolar(x)
    return w.specimen(name, x, 0, 255, 51, shape=[sizes[0]], n_out=sizes[-1])


def single_layer(name: str, n: int, m: int, end: str = "") -> Specimen:
    """One layer from `n` features to `m` scores, then `end`."""
    w = Writer(67)
    x = w.quant("inp", 0.125, 4)
    weights = w.quant(w.const(w.rng.uniform(-1, 1, (n, m))), 0.25, 4)
    x = w.add("Add", w.add("MatMul", x, weights), w.const(w.rng.integers(-4, 5, m) / 32))
    x = w.add(end, x) if end else x
    return w.specimen(name, x, -1.0, 0.875, 0.125, not end, shape=[n], n_out=m)


COLLECTIONS: dict[str, Callable[..., Specimen]] = {
    "mnist_of_old_w1a1": mnist_of_old,
    "mnist_of_old_w1a2": partial(mnist_of_old, act_bits=2),
    "mnist_of_old_w2a2": partial(mnist_of_old, weight_bits=2, act_bits=2),
    "intrusion": intrusion,
    "keywords": keywords,
    "jets_16bit": jets,
    "jets_annotated": partial(jets, fixed="annotated"),
    "integer_weights": partial(without_quantisers, left="integers"),
    "weights_on_a_grid": partial(without_quantisers, left="floats"),
    "pixels_with_ties": pixels,
    "pixels_normalised": partial(pixels, std=True),
    "one_feature": partial(single_layer, n=1, m=1),
    "one_feature_sigmoid": partial(single_layer, n=1, m=1, end="Sigmoid"),
    "two_classes": partial(single_layer, n=7, m=2, end="LogSoftmax"),
    "scores_of_relu": partial(single_layer, n=5, m=3, end="Relu"),
    "wide": partial(single_layer, n=3000, m=2),
}
"""Name -> builder of a specimen, called with that name."""
