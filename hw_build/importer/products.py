"""What stands between integers and a product: real numbers, and when one rounding makes them."""

from __future__ import annotations

import numpy as np

from hw_build.graph import TensorInfo
from hw_build.importer.affine import SHIFT_GRAIN, Affine
from hw_build.importer.values import Node
from hw_build.scalar import Step

FOLLOWED = ("", "Mul", "Div", "Add", "Sub", "Neg")
"""Operators whose chains are real numbers, where they take one number; "" is a dequantisation."""


def is_followed(steps: tuple[Step, ...]) -> bool:
    """Whether steps between a quantiser and a layer define real numbers, not float ones.

    What stands between integers and a product is read as arithmetic on real numbers where it
    multiplies, divides or adds one number: the sum over x / 255 is the sum over x, divided by
    255. Executors in floating point come close to it, each by noise of its own.
    """
    return all(
        step.operator in FOLLOWED and not any(np.ndim(value) for value in step.parameters.values())
        for step in steps
    )


def divides_once(info: TensorInfo, shift: np.ndarray, scale: np.ndarray) -> bool:
    """Whether (accumulator + shift) * scale never rounds, so that only a division after it does."""
    grain = SHIFT_GRAIN / np.gcd.reduce(
        [SHIFT_GRAIN, *np.int64(np.atleast_1d(shift) * SHIFT_GRAIN)]
    )
    largest = np.maximum(abs(info.lo + shift), abs(info.hi + shift)) * grain
    mantissa = np.int64(np.frexp(scale)[0] * 2.0**53)
    scale_bits = 54 - np.frexp(np.float64(mantissa & -mantissa))[1]
    return bool((np.frexp(largest)[1] + scale_bits <= 53).all())


def affine_of(steps: tuple[Step, ...], node: Node) -> Affine:
    """What integers mean after `steps`; UserError that names `node` where that isn't affine."""
    meaning = Affine.identity()
    for step in steps:
        after = meaning.then(step)
        if after is None:
            raise node.refuse(
                "an activation between the quantiser and this layer leaves the integer grid",
                found=f"{step.op} of node {step.node}",
                expected="scales and offsets only",
                fix="quantise after the activation, not before it",
            )
        meaning = after
    return meaning.collapsed()
