"""Scalar functions of one channel, as chains of elementwise float64 steps.

What a QONNX graph does to a number between an accumulator and the next integer (scale, bias,
batch norm, activation, quantiser) is kept as the steps that the graph writes, in their order,
because the order of roundings decides what happens on a tie. A step is data, not a closure, so
that the host's input quantiser can be kept in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.scalar_formulas import FORMULAS, levels
from hw_build.graph import BIPOLAR, IntType

Array = np.ndarray

UNBOUNDED = float(np.finfo(np.float64).max)
"""A bound of a clip that bounds nothing; finite, so that JSON has a number for it."""


@dataclass(frozen=True, eq=False)
class Step:
    """One elementwise operation: y = op(x; parameters), float64, per channel.

    `op` is a key of `OPERATIONS`. `parameters` are float64 arrays of shape () or (C,), and the
    name of a rounding mode. `node` and `operator` name the QONNX node and its kind, `tensor` the
    tensor that this step completes; it is empty for the inner steps of a node that takes several.
    """

    op: str
    parameters: Mapping[str, Any]
    node: str = ""
    operator: str = ""
    tensor: str = ""

    def __call__(self, x: Array) -> Array:
        return OPERATIONS[self.op].apply(x, self.parameters)

    @property
    def direction(self) -> Array | None:
        """+1, -1 or 0 (constant) per channel where y is monotone in x, None where unknown."""
        return OPERATIONS[self.op].direction(self.parameters)

    @property
    def is_quantiser(self) -> bool:
        return self.op in ("quant", "bipolar", "trunc")

    def levels(self, x: Array) -> Array:
        """The integers of a quantiser step, as float64; its real output is their meaning."""
        return levels(self.op, self.parameters, x)

    @property
    def low(self) -> int:
        """The least level of a quantiser step."""
        return int(self.parameters["low"])

    @property
    def high(self) -> int:
        """The greatest level of a quantiser step."""
        return int(self.parameters["high"])

    @property
    def stride(self) -> int:
        """The distance of a quantiser's neighbouring levels: 2 for {-1, +1}, else 1."""
        return 2 if self.is_sign else 1

    @property
    def is_sign(self) -> bool:
        return self.op == "bipolar" or self.parameters.get("rounding") == "SIGN"

    @property
    def level_type(self) -> IntType:
        """The narrowest type that holds the quantiser's levels; ValueError over 32 bits."""
        return BIPOLAR if self.is_sign else IntType.holding(self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        parameters = {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in self.parameters.items()
        }
        names = {key: getattr(self, key) for key in ("op", *_NAMES)}
        return {**names, "parameters": parameters}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Step:
        """The inverse of `to_json`; KeyError for an unknown operation."""
        parameters = {
            key: value if isinstance(value, str) else np.asarray(value, np.float64)
            for key, value in fields["parameters"].items()
        }
        if fields["op"] not in OPERATIONS:
            raise KeyError(fields["op"])
        return cls(fields["op"], parameters, *(str(fields[key]) for key in _NAMES))


_NAMES = ("node", "operator", "tensor")


def evaluate(steps: Sequence[Step], x: Array) -> Array:
    """The steps in order on x, shape (..., C), float64. Overflow runs into infinity silently."""
    with np.errstate(over="ignore", under="ignore"):
        for step in steps:
            x = step(x)
    return x


def direction(steps: Sequence[Step], n_channels: int) -> Array | None:
    """The direction of the whole chain per channel, shape (C,); None where a step's is unknown.

    Every monotone step stays (weakly) monotone under float64's rounding, since correct rounding
    is itself monotone; so does their composition.
    """
    total = np.ones(n_channels)
    for step in steps:
        if step.direction is None:
            return None
        total = total * step.direction
    return total


@dataclass(frozen=True)
class Operation:
    """How a kind of step is evaluated, and which way it runs."""

    apply: Callable[[Array, Mapping[str, Any]], Array]
    direction: Callable[[Mapping[str, Any]], Array | None]


def _rising(parameters: Mapping[str, Any]) -> Array:
    return np.float64(1)


def _by_sign_of(key: str) -> Callable[[Mapping[str, Any]], Array]:
    return lambda p: np.sign(p[key])


def _leaky_direction(p: Mapping[str, Any]) -> Array | None:
    return np.float64(1) if (p["slope"] >= 0).all() else None


_DIRECTIONS: dict[str, Callable[[Mapping[str, Any]], Array | None]] = {
    # A dot product of integers as real numbers: the first step after every MatVec. `slack`
    # bounds how far the graph's own float64 evaluation may be from it (0 where it is exact).
    "affine": _by_sign_of("scale"),
    "mul": _by_sign_of("by"),
    "div": _by_sign_of("by"),
    "add": _rising,
    "sub": _rising,
    "sub_from": lambda p: np.float64(-1),
    "clip": _rising,
    "leaky": _leaky_direction,
    "sigmoid": _rising,
    "tanh": _rising,
    "abs": lambda p: None,
    "quant": _rising,
    # Integers of `scale_before`, rounded on the grid of `divisor` of them.
    "trunc": _rising,
    "bipolar": _rising,
}

OPERATIONS: dict[str, Operation] = {
    op: Operation(FORMULAS[op], direction) for op, direction in _DIRECTIONS.items()
}
"""The kinds of steps. Quantisers have positive scales; the importer refuses others."""
