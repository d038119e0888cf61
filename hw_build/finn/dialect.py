"""The integer graph in FINN's own dialect: integer MatMul and MultiThreshold in a QONNX model.

Nothing is left for FINN's streamlining to do: weights and thresholds are integers held in float32,
every tensor carries its QONNX data type, and one vector is (1, C). Three conventions are FINN's:

- Its binary unit counts agreements. +-1 weights on a bipolar vector of n entries become
  `XnorPopcountMatMul` on {0, 1} and yield the popcount p of y = 2 * p - n. A threshold t on y is
  ceil((t + n) / 2) on p, and the bipolar vector itself is carried as b in {0, 1}, x = 2 * b - 1.
- A bipolar vector that meets other weights stays BIPOLAR. Its MultiThreshold says scale 2, bias -1
  where FINN fuses it into the matrix-vector unit; on its own, FINN wants scale 1 and bias 0.
- An XNOR unit starts counting at the least value of its output type whatever the bias says, and
  a signed output with a bias of 0 or more is refused. Where the graph's base is another one,
  thresholds that are always reached fill the difference.

`FinnModel.carried` says for every layer which tensor holds it and how its values read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.basic import qonnx_make_model

from deploy.errors import UserError
from hw_build.graph import ArgMax, Graph, Input, IntType, Layer, MatVec, TensorInfo, Threshold

EXACT_FLOAT32 = 1 << 24  # every integer up to here is a float32, and FINN computes in float32
OPSET = 13


@dataclass(frozen=True)
class Carried:
    """How FINN's graph holds a layer: the layer's integer = scale * (tensor's value) + offset."""

    tensor: str
    scale: int = 1
    offset: int = 0

    def encode(self, integers: np.ndarray) -> np.ndarray:
        """The float32 values that the tensor holds for these integers, same shape."""
        return ((integers.astype(np.int64) - self.offset) // self.scale).astype(np.float32)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The layer's integers, int64, for these values of the tensor, same shape."""
        return self.scale * values.astype(np.int64) + self.offset


@dataclass(frozen=True, eq=False)
class FinnModel:
    """A QONNX model in FINN's dialect and, by layer name, how it carries the graph's integers.

    `standalone_thresholds` tells whether FINN shall keep Threshold layers apart from the
    matrix-vector units. It decides how bipolar vectors are written, so it is settled here.
    """

    model: ModelWrapper
    carried: dict[str, Carried]
    standalone_thresholds: bool


def to_finn(graph: Graph, *, standalone_thresholds: bool = False) -> FinnModel:
    """Write `graph`, a chain of Input, MatVec, Threshold and ArgMax, in FINN's dialect.

    Raises:
        UserError: a layer or a wiring that FINN's dialect has no counterpart for, or numbers that
            float32, in which FINN computes, does not hold exactly.
    """
    writer = _Writer(graph, standalone_thresholds)
    for index, layer in enumerate(graph):
        if index and layer.sources != (graph.layers[index - 1].name,):
            raise UserError(
                "FINN's dialect is written for chains of layers",
                where=layer.name,
                found=f"reads {', '.join(layer.sources)}",
                expected=f"reads {graph.layers[index - 1].name}, the layer before it",
            )
        before = graph.layers[index - 1] if index else None
        after = graph.layers[index + 1] if index + 1 < len(graph.layers) else None
        match layer:
            case Input():
                writer.add_input(layer, after)
            case MatVec():
                writer.add_matvec(layer, before)
            case Threshold():
                writer.add_threshold(layer, before, after)
            case ArgMax():
                writer.add_argmax(layer)
            case _:
                raise UserError(
                    "FINN's dialect has no counterpart for this layer",
                    where=layer.name,
                    found=type(layer).__name__,
                    expected="Input, MatVec, Threshold or ArgMax",
                )
    return FinnModel(writer.model(), writer.carried, standalone_thresholds)


class _Writer:
    """Collects the nodes, constants and data types of one chain."""

    def __init__(self, graph: Graph, standalone_thresholds: bool) -> None:
        self.graph = graph
        self.infos = graph.infer()
        self.standalone = standalone_thresholds
        self.nodes: list[NodeProto] = []
        self.unread: list[ValueInfoProto] = []  # outputs of nodes that are no layer's
        self.constants: dict[str, np.ndarray] = {}
        self.types: dict[str, str] = {}
        self.carried: dict[str, Carried] = {}

    def add_input(self, layer: Input, after: Layer | None) -> None:
        if len(layer.shape) != 1:
            raise UserError(
                "FINN's dialect takes vectors only",
                where=layer.name,
                found=f"an input of shape {layer.shape}",
                expected="a shape of one entry",
            )
        _hold_in_float32(layer.name, max(-layer.type.lo, layer.type.hi))
        self._carry(layer, after)

    def add_matvec(self, layer: MatVec, before: Layer) -> None:
        x, n_inputs = self.infos[before.name], layer.weights.shape[1]
        furthest = np.abs(layer.weights) @ np.maximum(np.abs(x.lo), np.abs(x.hi))
        _hold_in_float32(layer.name, int(furthest.max()))
        weights = f"{layer.name}.weights"
        if x.type.bipolar and layer.weight_kind == "binary":
            self._node("XnorPopcountMatMul", layer, weights, domain="qonnx.custom_op.general")
            self.constants[weights] = (layer.weights.T + 1) // 2  # (inputs, outputs)
            self.types[weights] = "BINARY"
            self.types[layer.name] = type_name(IntType.holding(0, n_inputs))
            self.carried[layer.name] = Carried(layer.name, 2, -n_inputs)
            return
        if isinstance(before, MatVec) and self.carried[before.name].scale != 1:
            raise UserError(
                "a matrix product cannot read FINN's popcounts",
                where=layer.name,
                found=f"source {before.name}, +-1 weights on a bipolar vector",
                expected="a Threshold between the two",
            )
        self._node("MatMul", layer, weights)
        self.constants[weights] = layer.weights.T
        names = {"binary": "BIPOLAR", "ternary": "TERNARY"}
        self.types[weights] = names.get(layer.weight_kind, f"INT{layer.weight_bits}")
        self.types[layer.name] = type_name(self.infos[layer.name].type)
        self.carried[layer.name] = Carried(layer.name)

    def add_threshold(self, layer: Threshold, before: Layer, after: Layer | None) -> None:
        bipolar = layer.type.bipolar
        if layer.step != (2 if bipolar else 1) or (bipolar and layer.base != -1):
            raise UserError(
                "FINN counts thresholds by 1, or by 2 from -1 to a bipolar output",
                where=layer.name,
                found=f"base {layer.base}, step {layer.step} to {layer.type}",
            )
        self._carry(layer, after)
        source = self.carried[before.name]
        fused = isinstance(before, MatVec) and not self.standalone
        table, always, never = _carried_thresholds(layer, self.infos[before.name], source)
        scale, bias = 1, 0
        if bipolar and fused and self.carried[layer.name].scale == 1:
            scale, bias = 2, -1
        elif not bipolar:
            bias = layer.base
            if fused and source.scale != 1:
                bias = layer.type.lo
            elif layer.type.signed and bias >= 0:
                bias = -1
            fill = np.full((len(table), layer.base - bias), always)
            table = np.hstack([fill, table])
        if not table.shape[1]:  # no level above the base: FINN's units hold at least one threshold
            table = np.full((len(table), 1), never)
        thresholds = f"{layer.name}.thresholds"
        self.constants[thresholds] = table
        self.types[thresholds] = type_name(IntType.holding(int(table.min()), int(table.max())))
        self._node(
            "MultiThreshold",
            layer,
            thresholds,
            domain="qonnx.custom_op.general",
            out_dtype=self.types[layer.name],
            out_scale=float(scale),
            out_bias=float(bias),
            data_layout="NC",
        )

    def add_argmax(self, layer: ArgMax) -> None:
        k = f"{layer.name}.k"
        inputs, outputs = [layer.source, k], [f"{layer.name}.value", layer.name]
        self.nodes.append(helper.make_node("TopK", inputs, outputs, axis=-1, name=layer.name))
        self.constants[k] = np.array([1])
        self.unread.append(helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, [1, 1]))
        self.types[layer.name] = type_name(self.infos[layer.name].type)
        self.carried[layer.name] = Carried(layer.name)

    def model(self) -> ModelWrapper:
        """The collected chain as a QONNX model for one vector."""
        first, last = self.graph.input.name, self.graph.output.name
        graph = helper.make_graph(self.nodes, "integer_graph", [self._value(first)], [])
        graph.output.append(self._value(last))
        inside = [layer.name for layer in self.graph if layer.name not in (first, last)]
        graph.value_info.extend([*(self._value(name) for name in inside), *self.unread])
        model = ModelWrapper(qonnx_make_model(graph, opset_imports=_opsets()))
        for name, values in self.constants.items():
            integers = name.endswith(".k")
            model.set_initializer(name, values.astype(np.int64 if integers else np.float32))
        for name, kind in self.types.items():
            model.set_tensor_datatype(name, DataType[kind])
        return model

    def _node(self, op_type: str, layer: Layer, constant: str, **attributes: object) -> None:
        inputs, outputs = [*layer.sources, constant], [layer.name]
        node = helper.make_node(op_type, inputs, outputs, name=layer.name, **attributes)
        self.nodes.append(node)

    def _carry(self, layer: Input | Threshold, after: Layer | None) -> None:
        """Settle how the vector that `layer` yields is held: as bits before an XNOR unit."""
        if layer.type.bipolar and isinstance(after, MatVec) and after.weight_kind == "binary":
            self.types[layer.name] = "BINARY"
            self.carried[layer.name] = Carried(layer.name, 2, -1)
        else:
            self.types[layer.name] = type_name(layer.type)
            self.carried[layer.name] = Carried(layer.name)

    def _value(self, name: str) -> ValueInfoProto:
        indices = isinstance(self.graph[name], ArgMax)
        kind = TensorProto.INT64 if indices else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, [1, *self.infos[name].shape])


