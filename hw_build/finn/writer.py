"""The nodes, constants and types of a chain of layers in FINN's dialect, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.basic import qonnx_make_model

from deploy.errors import UserError
from hw_build.graph import (
    ArgMax,
    Flatten,
    Graph,
    Input,
    IntType,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    Threshold,
    Window,
)

from .carried import Carried, carry, type_name
from .multi_threshold import multi_threshold

EXACT_FLOAT32 = 1 << 24  # every integer up to here is a float32, and FINN computes in float32
OPSET = 18  # the first in which Pad names its axes, as FINN wants it
QONNX = "qonnx.custom_op.general"


class Writer:
    """Collects one chain; `standalone` keeps thresholds apart from matrix-vector units."""

    def __init__(self, graph: Graph, standalone: bool) -> None:
        self.graph = graph
        self.infos = graph.infer()
        self.standalone = standalone
        self.nodes: list[NodeProto] = []
        self.unread: list[ValueInfoProto] = []  # outputs of nodes that are no layer's
        self.constants: dict[str, np.ndarray] = {}
        self.types: dict[str, str] = {}  # of constants
        self.carried: dict[str, Carried] = {}

    def add_input(self, layer: Input, behind: Sequence[Layer]) -> None:
        _hold_in_float32(layer.name, max(-layer.type.lo, layer.type.hi))
        self.carried[layer.name] = carry(layer, behind)

    def add_matvec(self, layer: MatVec) -> None:
        x, n_inputs = self.infos[layer.source], layer.weights.shape[1]
        furthest = np.abs(layer.weights) @ np.maximum(np.abs(x.lo), np.abs(x.hi))
        _hold_in_float32(layer.name, int(furthest.max()))
        weights = f"{layer.name}.weights"
        if x.type.bipolar and layer.weight_kind == "binary":
            self._node("XnorPopcountMatMul", layer, weights, domain=QONNX)
            self.constants[weights] = (layer.weights.T + 1) // 2  # (inputs, outputs)
            self.types[weights] = "BINARY"
            counts = IntType.holding(0, n_inputs)
            self.carried[layer.name] = Carried(layer.name, counts, 2, -n_inputs)
            return
        if self.carried[layer.source].scale != 1:
            raise UserError(
                "a matrix product cannot read FINN's popcounts",
                where=layer.name,
                found=f"source {layer.source}, +-1 weights on a bipolar vector",
                expected="a Threshold between the two",
            )
        self._node("MatMul", layer, weights)
        self.constants[weights] = layer.weights.T
        names = {"binary": "BIPOLAR", "ternary": "TERNARY"}
        self.types[weights] = names.get(layer.weight_kind, f"INT{layer.weight_bits}")
        self.carried[layer.name] = Carried(layer.name, self.infos[layer.name].type)

    def add_threshold(self, layer: Threshold, behind: Sequence[Layer]) -> None:
        x, source = self.infos[layer.source], self.carried[layer.source]
        carried = self.carried[layer.name] = carry(layer, behind)
        fused = isinstance(self.graph[layer.source], MatVec) and not self.standalone
        counted = multi_threshold(layer, carried, x, source, fused=fused)
        thresholds, table = f"{layer.name}.thresholds", counted.table
        self.constants[thresholds] = table
        self.types[thresholds] = type_name(IntType.holding(int(table.min()), int(table.max())))
        self._node(
            "MultiThreshold",
            layer,
            thresholds,
            domain=QONNX,
            out_dtype=type_name(carried.type),
            out_scale=float(counted.scale),
            out_bias=float(counted.bias),
            data_layout="NHWC" if len(x.shape) == 3 else "NC",
        )

    def add_pad(self, layer: Pad) -> None:
        source = self.carried[layer.source]
        if layer.value != source.offset:
            raise UserError(
                "FINN pads images with 0 alone",
                where=layer.name,
                found=f"{layer.value} around {layer.source}, which FINN's graph holds as "
                f"{type_name(source.type)}",
                expected="padding that FINN's graph holds as 0",
            )
        names = [f"{layer.name}.{part}" for part in ("pads", "value", "axes")]
        sides = [layer.top, layer.left, layer.bottom, layer.right]
        for name, values in zip(names, (sides, 0.0, [1, 2]), strict=True):
            self.constants[name] = np.array(values)
        self._node("Pad", layer, *names, mode="constant")
        self.keep(layer)

    def add_window(self, layer: Window) -> None:
        self._node(
            "Im2Col",
            layer,
            domain=QONNX,
            kernel_size=list(layer.kernel),
            stride=list(layer.stride),
            dilations=list(layer.dilation),
            input_shape=str((1, *self.infos[layer.source].shape)).replace(" ", ""),
        )
        self.keep(layer)

    def add_max_pool(self, layer: MaxPool, window: Window) -> None:
        """The pool and its `window` in one node, as FINN's conversion looks for it."""
        too_far = any(k < s for k, s in zip(window.kernel, window.stride, strict=True))
        if window.dilation != (1, 1) or too_far:
            raise UserError(
                "FINN's max pool takes no pixels apart, and skips none between its windows",
                where=layer.name,
                found=f"kernel {window.kernel}, stride {window.stride}, dilation {window.dilation}",
                expected="a dilation of 1 and a stride of at most the kernel",
            )
        node = helper.make_node(
            "MaxPoolNHWC",
            [window.source],
            [layer.name],
            name=layer.name,
            domain=QONNX,
            kernel_shape=list(window.kernel),
            strides=list(window.stride),
            pads=[0, 0, 0, 0],
        )
        self.nodes.append(node)
        self.keep(layer)

    def add_flatten(self, layer: Flatten) -> None:
        """Row, column, channel, as the stream of an image runs: FINN drops the node."""
        self._node("Flatten", layer, axis=1)
        self.keep(layer)

    def add_argmax(self, layer: ArgMax) -> None:
        k = f"{layer.name}.k"
        inputs, outputs = [layer.source, k], [f"{layer.name}.value", layer.name]
        self.nodes.append(helper.make_node("TopK", inputs, outputs, axis=-1, name=layer.name))
        self.constants[k] = np.array([1])
        self.unread.append(helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, [1, 1]))
        self.carried[layer.name] = Carried(layer.name, self.infos[layer.name].type)

    def model(self) -> ModelWrapper:
        """The collected chain as a QONNX model for one frame."""
        first, last = self.graph.input.name, self.graph.output.name
        graph = helper.make_graph(self.nodes, "integer_graph", [self._value(first)], [])
        graph.output.append(self._value(last))
        written = {name for node in self.nodes for name in node.output}
        inside = [layer.name for layer in self.graph if layer.name in written - {last}]
        graph.value_info.extend([*(self._value(name) for name in inside), *self.unread])
        model = ModelWrapper(qonnx_make_model(graph, opset_imports=_opsets()))
        for name, values in self.constants.items():
            sizes = name.endswith((".k", ".pads", ".axes"))
            model.set_initializer(name, values.astype(np.int64 if sizes else np.float32))
            if name in self.types:
                model.set_tensor_datatype(name, DataType[self.types[name]])
        for name in (first, *inside, last):
            model.set_tensor_datatype(name, DataType[type_name(self.carried[name].type)])
            if len(self.infos[name].shape) == 3:
                model.set_tensor_layout(name, ["N", "H", "W", "C"])
        return model

    def _node(self, op_type: str, layer: Layer, *constants: str, **attributes: object) -> None:
        inputs, outputs = [*layer.sources, *constants], [layer.name]
        node = helper.make_node(op_type, inputs, outputs, name=layer.name, **attributes)
        self.nodes.append(node)

    def keep(self, layer: Pad | Window | MaxPool | Flatten) -> None:
        """What `layer` puts out are values of its source, held alike."""
        source = self.carried[layer.source]
        self.carried[layer.name] = Carried(layer.name, source.type, source.scale, source.offset)

    def _value(self, name: str) -> ValueInfoProto:
        indices = isinstance(self.graph[name], ArgMax)
        kind = TensorProto.INT64 if indices else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, [1, *self.infos[name].shape])


def _hold_in_float32(name: str, furthest: int) -> None:
    if furthest > EXACT_FLOAT32:
        raise UserError(
            "FINN computes in float32, which does not hold these integers exactly",
            where=name,
            found=f"values up to {furthest}",
            expected=f"at most {EXACT_FLOAT32}",
        )


def _opsets() -> list[OperatorSetIdProto]:
    return [helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX, 1)]
