"""Give FINN's bit-width minimisation the integers that it forgets.

FINN+ 1.6.1 narrows types until three things no longer fit. Each is put right, and reported:

- The accumulator of an XNOR unit. FINN takes the range of +-1 weights on {0, 1}, about half of what
  the popcount, 0 to the number of inputs, reaches: INT10 for 784 balanced inputs.
- Thresholds, which it clips to that range: a threshold of 600 becomes 512.
- Weights without a +1 or without a -1, such as {-1, 0}, which it calls BIPOLAR or BINARY.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.base import CustomOp
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.infer_datatypes import InferDataTypes

from hw_build.finn.carried import type_name
from hw_build.graph import IntType

STREAM_BITS = 8  # FINN rounds the type of the graph's output up to whole bytes


def repair_types(model: ModelWrapper, dialect: ModelWrapper) -> tuple[ModelWrapper, list[str]]:
    """`model` with types that hold its integers, and a sentence for each repair.

    Args:
        model: FINN's hardware layers, specialised or not, after minimising bit widths.
        dialect: the model that FINN was given; its thresholds are the right ones.
    """
    repairs: list[str] = []
    for node in model.graph.node:
        op = getCustomOp(node)
        if node.op_type.startswith("MVAU"):
            repair = _repair_accumulator if op.get_nodeattr("binaryXnorMode") else _repair_weights
            repairs += repair(model, node, op)
        for name in node.input:
            if name.endswith(".thresholds"):
                repairs += _repair_thresholds(model, dialect, node, op, name)
    return (model.transform(InferDataTypes()), repairs) if repairs else (model, repairs)


def _layer(node: NodeProto) -> str:
    return node.input[1].removesuffix(".weights")


def _repair_accumulator(model: ModelWrapper, node: NodeProto, op: CustomOp) -> list[str]:
    furthest = op.get_nodeattr("MW")
    found = DataType[op.get_nodeattr("accDataType")]
    kept = op.get_nodeattr("noActivation") == 0 or op.get_output_datatype().max() >= furthest
    if found.max() >= furthest and kept:
        return []
    bits = furthest.bit_length()
    op.set_nodeattr("accDataType", type_name(IntType(bits, signed=False)))
    if op.get_nodeattr("noActivation"):
        if model.find_direct_successors(node) is None:
            bits = -(-bits // STREAM_BITS) * STREAM_BITS
        op.set_nodeattr("outputDataType", type_name(IntType(bits, signed=False)))
        model.set_tensor_datatype(node.output[0], op.get_output_datatype())
    new = op.get_nodeattr("accDataType")
    return [
        f"{_layer(node)}: accumulator {found.name} does not hold a popcount of {furthest}: {new}"
    ]


def _repair_weights(model: ModelWrapper, node: NodeProto, op: CustomOp) -> list[str]:
    weights = model.get_initializer(node.input[1])
    found = DataType[op.get_nodeattr("weightDataType")]
    if found.allowed(weights).all():
        return []
    low, high = int(weights.min()), int(weights.max())
    right = type_name(IntType.holding(min(low, -1), high))
    op.set_nodeattr("weightDataType", right)
    model.set_tensor_datatype(node.input[1], DataType[right])
    return [f"{_layer(node)}: weight type {found.name} does not hold {low}..{high}: {right}"]


def _repair_thresholds(
    model: ModelWrapper, dialect: ModelWrapper, node: NodeProto, op: CustomOp, name: str
) -> list[str]:
    right, found = dialect.get_initializer(name), model.get_initializer(name)
    n_changed = np.count_nonzero(right != found)
    if not n_changed:
        return []
    model.set_initializer(name, right)
    standalone = node.op_type.startswith("Thresholding")
    # FINN's RTL thresholding saturates its input to this type: one below the least has to fit.
    kind = type_name(IntType.holding(int(right.min()) - standalone, int(right.max())))
    model.set_tensor_datatype(name, DataType[kind])
    if standalone:
        op.set_nodeattr("weightDataType", kind)
    layer = name.removesuffix(".thresholds")
    return [f"{layer}: {n_changed} thresholds were clipped to other values; put back as {kind}"]