def _carried_thresholds(
    layer: Threshold, x: TensorInfo, source: Carried
) -> tuple[np.ndarray, int, int]:
    """Thresholds on the carried values of x, with one that is always and one that is never reached.

    Clipped to these two, which changes no output and keeps the type of the thresholds narrow.
    """
    always = (int(x.lo.min()) - source.offset) // source.scale
    never = (int(x.hi.max()) - source.offset) // source.scale + 1
    table = -((source.offset - layer.thresholds) // source.scale)  # ceil((t - offset) / scale)
    return np.clip(table, always, never), always, never


def type_name(kind: IntType) -> str:
    """QONNX's name of an integer type; a signed type of one bit becomes one of two."""
    if kind.bits == 1 and not kind.bipolar:
        return "INT2" if kind.signed else "BINARY"
    return str(kind)


def _hold_in_float32(name: str, furthest: int) -> None:
    if furthest > EXACT_FLOAT32:
        raise UserError(
            "FINN computes in float32, which does not hold these integers exactly",
            where=name,
            found=f"values up to {furthest}",
            expected=f"at most {EXACT_FLOAT32}",
        )


def _opsets() -> list[OperatorSetIdProto]:
    return [helper.make_opsetid("", OPSET), helper.make_opsetid("qonnx.custom_op.general", 1)]
