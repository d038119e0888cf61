"""What the importer knows of a tensor of the QONNX graph: a constant, a signal, or the tail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.errors import UserError
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


@dataclass(frozen=True, eq=False)
class Signal:
    """A tensor of the network's data: elementwise steps on the integers of a layer.

    `source` names the MatVec whose accumulators the steps start from; it is empty before the
    first, where they start from the model's input. `shape` is the QONNX shape without the batch;
    channels are its entries in row-major order. `tensor` is the QONNX name.
    """

    source: str
    shape: tuple[int, ...]
    tensor: str
    steps: tuple[Step, ...] = ()

    @property
    def n_channels(self) -> int:
        return int(np.prod(self.shape))

    @property
    def last_quantiser(self) -> int | None:
        """The index of the last quantiser among the steps."""
        indices = [i for i, step in enumerate(self.steps) if step.is_quantiser]
        return indices[-1] if indices else None


@dataclass(frozen=True, eq=False)
class Tail:
    """What follows the last signal that hardware can compute: operators for the host to finish.

    `is_class` says that an arg max over the channels has been taken.
    """

    signal: Signal
    operators: tuple[str, ...]
    is_class: bool = False


Value = Constant | Signal | Tail


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
        """The error that names this node, to be raised by the caller."""
        return UserError(what, where=self.where, found=found, expected=expected, fix=fix)

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
        spread = spread.reshape(-1)
        return spread[0].reshape(()) if (spread == spread[0]).all() else spread.copy()


def in_text(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
