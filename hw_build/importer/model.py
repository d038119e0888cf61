"""QONNX straight to the exact integer graph, without streamlining.

The nodes are walked once, in their order. A tensor of data is a layer's integers and the chain of
elementwise float64 steps after them (`values.Signal`); a layer that needs integers turns
the chain up to its last quantiser into thresholds (`network`), the first one into the
host's input quantiser. What can't be shown to be exact is refused with the node's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from deploy.errors import NarrowgaugeError, UserError
from hw_build.graph_file import Imported
from hw_build.importer.constants import CONSTANT_OPERATORS, fold, widened
from hw_build.importer.datatypes import parse_datatype
from hw_build.importer.layout import Layout
from hw_build.importer.network import Network
from hw_build.importer.operators import KNOWN, OPERATORS
from hw_build.importer.output import finish
from hw_build.importer.settling import forked
from hw_build.importer.values import (
    MAX_INPUT_BITS,
    Constant,
    Node,
    Signal,
    Value,
    describe_inputs,
)
from hw_build.input_quantiser import InputQuantiser

STANDARD_DOMAINS = ("", "ai.onnx")
QUANTISER_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
QUANTISERS = ("Quant", "IntQuant", "BipolarQuant")


def import_qonnx(
    path: Path,
    output: str = "auto",
    input_type: str | None = None,
    seen_type: str | None = None,
) -> Imported:
    """The integer network that a QONNX file describes.

    Args:
        path: the file.
        output: what leaves the accelerator. "scores": the last layer's integers; "class": their
            arg max, where that is exact; "top5" and the like: the indices of so many greatest
            ones, the greatest first; "auto": the class or classes where the file itself ends in
            ArgMax or TopK and that is exact, otherwise the scores.
        input_type: the integers that the model's input takes ("UINT8", "BIPOLAR", "FIXED<16,6>"),
            where the file neither quantises nor annotates it.
        seen_type: the same as a last resort: what the user's inputs were seen to be.

    Raises:
        UserError: the file can't be read, or holds what has no exact integer form; the message
            names the node.
    """
    model = read_model(Path(path))
    walk = _Walk(model.graph, str(path), input_type, seen_type)
    value = walk.run()
    return finish(value, walk.network, output)


def read_model(path: Path) -> onnx.ModelProto:
    """The model with its external data; UserError for anything that isn't one."""
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise _not_onnx(path, str(error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError("cannot read the model", where=str(path), found=reason) from error
    if not model.graph.node:
        raise _not_onnx(path, "no nodes")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise UserError(
            "the model's external data is missing",
            where=str(path),
            found=str(error).splitlines()[0],
            fix="put the data file beside the model, or save the model in one file",
        ) from error
    return model


def _not_onnx(path: Path, found: str) -> UserError:
    return UserError(
        "the file is not an ONNX model",
        where=str(path),
        found=found,
        expected="QONNX, as brevitas.export writes it",
    )


class _Walk:
    """One pass over the nodes that the output depends on."""

    def __init__(
        self, graph: onnx.GraphProto, file: str, input_type: str | None, seen_type: str | None
    ) -> None:
        self.graph, self.file = graph, file
        self.input_type, self.seen_type = input_type, seen_type
        self.values: dict[str, Value] = {}
        if len(graph.output) != 1:
            names = ", ".join(output.name for output in graph.output)
            raise UserError(
                "the network has several outputs",
                where=self.file,
                found=f"{len(graph.output)}: {names}",
                fix="export one output; of a TopK its indices, without its values",
            )
        self.output = graph.output[0].name
        annotations = dict(_annotations(graph))
        for tensor in graph.initializer:
            self.values[tensor.name] = self._initialiser(tensor, annotations.get(tensor.name))
        self.network = self._begin(annotations)
        self.nodes = _needed(graph, self.output)
        self.readers = Counter(
            tensor for _, node in self.nodes if node.op_type != "Shape" for tensor in node.input
        )
        self.readers[self.output] += 1

    def run(self) -> Value:
        """Visits the nodes; the value of the network's output."""
        for index, proto in self.nodes:
            name = _name(index, proto)
            try:
                self._visit(proto, name)
            except NarrowgaugeError:
                raise
            except Exception as error:  # whatever a malformed node provokes, it is named
                inputs = describe_inputs(proto.input, map(self.values.get, proto.input))
                raise UserError(
                    "the node is malformed",
                    where=f"node {name} ({proto.op_type}) of {self.file}; {inputs}",
                    found=f"{type(error).__name__}: {error}",
                    fix="check the file with qonnx or netron, and export it again",
                ) from error
        if self.output not in self.values:
            raise self._refuse("no node makes the network's output", self.output)
        quantiser = self.network.quantiser
        if self.input_type is not None and quantiser is not None and quantiser.steps:
            raise UserError(
                "--input-type is for inputs that the file leaves open",
                where=self.file,
                found=f"{self.input_type}, but node {quantiser.steps[-1].node} quantises the input "
                f"to {quantiser.type}",
                fix="leave --input-type out",
            )
        return self.values[self.output]

    def _visit(self, proto: onnx.NodeProto, name: str) -> None:
        for tensor in filter(None, proto.input):
            if tensor not in self.values:
                raise UserError(
                    "a node reads a tensor that nothing before it makes",
                    where=f"node {name} ({proto.op_type}) of {self.file}",
                    found=tensor,
                )
        node = Node(
            name,
            proto.op_type,
            proto.domain,
            tuple(proto.input),
            tuple(self.values[tensor] if tensor else None for tensor in proto.input),
            tuple(proto.output),
            {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute},
        )
        _require_supported(node)
        constant = all(value is None or isinstance(value, Constant) for value in node.inputs)
        if constant and node.op in CONSTANT_OPERATORS:
            result: Value = fold(node)
        elif constant and node.op not in QUANTISERS:
            raise node.refuse("it computes on constants only, which this compiler can't fold")
        elif node.op not in OPERATORS:
            raise node.refuse(
                "the operator is supported on constants only, not on activations",
                expected=f"on activations {', '.join(sorted(OPERATORS))}",
            )
        else:
            node = replace(node, inputs=self._as_read(node))
            result = OPERATORS[node.op](node, self.network)
        # Of TopK's outputs, and of Dropout's, one carries what the table returns.
        if node.op == "TopK" and self.readers[proto.output[0]]:
            raise node.refuse(
                "its values are read, and only its indices can leave the accelerator",
                found=f"values {proto.output[0]}",
                expected="the indices, its second output, as the network's output",
                fix="export without the values (scores.topk(k).indices), or export the scores",
            )
        used = proto.output[1] if node.op == "TopK" else proto.output[0]
        self.values[used] = result
        if isinstance(result, Signal):
            self.network.layouts[used] = result.layout

    def _as_read(self, node: Node) -> tuple[Value | None, ...]:
        """The node's inputs; those that other nodes read too are layers, where that is possible."""
        for tensor, value in zip(node.reads, node.inputs, strict=True):
            if node.op != "Shape" and isinstance(value, Signal) and self.readers[tensor] > 1:
                self.values[tensor] = forked(self.network, value, node)
        return tuple(self.values[tensor] if tensor else None for tensor in node.reads)

    def _begin(self, annotations: dict[str, str]) -> Network:
        known = set(self.values)
        inputs = [given for given in self.graph.input if given.name not in known]
        if len(inputs) != 1:
            names = ", ".join(given.name for given in inputs) or "none"
            raise self._refuse("the network has not one input", f"{len(inputs)}: {names}")
        name = inputs[0].name
        dims = inputs[0].type.tensor_type.shape.dim
        shape = tuple(d.dim_value if d.HasField("dim_value") else 0 for d in dims[1:])
        if len(dims) < 2 or any(n <= 0 for n in shape):
            texts = (str(d.dim_value) if d.HasField("dim_value") else d.dim_param for d in dims)
            raise UserError(
                "the input's shape is not static",
                where=f"input {name} of {self.file}",
                found=f"({', '.join(text or '?' for text in texts)})",
                expected="(batch, features...), with all but the batch known",
                fix="export with a fixed number of features; the batch may be dynamic",
            )
        self.values[name] = Signal("", Layout.vector(shape), name)
        network = Network(shape, name)
        network.layouts[name] = Layout.vector(shape)
        self._declare_input(network, shape, annotations.get(name, "FLOAT32"))
        return network

    def _declare_input(self, network: Network, shape: tuple[int, ...], annotated: str) -> None:
        """The integers that the input takes, by the file's annotation or the user's option."""
        declared = None
        if self.input_type is not None:
            declared = parse_datatype(self.input_type, MAX_INPUT_BITS, "--input-type")
        found = declared
        if annotated != "FLOAT32":
            where = f"input {network.input_name} of {self.file}"
            try:
                found = parse_datatype(annotated, MAX_INPUT_BITS, where)
            except UserError as error:  # of no matter where a quantiser follows
                network.input_refusal = error
                found = None
        if declared is not None and found != declared:
            raise UserError(
                "--input-type contradicts the file",
                where=f"input {network.input_name} of {self.file}",
                found=f"{self.input_type}, and the file says {annotated}",
                fix="leave --input-type out",
            )
        if found is None and network.input_refusal is None and self.seen_type is not None:
            found = parse_datatype(self.seen_type, MAX_INPUT_BITS, "the inputs")
            network.seen_type = self.seen_type
        if found is not None:
            kind, lo, hi, scale = found
            network.integer_input = InputQuantiser(shape, kind, lo, hi, scale=scale)

    def _initialiser(self, tensor: onnx.TensorProto, datatype: str | None) -> Constant:
        try:
            value = widened(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError) as error:
            raise self._refuse(f"initialiser {tensor.name} is damaged", str(error)) from error
        if datatype in (None, "FLOAT32") or (value != np.rint(value)).any():
            return Constant(value)
        try:  # weights that another tool has quantised already
            _, lo, hi, scale = parse_datatype(datatype, 32, f"tensor {tensor.name}")
        except UserError:
            return Constant(value)
        if value.size and scale == 1 and lo <= value.min() and value.max() <= hi:
            return Constant(value, value.astype(np.int64), np.ones(value.shape))
        return Constant(value)

    def _refuse(self, what: str, found: str) -> UserError:
        return UserError(what, where=self.file, found=found)


def _annotations(graph: onnx.GraphProto) -> Iterable[tuple[str, str]]:
    for annotation in graph.quantization_annotation:
        for entry in annotation.quant_parameter_tensor_names:
            if entry.key.lower() == "finn_datatype":
                yield annotation.tensor_name, entry.value


def _needed(graph: onnx.GraphProto, output: str) -> list[tuple[int, onnx.NodeProto]]:
    """The nodes that the output depends on, in the file's order."""
    wanted, kept = {output}, []
    for index, node in reversed(list(enumerate(graph.node))):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append((index, node))
    return kept[::-1]


def _name(index: int, node: onnx.NodeProto) -> str:
    return node.name or f"number {index}"


def _require_supported(node: Node) -> None:
    domains = QUANTISER_DOMAINS if node.op in (*QUANTISERS, "Trunc") else STANDARD_DOMAINS
    if node.op in KNOWN and node.domain in domains:
        return
    fix = "express it by operators that are supported, or leave it to the host behind the network"
    if node.op in ("QuantizeLinear", "DequantizeLinear"):
        fix = "convert QCDQ to QONNX (qonnx: ConvertQCDQtoQONNX)"
    raise node.refuse(
        "the operator is not supported",
        found=f"{node.op} of domain {node.domain or 'ai.onnx'}",
        expected=", ".join(KNOWN),
        fix=fix,
    )
