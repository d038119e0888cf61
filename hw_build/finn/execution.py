"""FINN's Python execution of its specialised layers, frame by frame, every type checked."""

from __future__ import annotations

import copy
from collections.abc import Collection

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

HARDWARE = "finn.custom_op.fpgadataflow"


def execute(
    model: ModelWrapper, inputs: np.ndarray, kept: Collection[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, object]]]:
    """Run `model` on each of `inputs` by itself.

    HLS layers run only with Vitis HLS. So each specialised layer is executed by the class that it
    is derived from, FINN's own Python model of it, on the final attributes, weights and thresholds.

    Args:
        inputs: values of the input tensor, (N, C) or (N, H, W, C).
        kept: the tensors to return.

    Returns:
        By name of those in `kept` that a node yields, float32 (N, ...); and for every tensor, kept
        or not, the first value that its declared type does not hold.
    """
    executed = copy.deepcopy(model)
    for node in executed.graph.node:
        node.op_type = node.op_type.removesuffix("_hls").removesuffix("_rtl")
        node.domain = HARDWARE
    source = executed.graph.input[0].name
    names = [node.output[0] for node in executed.graph.node]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names if name in kept}
    overflows: dict[str, dict[str, object]] = {}
    for index, row in enumerate(inputs):
        context = execute_onnx(executed, {source: row[None]}, return_full_exec_context=True)
        for name in names:
            if name not in overflows:
                outside = first_outside(model, name, index, context[name])
                overflows |= {name: outside} if outside else {}
            if name in rows:
                rows[name].append(context[name][0])
    outputs = {name: np.array(values, np.float32) for name, values in rows.items()}
    return outputs, list(overflows.values())


def first_outside(
    model: ModelWrapper, name: str, frame: int, values: np.ndarray
) -> dict[str, object] | None:
    """The first of a frame's values (1, ...) that the tensor's declared type does not hold."""
    kind = model.get_tensor_datatype(name)
    outside = np.argwhere(~kind.allowed(values))
    if not len(outside):
        return None
    index = outside[0].tolist()
    value = float(values[tuple(index)])
    return {"tensor": name, "type": kind.name, "index": [frame, *index[1:]], "value": value}
