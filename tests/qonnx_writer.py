"""A small writer of QONNX files, and the specimens that it makes, for tests. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, StringStringEntryProto, TensorAnnotation, TensorProto, helper
from onnx.numpy_helper import from_array

QONNX = "qonnx.custom_op.general"


@dataclass(frozen=True)
class Specimen:
    """A model, and the inputs that it was made for.

    Inputs are `low + step * k <= high` for integers k, or any real between where `step` is 0.
    `float32_exact` promises that float32 evaluation, in any order, rounds nowhere.
    """

    name: str
    model: ModelProto
    shape: tuple[int, ...]  # without the batch
    low: float
    high: float
    step: float
    float32_exact: bool = False

    def inputs(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` random frames, float32 of shape (n, *shape)."""
        rng = np.random.default_rng(seed)
        if self.step == 0:
            return rng.uniform(self.low, self.high, (n, *self.shape)).astype(np.float32)
        levels = round((self.high - self.low) / self.step) + 1
        picked = rng.integers(0, levels, (n, *self.shape))
        return (self.low + self.step * picked).astype(np.float32)


class Writer:
    """Collects nodes and initialisers; every method returns the name of the tensor it made."""

    def __init__(self, seed: int = 0, domain: str = QONNX, opset: int = 13) -> None:
        self.rng = np.random.default_rng(seed)
        self.domain, self.opset = domain, opset
        self.nodes: list = []
        self.constants: list[TensorProto] = []
        self.annotations: list[TensorAnnotation] = []

    def const(self, value: object, dtype: type = np.float32) -> str:
        """An initialiser."""
        name = f"const_{len(self.constants)}"
        self.constants.append(from_array(np.asarray(value, dtype), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes) -> str:
        """A node; the name of its first output."""
        name = f"{op}_{len(self.nodes)}"
        made = [f"{name}_out{i}" if i else f"{name}_out" for i in range(outputs)]
        node = helper.make_node(op, inputs, made, name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return made[0]

    def quant(
        self,
        x: str,
        scale: object,
        bits: float,
        signed: bool = True,
        narrow: bool = False,
        rounding: str = "ROUND",
        zero_point: float = 0.0,
    ) -> str:
        """A Quant node."""
        constants = [self.const(scale), self.const(zero_point), self.const(bits)]
        attributes = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": rounding}
        return self.add("Quant", x, *constants, domain=self.domain, **attributes)

    def bipolar(self, x: str, scale: object = 1.0) -> str:
        """A BipolarQuant node."""
        return self.add("BipolarQuant", x, self.const(scale), domain=self.domain)

    def batch_norm(self, x: str, n: int, spread: float, gamma: object = None) -> str:
        """A BatchNormalization for accumulators of about `spread` around 0."""
        if gamma is None:
            gamma = self.rng.uniform(0.5, 1.5, n)
        beta = self.rng.normal(0, 0.3, n)
        mean = self.rng.normal(0, 0.5 * spread, n)
        variance = spread**2 * self.rng.uniform(0.5, 1.5, n)
        constants = [self.const(value) for value in (gamma, beta, mean, variance)]
        return self.add("BatchNormalization", x, *constants, epsilon=1e-5)

    def annotate(self, tensor: str, datatype: str) -> None:
        """QONNX's quantization annotation of a tensor."""
        entry = StringStringEntryProto(key="finn_datatype", value=datatype)
        annotation = TensorAnnotation(tensor_name=tensor, quant_parameter_tensor_names=[entry])
        self.annotations.append(annotation)

    def model(
        self, shape: Sequence[object], outputs: Sequence[str], sizes: Sequence[Sequence[object]]
    ) -> ModelProto:
        """The model, with input `inp` of `shape` and `outputs` of `sizes`, batch included."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("inp", TensorProto.FLOAT, shape)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
                for name, size in zip(outputs, sizes, strict=True)
            ],
            self.constants,
        )
        graph.quantization_annotation.extend(self.annotations)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(self.domain, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def specimen(
        self, name: str, out: str, low: float, high: float, step: float, exact: bool = False, **kw
    ) -> Specimen:
        """The model of one input and one output, wrapped; `shape` and `n_out` by keyword."""
        shape, n_out, batch = kw["shape"], kw["n_out"], kw.get("batch", 1)
        model = self.model([batch, *shape], [out], [[batch, n_out]])
        return Specimen(name, model, tuple(shape), low, high, step, exact)


def layer_sizes(sizes: Sequence[int]) -> list[tuple[int, int, bool]]:
    """(inputs, outputs, is last) of each layer."""
    last = len(sizes) - 2
    return [(sizes[i], sizes[i + 1], i == last) for i in range(last + 1)]


def random_integers(w: Writer, bits: int, shape: tuple[int, int]) -> np.ndarray:
    """Random weights of a signed narrow type; bipolar for one bit."""
    if bits == 1:
        return w.rng.choice([-1, 1], shape)
    top = 2 ** (bits - 1) - 1
    return w.rng.integers(-top, top + 1, shape)
