"""What integers mean as real numbers: scale * (integer + shift) + offset, per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hw_build.scalar import Step, evaluate

SHIFT_GRAIN = 1024
"""Shifts are multiples of 1/1024: adding one to an integer below 2**42 never rounds."""


@dataclass(frozen=True, eq=False)
class Affine:
    """real = scale * (integer + shift) + offset; float64 arrays of shape () or (C,).

    The shift takes what is a whole number of steps (zero points, 2x-1 on a binary grid), so that
    sums of it stay exact integers; the offset takes the rest.
    """

    scale: np.ndarray
    shift: np.ndarray
    offset: np.ndarray

    @classmethod
    def of_quantiser(cls, step: Step) -> Affine:
        """The meaning of a quantiser's levels."""
        scale = step.parameters["scale"]
        zero_point = step.parameters.get("zero_point", np.float64(0))
        return cls(scale, -zero_point, np.float64(0) * scale)

    @classmethod
    def identity(cls) -> Affine:
        return cls(*(np.asarray(value, np.float64) for value in (1, 0, 0)))

    def then(self, step: Step) -> Affine | None:
        """The meaning after one more step; None where the step isn't affine."""
        p = step.parameters
        match step.op:
            case "affine":
                scaled = self._plus(p["shift"])._times(p["scale"])
                return scaled._plus(p["offset"])
            case "mul":
                return self._times(p["by"])
            case "div":
                return Affine(self.scale / p["by"], self.shift, self.offset / p["by"])
            case "add":
                return self._plus(p["to"])
            case "sub":
                return self._plus(-p["less"])
            case "sub_from":
                return self._times(np.float64(-1))._plus(p["whole"])
        return None

    def _times(self, factor: np.ndarray) -> Affine:
        return Affine(self.scale * factor, self.shift, self.offset * factor)

    def _plus(self, addend: np.ndarray) -> Affine:
        if not np.any(addend):
            return self
        scale, addend = np.broadcast_arrays(self.scale, addend)
        with np.errstate(all="ignore"):
            shift = np.rint(addend / scale * SHIFT_GRAIN) / SHIFT_GRAIN
        if not np.isfinite(shift).all() or np.abs(shift).max() >= 2**32:
            return replace(self, offset=self.offset + addend)
        pairs = zip(scale.flat, shift.flat, addend.flat, strict=True)
        if all(Fraction(a) * Fraction(b) == Fraction(c) for a, b, c in pairs):
            return replace(self, shift=self.shift + shift)
        return replace(self, offset=self.offset + addend)

    @property
    def total_offset(self) -> np.ndarray:
        """The real number that the integer 0 stands for."""
        return self.scale * self.shift + self.offset

    def collapsed(self) -> Affine:
        """The same with vectors of equal entries made scalars."""
        return Affine(collapse(self.scale), collapse(self.shift), collapse(self.offset))

    def equals_on(self, integers: np.ndarray, steps: Sequence[Step]) -> bool:
        """Whether float64 `steps` on `integers`, shape (n,), are exactly this, without rounding."""
        reals = evaluate(steps, integers[:, None].astype(np.float64))  # (n, 1) or (n, C)
        columns = np.broadcast(self.scale, self.shift, self.offset, reals[0]).size
        reals = np.broadcast_to(reals, (len(integers), columns))
        meaning = np.broadcast_arrays(self.scale, self.shift, self.offset, np.empty(columns))[:3]
        distinct = np.unique(np.concatenate([np.stack(meaning), reals]).T, axis=0)
        for scale, shift, offset, *row in distinct.tolist():
            a, b, c = Fraction(scale), Fraction(shift), Fraction(offset)
            pairs = zip(integers.tolist(), row, strict=True)
            if any(a * (int(q) + b) + c != Fraction(real) for q, real in pairs):
                return False
        return True


def collapse(values: np.ndarray) -> np.ndarray:
    """A scalar array where all entries are equal, otherwise the array."""
    values = np.asarray(values, np.float64)
    return values.reshape(-1)[0].reshape(()) if (values == values.flat[0]).all() else values
