"""FINN's folding file for a folding of ours.

Matrix-vector units get our PE and SIMD. What feeds and follows them gets our lanes too, and more
where FINN's block would else be slower than the slowest of these units: an input generator the SIMD
of its unit, as far as a pixel's channels go, then all of them, then the whole window at once; a max
pool and the generator in front of it one and the same number; everything else the least that keeps
up.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.base import CustomOp
from qonnx.custom_op.registry import getCustomOp

Given = dict[str, list[int]]
"""By the name of a layer of ours: PE, SIMD."""


def folding_file(model: ModelWrapper, given: Given) -> dict[str, dict[str, int]]:
    """FINN's folding by node name. `model`, its specialised layers, is folded on the way."""
    nodes = list(model.graph.node)
    interval = 1
    for node in nodes:
        if node.op_type.startswith("MVAU"):
            op = getCustomOp(node)
            for attribute, lanes in zip(("PE", "SIMD"), given[_matvec(node)], strict=True):
                op.set_nodeattr(attribute, lanes)
            interval = max(interval, op.get_exp_cycles())
    for node in nodes:
        if node.op_type.startswith("Pool"):
            together = [getCustomOp(model.find_producer(node.input[0])), getCustomOp(node)]
            ours, _ = given.get(node.output[0], (1, 1))
            _widen(together, together[1].get_nodeattr("Channels"), ours, interval)
        elif node.op_type.startswith("ConvolutionInputGenerator"):
            if not getCustomOp(node).get_nodeattr("depthwise"):
                _fold_generator(model, node, given, interval)
        elif not node.op_type.startswith("MVAU"):
            n_channels = model.get_tensor_shape(node.input[0])[-1]
            _widen([getCustomOp(node)], n_channels, 1, interval)
    return {"Defaults": {}, **{node.name: _folding(getCustomOp(node)) for node in nodes}}


def _fold_generator(model: ModelWrapper, node: NodeProto, given: Given, interval: int) -> None:
    op, reader = getCustomOp(node), model.find_consumer(node.output[0])
    _, simd = given[_matvec(reader)] if reader.op_type.startswith("MVAU") else (1, 1)
    _widen([op], op.get_nodeattr("IFMChannels"), simd, interval)
    if op.get_exp_cycles() > interval:
        op.set_nodeattr("parallel_window", 1)


def _widen(together: Sequence[CustomOp], n_channels: int, ours: int, interval: int) -> None:
    """The least divisor of the channels, at least `ours` if there is one, at that interval."""
    for lanes in range(min(ours, n_channels), n_channels + 1):
        if n_channels % lanes:
            continue
        for op in together:
            op.set_nodeattr("PE" if "PE" in op.get_nodeattr_types() else "SIMD", lanes)
        if all(op.get_exp_cycles() <= interval for op in together):
            return


def _folding(op: CustomOp) -> dict[str, int]:
    known = op.get_nodeattr_types()
    return {
        name: op.get_nodeattr(name) for name in ("PE", "SIMD", "parallel_window") if name in known
    }


def _matvec(node: NodeProto) -> str:
    """The layer that a matrix-vector unit computes."""
    return node.input[1].removesuffix(".weights")
