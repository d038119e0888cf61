"""The oracle: a float64 executor of QONNX for whole batches, independent of the importer.

Everything is evaluated as QONNX defines it, in float64, from float32 constants widened exactly;
products of quantised operands are rounded once (`oracle_product`), so that an accumulator that lies
on a threshold lies on it here as well. What it computes is what the integer graph and every later
executor are compared with, after `gates.decode`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx.helper import get_attribute_value

from deploy.errors import UserError
from hw_build.oracle.call import Call, Operator, label
from hw_build.oracle.chain import MOVES, Chain, follow
from hw_build.oracle.operators import ONNX_DOMAINS, find
from hw_build.oracle.shapes import widen

FRAMES_AT_ONCE = 2048
VALUES_AT_ONCE = 1 << 24
"""Bounds of the memory: a few arrays of so many frames, or values, live at a time."""


@dataclass
class _Node:
    """A node as the oracle keeps it, with what its operator derived from constant operands."""

    name: str
    op: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict
    derived: dict = field(default_factory=dict)


class Oracle:
    """Runs one QONNX model.

    Axis 0 is the batch whatever the file says: a file written for a batch of one, or with a
    symbol there, runs with any number of frames. `inexact` names the products that were plain
    float64 sums in the runs so far, because their operands are no quantised values.

    Raises:
        UserError: the file can't be read, has several inputs, or holds an unsupported operator.
    """

    def __init__(self, model: str | Path | onnx.ModelProto) -> None:
        proto = model if isinstance(model, onnx.ModelProto) else _load(Path(model))
        graph = proto.graph
        self.inexact: set[str] = set()
        self._largest = 1  # values of one frame in the largest array
        self._opset = _opset(proto)
        self._constants = {init.name: _constant(init) for init in graph.initializer}
        inputs = [value for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1:
            raise UserError(
                "the model doesn't have exactly one input",
                found=", ".join(value.name for value in inputs) or "none",
            )
        self.input_name = inputs[0].name
        dims = inputs[0].type.tensor_type.shape.dim
        self._shape = [dim.dim_value or None for dim in dims]  # None: a symbol
        if not self._shape:
            raise UserError("the model's input has no batch axis", where=self.input_name)
        self.output_names = [value.name for value in graph.output]
        nodes = [_node(proto_node) for proto_node in graph.node]
        _check_supported(nodes)
        self._nodes = [node for node in nodes if not self._fold(node)]

    def run(
        self,
        inputs: np.ndarray,
        tensors: Sequence[str] = (),
        given: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Evaluates every frame.

        Args:
            inputs: finite real numbers of shape (N, ...), as the model takes them, N >= 1.
            tensors: names of tensors wanted besides the graph's outputs.
            given: (N, ...) by tensor name: what the nodes that read such a tensor get, in place of
                what was computed.

        Returns:
            float64 arrays by tensor name, the graph's outputs first; axis 0 is the batch, save for
            constants. Of tensors that are given, what was computed.
        """
        given = given or {}
        inputs = np.asarray(inputs)
        self._check(inputs)
        wanted = list(dict.fromkeys([*self.output_names, *tensors]))
        made = {name for node in self._nodes for name in node.outputs} | {self.input_name}
        for name in wanted:
            if name not in made and name not in self._constants:
                raise UserError("no such tensor in the model", where=name)
        self._largest = 1
        chunks = [self._run_chunk(inputs, wanted, given, slice(0, 1))]
        n_frames = max(1, min(FRAMES_AT_ONCE, VALUES_AT_ONCE // self._largest))
        chunks += [
            self._run_chunk(inputs, wanted, given, slice(start, start + n_frames))
            for start in range(1, len(inputs), n_frames)
        ]
        result = {}
        for name in wanted:
            constant = self._constants.get(name)
            array = np.concatenate([c[name] for c in chunks]) if constant is None else constant
            if not np.isfinite(array).all():
                raise UserError("a tensor is not finite", where=name, found="NaN or infinity")
            result[name] = array.astype(np.float64)
        return result

    def _check(self, inputs: np.ndarray) -> None:
        expected = self._shape[1:]
        fits = inputs.ndim == len(self._shape) and all(
            size in (None, actual) for size, actual in zip(expected, inputs.shape[1:], strict=True)
        )
        if not fits or not len(inputs):
            shown = ", ".join(["N", *("any" if size is None else str(size) for size in expected)])
            raise UserError(
                "the inputs don't fit the model",
                where=f"input {self.input_name!r}",
                found=f"shape {inputs.shape}",
                expected=f"shape ({shown}), N at least 1",
            )
        if inputs.dtype.kind not in "iufb" or not np.isfinite(inputs).all():
            raise UserError("inputs that are no finite numbers", where=f"input {self.input_name!r}")

    def _fold(self, node: _Node) -> bool:
        """Evaluates a node of constants once and for all; False where it isn't one."""
        if not all(name in self._constants for name in node.inputs if name):
            return False
        self._constants.update(self._evaluate(node, self._constants, set(), {}, frames=1))
        return True

    def _run_chunk(
        self,
        inputs: np.ndarray,
        wanted: Sequence[str],
        given: Mapping[str, np.ndarray],
        rows: slice,
    ) -> dict[str, np.ndarray]:
        """The wanted tensors, save constants; others are dropped after their last use."""
        frames = inputs[rows].astype(np.float64)
        last_use = {name: i for i, node in enumerate(self._nodes) for name in node.inputs}
        arrays, batched = {self.input_name: frames}, {self.input_name}
        results = {name: array for name, array in arrays.items() if name in wanted}
        chains: dict[str, Chain] = {}
        for i, node in enumerate(self._nodes):
            made = self._evaluate(node, arrays | self._constants, batched, chains, len(frames))
            arrays.update(made)
            if node.op != "Shape" and batched.intersection(node.inputs):
                self._check_batch(node, made, len(frames))
                batched.update(made)
            results.update({name: array for name, array in made.items() if name in wanted})
            for name in given.keys() & made.keys():
                arrays[name] = given[name][rows].astype(np.float64)
                chains.pop(name, None)
            for name in [*node.inputs, *node.outputs]:
                if last_use.get(name, i) <= i:
                    arrays.pop(name, None)
                    chains.pop(name, None)
        return results

    def _check_batch(self, node: _Node, made: dict[str, np.ndarray], frames: int) -> None:
        """Whatever an operator did, its outputs hold one entry per frame."""
        for name, array in made.items():
            if array.shape[:1] != (frames,):
                raise UserError(
                    "the batch axis is lost",
                    where=f"node {node.name!r} ({label(node.domain, node.op)})",
                    found=f"{name} of shape {array.shape}",
                    expected=f"{frames} frames on axis 0",
                )

    def _evaluate(
        self,
        node: _Node,
        arrays: dict[str, np.ndarray],
        batched: set[str],
        chains: dict[str, Chain],
        frames: int,
    ) -> dict[str, np.ndarray]:
        for name in node.inputs:
            if name and name not in arrays:
                raise UserError(
                    "a tensor is used before it is made",
                    where=f"node {node.name!r} ({label(node.domain, node.op)})",
                    found=name,
                )
        call = Call(
            name=node.name,
            op=node.op,
            domain=node.domain,
            opset=self._opset,
            attributes=node.attributes,
            batched=[name in batched for name in node.inputs],
            frames=frames,
            file_batch=self._shape[0] or 1,
            derived=node.derived,
            chain=chains.get(node.inputs[0]) if node.inputs else None,
        )
        operands = [arrays[name] if name else None for name in node.inputs]
        try:
            with np.errstate(all="ignore"):  # what isn't finite is refused where it shows
                operator = find(node.domain, node.op)
                result = operator(call, operands)
                if batched.intersection(node.inputs) and node.domain in ONNX_DOMAINS:
                    _follow(node, call, operands, operator, chains)
        except (ValueError, IndexError, KeyError) as error:
            shapes = ", ".join(str(np.shape(operand)) for operand in operands)
            raise call.refuse(
                "the node can't be evaluated", found=f"{error}; inputs {shapes}"
            ) from error
        if call.inexact:
            self.inexact.add(node.name)
        results = result if isinstance(result, tuple) else (result,)
        largest = max(call.largest, *(np.size(array) for array in results))
        self._largest = max(self._largest, largest // frames)
        return {name: np.asarray(array) for name, array in zip(node.outputs, results, strict=False)}


def _follow(
    node: _Node, call: Call, operands: list, operator: Operator, chains: dict[str, Chain]
) -> None:
    """Keeps the chain of a node's first output, where it is arithmetic on real numbers."""
    made = call.passed
    if node.op in MOVES and call.chain is not None:
        moved = operator(call, [call.chain.base, *operands[1:]])
        made = Chain(moved, call.chain.scale, call.chain.offset)
    elif made is None and node.op not in MOVES:
        given = [
            chains.get(name, Chain(array)) if is_data else None
            for name, array, is_data in zip(node.inputs, operands, call.batched, strict=True)
        ]
        made = follow(node.op, operands, given)
    if made is not None:
        chains[node.outputs[0]] = made


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except (OSError, DecodeError) as error:
        raise UserError(
            "can't read the model", where=str(path), found=str(error), expected="a QONNX file"
        ) from error


def _opset(proto: onnx.ModelProto) -> int:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ONNX_DOMAINS]
    return max(versions, default=onnx.defs.onnx_opset_version())


def _constant(tensor: onnx.TensorProto) -> np.ndarray:
    array = widen(onnx.numpy_helper.to_array(tensor))
    if np.isnan(array).any():
        raise UserError("a constant of the model is not a number", where=tensor.name, found="NaN")
    return array


def _node(proto: onnx.NodeProto) -> _Node:
    attributes = {attribute.name: _attribute(attribute) for attribute in proto.attribute}
    name = proto.name or f"{proto.op_type} of {', '.join(proto.output)}"
    inputs, outputs = list(proto.input), list(proto.output)
    return _Node(name, proto.op_type, proto.domain, inputs, outputs, attributes)


def _attribute(proto: onnx.AttributeProto) -> object:
    value = get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value


def _check_supported(nodes: Sequence[_Node]) -> None:
    strange = [node for node in nodes if find(node.domain, node.op) is None]
    if strange:
        raise UserError(
            "unsupported operator",
            where=f"node {strange[0].name!r}",
            found="; ".join(dict.fromkeys(label(node.domain, node.op) for node in strange)),
        )
