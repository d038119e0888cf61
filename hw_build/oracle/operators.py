"""The operators that the oracle runs: one table per domain, from name to function.

A function takes the `Call` (what the node says) and the input arrays, float64 or int64, and gives
its output, or a tuple of outputs. Formulas are those of the ONNX and QONNX specifications, in
their order of operations; attributes are float32 values, as ONNX carries them, widened exactly.
Axis 0 of a batched array is the frames; an operator that would mix or lose them refuses.
"""

from __future__ import annotations

from hw_build.oracle.arithmetic import ARITHMETIC
from hw_build.oracle.call import Operator
from hw_build.oracle.images import IMAGES
from hw_build.oracle.quantisers import QUANTISERS
from hw_build.oracle.shapes import SHAPES

QONNX_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
ONNX_DOMAINS = ("", "ai.onnx")
ONNX_OPERATORS: dict[str, Operator] = ARITHMETIC | IMAGES | SHAPES
QONNX_OPERATORS: dict[str, Operator] = QUANTISERS


def find(domain: str, op: str) -> Operator | None:
    """The function of an operator, None where there is none."""
    if domain in ONNX_DOMAINS:
        return ONNX_OPERATORS.get(op)
    return QONNX_OPERATORS.get(op) if domain in QONNX_DOMAINS else None
