"""What the importer knows of a tensor of the QONNX graph: a constant, a signal, or the tail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.errors import UserError
from hw_build.importer.layout import Layout
from hw_build.scalar import Step

MAX_BITS = 8
"""The widest weights and hidden activations that the hardware takes."""

MAX_INPUT_BITS = 16
"""The widest integers that the hardware takes from the host."""

MAX_SUM_BITS = 31
"""The widest accumulators: one bit below the widest type, for the distance to a threshold."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that doesn't depend on the input; `value` is float64, or int64 for shapes.

    A quantised one also has `integers` and `scale`, both of its shape: value = scale * integers.
    """

    value: np.ndarray
    integers: np.ndarray | None = None
    scale: np.ndarray | None = None

    def rearranged(self, move: Callable[[np.ndarray], np.ndarray]) -> Constant:
        """The constant after a function that moves entries and changes none."""
        if self.integers is None or self.scale is None:
            return Constant(move(self.value))
        return Constant(move(self.value), move(self.integers), move(self.scale))


@dataclass(frozen=True)
class Sliding:
    """How a kernel slides over an image: (rows, columns); `pads` are top, left, bottom, right."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def n_positions(self) -> int:
        return self.kernel[0] * self.kernel[1]


@dataclass(frozen=True, eq=False)
class Pooling:
    """A max pool that waits for the quantiser after it: it stands before step number `before`."""

    sliding: Sliding
    before: int
    node: Node


@dataclass(frozen=True, eq=False)
class Signal:
    """A tensor of the network's data: elementwise steps on the integers of a layer.

    `source` names the layer whose integers the steps start from; it is empty before the first,
    where they start from the model's input in row-major order. `layout` says where the tensor's
    elements lie in the layer's; parameters of steps are laid out by the layer's channels.
    `tensor` is the QONNX name. A `pooling` among the steps has no layer yet: the layout is that
    after it.
    """

    source: str
    layout: Layout
    tensor: str
    steps: tuple[Step, ...] = ()
    pooling: Pooling | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The QONNX shape without the batch."""
        return self.layout.places.shape

    @property
    def n_values(self) -> int:
        return self.layout.places.size

    @property
    def n_channels(self) -> int:
        """Of the layer."""
        return self.layout.n_channels

    @property
    def last_quantiser(self) -> int | None:
        """The index of the last quantiser among the steps."""
        indices = [i for i, step in enumerate(self.steps) if step.is_quantiser]
        return indices[-1] if indices else None


@dataclass(frozen=True, eq=False)
class Tail:
    """What follows the last signal that hardware can compute: operators for the host to finish.

    `n_best` is the number of best classes that the last one takes along the channels: 1 behind an
    arg max, 0 while there are scores.
    """

    signal: Signal
    operators: tuple[str, ...]
    n_best: int = 0


Value = Constant | Signal | Tail


def describe_inputs(names: Iterable[str], values: Iterable[Value | None]) -> str:
    """Inputs of a node by name and shape; N is the batch of what depends on the network's data."""
    found = []
    for name, value in zip(names, values, strict=False):
        if isinstance(value, Constant):
            found.append(f"{name} ({', '.join(map(str, value.value.shape))})")
        elif value is not None:
            signal = value.signal if isinstance(value, Tail) else value
            found.append(f"{name} ({', '.join(map(str, ('N', *signal.shape)))})")
    return f"inputs {', '.join(found)}" if found else "no inputs"


@dataclass(frozen=True, eq=False)
class Node:
    """A QONNX node with the names and values of its inputs; None for one that is left out."""

    name: str
    op: str
    domain: str
    reads: tuple[str, ...]
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def where(self) -> str:
        return f"node {self.name} ({self.op})"

    def refuse(self, what: str, *, found: str = "", expected: str = "", fix: str = "") -> UserError:
        """The error that names this node and its inputs, to be raised by the caller."""
        where = f"{self.where}; {describe_inputs(self.reads, self.inputs)}"
        return UserError(what, where=where, found=found, expected=expected, fix=fix)

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def constant(self, index: int, role: str) -> Constant:
        """Input `index`, which must not depend on the network's data."""
        if not self.has(index):
            raise self.refuse(f"the {role} is missing", expected=f"input {index}")
        value = self.inputs[index]
        if not isinstance(value, Constant):
            raise self.refuse(
                f"the {role} is computed from the network's data",
                expected=f"a constant {role}",
                fix="export the trained network in evaluation mode, with constant parameters",
            )
        return value

    def integers(self, index: int, attribute: str) -> list[int] | None:
        """A list of integers that newer opsets pass as an input and older ones as an attribute."""
        if self.has(index):
            return [int(n) for n in self.constant(index, attribute).value.reshape(-1)]
        given = self.attributes.get(attribute)
        return None if given is None else [int(n) for n in np.reshape(given, -1)]

    def integers_of(self, attribute: str, default: list[int]) -> list[int]:
        """An attribute that is a list of integers."""
        return [int(n) for n in self.attributes.get(attribute, default)]

    def real(self, attribute: str, default: float) -> float:
        """A real attribute; ONNX stores them, and so defines their defaults, as float32."""
        return float(np.float32(self.attributes.get(attribute, default)))

    def scalar(self, index: int, role: str) -> float:
        value = self.constant(index, role).value
        if value.size != 1:
            raise self.refuse(f"the {role} is not one number", found=f"shape {value.shape}")
        return float(value.reshape(()))

    def extended(self, signal: Signal, *steps: tuple[str, Mapping[str, Any]]) -> Signal:
        """The signal after this node's steps, whose parameters are laid out per channel."""
        made = []
        for i, (op, parameters) in enumerate(steps):
            laid_out = {
                key: value if isinstance(value, str) else self.per_channel(signal, value)
                for key, value in parameters.items()
            }
            tensor = self.outputs[0] if i == len(steps) - 1 else ""
            made.append(Step(op, laid_out, self.name, self.op, tensor))
        return replace(signal, tensor=self.outputs[0], steps=(*signal.steps, *made))

    def per_channel(self, signal: Signal, parameter: object) -> np.ndarray:
        """A parameter that ONNX broadcasts to (batch, *shape), as float64 of shape () or (C,)."""
        values = np.asarray(parameter, np.float64)
        if not np.isfinite(values).all():
            raise self.refuse("a parameter is not finite", found=str(values[~np.isfinite(values)]))
        if values.size == 1:
            return values.reshape(())
        try:
            spread = np.broadcast_to(values, (1, *signal.shape))
        except ValueError as error:
            raise self.refuse(
                "a parameter doesn't fit the activations",
                found=f"parameter {values.shape}, activations (batch, {in_text(signal.shape)})",
                expected="one value, or one for each channel",
            ) from error
        found = signal.layout.by_channel(spread[0])
        if found is None:
            raise self.refuse(
                "a parameter differs from pixel to pixel",
                found=f"parameter {values.shape}, activations (batch, {in_text(signal.shape)})",
                expected="one value, or one for each channel",
            )
        return found[0].reshape(()) if (found == found[0]).all() else found


def data(node: Node, index: int) -> Signal:
    """Input `index` of a node that computes on the network's data."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if isinstance(value, Signal):
        return value
    if isinstance(value, Tail):
        raise node.refuse(
            "a layer follows an operator that the host finishes",
            found=" ".join(value.operators),
            expected=f"{' and '.join(value.operators)} at the network's end only",
        )
    ordinal = ("first", "second")[index] if index < 2 else f"input {index}"
    raise node.refuse(
        f"its {ordinal} input is a constant",
        expected="activations first, weights second (x @ W)",
    )


def in_text(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
