"""What an operator of the oracle is given: a call of one node, and the rule for its batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from deploy.errors import UserError
from hw_build.oracle.chain import Chain


@dataclass
class Call:
    """One evaluation of a node.

    `batched` says per input whether its axis 0 is the frames, of which there are `frames`.
    `file_batch` is the batch size that the file was written with (1 where it is a symbol).
    `derived` lives as long as the node: what was derived from its constant operands. `chain` is
    the first input's, where arithmetic on real numbers made it; `passed` the result's, where the
    operator itself says so. `largest` counts the values of the largest array it made inside.
    """

    name: str
    op: str
    domain: str
    opset: int
    attributes: dict
    batched: list[bool]
    frames: int
    file_batch: int
    derived: dict = field(default_factory=dict)
    chain: Chain | None = None
    inexact: bool = False
    passed: Chain | None = None
    largest: int = 0

    def attribute(self, name: str, default: object = None) -> object:
        """The attribute's value; a float default is rounded to float32, as ONNX defines it."""
        if name in self.attributes:
            return self.attributes[name]
        return float(np.float32(default)) if isinstance(default, float) else default

    def refuse(self, what: str, **details: str) -> UserError:
        """The error to raise about this node."""
        return UserError(
            what, where=f"node {self.name!r} ({label(self.domain, self.op)})", **details
        )

    def axis(self, axis: int, rank: int) -> int:
        """`axis` counted from the front; refused where it is the frames of the first input."""
        if not -rank <= axis < rank:
            raise self.refuse("axis out of range", found=f"axis {axis} of rank {rank}")
        axis %= rank
        if self.batched[0] and axis == 0:
            raise self.refuse(
                "the node works across the batch axis",
                found="axis 0",
                expected="an operator that treats every frame alone",
            )
        return axis

    def check_broadcast(self, arrays: Sequence[np.ndarray | None]) -> None:
        """Broadcasting has to leave axis 0 of the batched arrays alone."""
        pairs = [(a, b) for a, b in zip(arrays, self.batched, strict=True) if a is not None]
        rank = max((a.ndim for a, batched in pairs if batched), default=None)
        if rank is None:
            return
        for array, batched in pairs:
            if array.ndim > rank or (array.ndim == rank and not batched and array.shape[0] != 1):
                raise self.refuse("a constant reaches into the batch axis", found=f"{array.shape}")
            if batched and array.ndim != rank:
                raise self.refuse("operands of different rank", found=f"{array.ndim} and {rank}")


Arrays = Sequence[np.ndarray | None]
Operator = Callable[[Call, Arrays], np.ndarray | tuple[np.ndarray, ...]]


def label(domain: str, op: str) -> str:
    """How messages write an operator."""
    return f"{op} of domain {domain or 'ai.onnx'!r}"


def optional(inputs: Arrays, index: int) -> np.ndarray | None:
    """An optional input, None where it was left out."""
    return inputs[index] if index < len(inputs) else None
