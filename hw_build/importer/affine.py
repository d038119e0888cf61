"""What integers mean as real numbers: (integer + shift) * scale / divisor + offset, per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from hw_build.scalar import Step, evaluate

ONE = np.float64(1)

SHIFT_GRAIN = 1024
"""Shifts are multiples of 1/1024: adding one to an integer below 2**42 never rounds."""


@dataclass(frozen=True, eq=False)
class Affine:
    """real = (integer + shift) * scale / divisor + offset; float64 arrays of shape () or (C,).

    The shift takes what is a whole number of steps (zero points, 2x-1 on a binary grid), so that
    sums of it stay exact integers; the offset takes the rest. The divisor takes what no float
    scale can hold (the 255 of pixels / 255), so that scale / divisor is the exact real number;
    `exact` says that neither has been rounded.
    """

    scale: np.ndarray
    shift: np.ndarray
    offset: np.ndarray
    divisor: np.ndarray = ONE
    exact: bool = True

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
                return self._over(p["by"])
            case "add":
                return self._plus(p["to"])
            case "sub":
                return self._plus(-p["less"])
            case "sub_from":
                return self._times(np.float64(-1))._plus(p["whole"])
        return None

    def _times(self, factor: np.ndarray) -> Affine:
        scale, exact = product(self.scale, factor)
        moved = replace(self, scale=scale, offset=self.offset * factor, exact=self.exact and exact)
        return moved._reduced()

    def _over(self, by: np.ndarray) -> Affine:
        divisor, exact = product(self.divisor, by)
        moved = replace(self, divisor=divisor, offset=self.offset / by, exact=self.exact and exact)
        return moved._reduced()

    def _reduced(self) -> Affine:
        """Without the divisor where scale / divisor is a float64 number."""
        if (self.divisor == 1).all():
            return self
        with np.errstate(all="ignore"):
            scale = self.scale / self.divisor
        again, exact = product(scale, self.divisor)
        if not (exact and (again == self.scale).all()):
            return self
        return replace(self, scale=scale, divisor=ONE)

    def _plus(self, addend: np.ndarray) -> Affine:
        if not np.any(addend):
            return self
        scale, divisor, addend = np.broadcast_arrays(self.scale, self.divisor, addend)
        with np.errstate(all="ignore"):
            shift = np.rint(addend / scale * divisor * SHIFT_GRAIN) / SHIFT_GRAIN
        if not np.isfinite(shift).all() or np.abs(shift).max() >= 2**32:
            return replace(self, offset=self.offset + addend)
        parts = np.unique(np.stack([a.ravel() for a in (scale, shift, addend, divisor)]), axis=1)
        rows = zip(*parts.tolist(), strict=True)
        if all(Fraction(a) * Fraction(b) == Fraction(c) * Fraction(d) for a, b, c, d in rows):
            return replace(self, shift=self.shift + shift)
        return replace(self, offset=self.offset + addend)

    @property
    def slope(self) -> np.ndarray:
        """scale / divisor, rounded to float64."""
        return self.scale / self.divisor

    @property
    def total_offset(self) -> np.ndarray:
        """The real number that the integer 0 stands for."""
        return self.shift * self.scale / self.divisor + self.offset

    def collapsed(self) -> Affine:
        """The same with vectors of equal entries made scalars; a divisor per channel is folded."""
        scale, divisor, exact = self.scale, collapse(self.divisor), self.exact
        if divisor.ndim:
            scale, divisor, exact = scale / divisor, ONE, False
        scales = (collapse(scale), collapse(self.shift), collapse(self.offset))
        return Affine(*scales, divisor, exact)

    def equals_on(self, integers: np.ndarray, steps: Sequence[Step]) -> bool:
        """Whether float64 `steps` on `integers`, shape (n,), are exactly this, without rounding."""
        reals = evaluate(steps, integers[:, None].astype(np.float64))  # (n, 1) or (n, C)
        own = (self.scale, self.shift, self.offset, self.divisor)
        columns = np.broadcast(*own, reals[0]).size
        meaning = np.broadcast_arrays(*own, np.empty(columns))[:4]
        reals = np.broadcast_to(reals, (len(integers), columns))
        distinct = np.unique(np.concatenate([np.stack(meaning), reals]).T, axis=0)
        for row in distinct.tolist():
            a, b, c, d = map(Fraction, row[:4])
            pairs = zip(integers.tolist(), row[4:], strict=True)
            if any(a * (int(q) + b) / d + c != Fraction(real) for q, real in pairs):
                return False
        return True


def product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, bool]:
    """a * b in float64, and whether that rounded nowhere."""
    with np.errstate(all="ignore"):
        c = a * b
    if not np.isfinite(c).all():
        return c, False
    pairs = np.unique(np.stack([x.ravel() for x in np.broadcast_arrays(a, b, c)]), axis=1)
    rows = zip(*pairs.tolist(), strict=True)
    return c, all(Fraction(x) * Fraction(y) == Fraction(z) for x, y, z in rows)


def collapse(values: np.ndarray) -> np.ndarray:
    """A scalar array where all entries are equal, otherwise the array."""
    values = np.asarray(values, np.float64)
    return values.reshape(-1)[0].reshape(()) if (values == values.flat[0]).all() else values
