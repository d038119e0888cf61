"""A Threshold layer as FINN's MultiThreshold takes it: table, scale, bias.

Three conventions are FINN's. A bipolar output is scale 2, bias -1 where FINN fuses the thresholds
into a matrix-vector unit, and scale 1, bias 0 where they stand alone. An XNOR unit starts counting
at the least value of its output type whatever the bias says. A signed output with a bias of 0 or
more is refused. Where the graph's base is another one, thresholds that are always reached make up
the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.errors import UserError
from hw_build.graph import TensorInfo, Threshold

from .carried import Carried


@dataclass(frozen=True, eq=False)
class MultiThreshold:
    """y = scale * (number of t in table[c] with x >= t) + bias; `table` is (C, K), ascending."""

    table: np.ndarray
    scale: int
    bias: int


def multi_threshold(
    layer: Threshold, carried: Carried, x: TensorInfo, source: Carried, *, fused: bool
) -> MultiThreshold:
    """`layer`, held as `carried`, on x held as `source`; `fused` into a matrix-vector unit or not.

    Raises:
        UserError: outputs other than base, base + 1, ... or -1, +1.
    """
    bipolar = layer.type.bipolar
    if layer.step != (2 if bipolar else 1) or (bipolar and layer.base != -1):
        raise UserError(
            "FINN counts thresholds by 1, or by 2 from -1 to a bipolar output",
            where=layer.name,
            found=f"base {layer.base}, step {layer.step} to {layer.type}",
        )
    table, always, never = _on_carried(layer, x, source)
    if bipolar and carried.type.bits > 1:  # two thresholds at the same place count -1 to +1
        table = np.repeat(table, 2, axis=1)
    elif bipolar:
        signs = fused and carried.scale == 1
        return MultiThreshold(table, *((2, -1) if signs else (1, 0)))
    bias = layer.base
    if fused and source.scale != 1:
        bias = carried.type.lo
    elif carried.type.signed and bias >= 0:
        bias = -1
    table = np.hstack([np.full((len(table), layer.base - bias), always), table])
    if not table.shape[1]:  # no level above the base: FINN's units hold at least one threshold
        table = np.full((len(table), 1), never)
    return MultiThreshold(table, 1, bias)


def _on_carried(layer: Threshold, x: TensorInfo, source: Carried) -> tuple[np.ndarray, int, int]:
    """Thresholds on the held values of x, with one that is always and one that is never reached.

    Clipped to these two, which changes no output and keeps the type of the thresholds narrow.
    """
    always = (int(x.lo.min()) - source.offset) // source.scale
    never = (int(x.hi.max()) - source.offset) // source.scale + 1
    table = -((source.offset - layer.thresholds) // source.scale)  # ceil((t - offset) / scale)
    return np.clip(table, always, never), always, never
