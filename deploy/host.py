"""The host's two ends of a network: real inputs to integers, and integers to scores or classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.errors import UserError
from deploy.scalar_formulas import FORMULAS, PARAMETERS, ROUNDINGS, levels

CHUNK_ROWS = 512
"""Inputs quantised at a time, to stay in a small processor's cache."""

QUANTISERS = ("quant", "bipolar")

_LONGEST_NAME = 200
"""Characters of a class's name, which are printed: none of them may be a terminal's command."""


@dataclass(frozen=True, eq=False)
class InputSteps:
    """From the model's input to integers, elementwise in float64: the last step is a quantiser.

    Without steps the inputs are integers from `lo` to `hi` times `scale`, and are checked to be.

    Args:
        shape: the model's input without the batch; its values are taken in row-major order.
        lo, hi: the range of the integers.
        bipolar: they are -1 and +1 alone.
        steps: name and parameters of each formula, in order.
        scale: see above.
    """

    shape: tuple[int, ...]
    lo: int
    hi: int
    bipolar: bool
    steps: tuple[tuple[str, Mapping[str, Any]], ...]
    scale: float

    @property
    def dtype(self) -> np.dtype:
        """The narrowest numpy integer type that holds lo to hi."""
        return np.result_type(np.min_scalar_type(self.lo), np.min_scalar_type(self.hi))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`dtype` (N, C) for inputs (N, *shape) or (N, C).

        Raises:
            UserError: another shape, not a number, or no integer of the range where those are due.
        """
        x = np.asarray(x)
        n = int(np.prod(self.shape))
        if x.ndim == 0 or x.shape[1:] not in (self.shape, (n,)) or x.dtype.kind not in "biuf":
            raise UserError(
                "the inputs have the wrong shape or type",
                found=f"{x.dtype} {x.shape}",
                expected=f"numbers, (N, {', '.join(map(str, self.shape))})",
            )
        x = x.reshape(len(x), n)
        out = np.empty(x.shape, self.dtype)
        for start in range(0, len(x), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            out[rows] = self._levels(x[rows].astype(np.float64), start)
        return out

    def _levels(self, x: np.ndarray, start: int) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self.steps:
                y = x
                for op, parameters in self.steps[:-1]:
                    y = FORMULAS[op](y, parameters)
                integers = levels(*self.steps[-1], y)
                good = np.isfinite(x) & ~np.isnan(integers)
            else:
                integers = x / self.scale
                good = integers == np.rint(integers)
            good &= (integers >= self.lo) & (integers <= self.hi)
        if self.bipolar:
            good &= integers != 0
        if not good.all():
            frame, index = np.argwhere(~good)[0]
            raise UserError(
                "an input has no integer of the network's input type",
                where=f"frame {start + frame}, value {index}",
                found=str(x[frame, index]),
                expected=f"finite; {self.lo} to {self.hi} after the input quantiser",
            )
        return integers

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> InputSteps:
        """Of accelerator.json's `quantiser`.

        Raises:
            ValueError, TypeError, KeyError: anything but such a quantiser.
        """
        shape = tuple(int(n) for n in fields["shape"])
        n = int(np.prod(shape))
        if not shape or min(shape) < 1 or n > 1 << 24:
            raise ValueError(f"no shape of an input: {shape}")
        steps = tuple(_step_from_json(step, n) for step in fields["steps"])
        if steps and steps[-1][0] not in QUANTISERS:
            raise ValueError("the last step quantises nothing")
        scale = float(fields["scale"])
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale {scale}")
        lo, hi = int(fields["lo"]), int(fields["hi"])
        if not -(1 << 31) <= lo <= hi < 1 << 32:
            raise ValueError(f"range {lo} to {hi}")
        return cls(shape, lo, hi, fields["type"] == "BIPOLAR", steps, scale)


def _is_a_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()


def _step_from_json(step: Mapping[str, Any], n: int) -> tuple[str, dict[str, Any]]:
    op = step["op"]
    if op not in FORMULAS:
        raise ValueError(f"no such step: {op!r}")
    parameters: dict[str, Any] = {}
    for name in PARAMETERS[op]:
        value = step["parameters"][name]
        if name == "rounding":
            if value not in ROUNDINGS:
                raise ValueError(f"no such rounding: {value!r}")
        else:
            value = np.asarray(value, np.float64)
            if value.shape not in ((), (1,), (n,)):
                raise ValueError(f"{op}.{name} has shape {value.shape}")
        parameters[name] = value
    return op, parameters


@dataclass(frozen=True, eq=False)
class OutputMeaning:
    """What leaves the accelerator: classes, or scores with real = scale * integer + offset.

    Args:
        is_class: a frame's integers are classes: the best, or several, the best first.
        scale, offset: float64, of shape () or (C,).
        class_names: by class, or None.
        n_pixels: how often a frame has them, pixel after pixel; 1 of a network that ends in a
            vector.
    """

    is_class: bool
    scale: np.ndarray
    offset: np.ndarray
    class_names: tuple[str, ...] | None
    n_pixels: int = 1

    def dequantise(self, integers: np.ndarray) -> np.ndarray:
        """float64 (N, m): scale * integer + offset.

        Raises:
            UserError: classes leave the accelerator, which stand for no real number.
        """
        if self.is_class:
            raise UserError(
                "this accelerator puts out classes, not scores",
                fix="build it with --output scores",
            )
        return (self._by_pixel(integers) * self.scale + self.offset).reshape(integers.shape)

    def classify(self, integers: np.ndarray) -> np.ndarray:
        """int64 (N,): the class of each frame, the lowest index among the greatest scores.

        (N, pixels) where every pixel has one.
        """
        if self.is_class:
            classes = self._by_pixel(integers)[..., 0].astype(np.int64)
        else:
            classes = self._by_pixel(self.dequantise(integers)).argmax(axis=-1)
        return classes[:, 0] if self.n_pixels == 1 else classes

    def best(self, integers: np.ndarray) -> np.ndarray:
        """int64 (N, k): the classes that leave, the best first; of scores the best one alone.

        (N, pixels) where every pixel has one.
        """
        if self.is_class:
            return integers.astype(np.int64)
        return self.classify(integers).reshape(len(integers), -1)

    def _by_pixel(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(len(values), self.n_pixels, -1)

    def names_of(self, classes: Sequence[int] | np.ndarray) -> list[str]:
        """The classes' names; the number as text of a class that has none."""
        names = self.class_names or ()
        return [names[int(c)] if 0 <= int(c) < len(names) else str(int(c)) for c in classes]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], n: int) -> OutputMeaning:
        """Of accelerator.json's `output_meaning`; `n` integers leave per frame.

        Raises:
            ValueError, TypeError, KeyError: anything but such a meaning.
        """
        kind, names, n_pixels = fields["kind"], fields["class_names"], fields["n_pixels"]
        if type(n_pixels) is not int or n_pixels < 1 or n % n_pixels:
            raise ValueError(f"output_meaning.n_pixels {n_pixels!r} of {n} integers")
        n //= n_pixels
        fits = {"class": n == 1, "classes": n > 1 and n_pixels == 1, "scores": True}
        if not fits.get(kind, False):
            raise ValueError(f"output_meaning.kind {kind!r} of {n} integers")
        scale, offset = (np.asarray(fields[key], np.float64) for key in ("scale", "offset"))
        if scale.shape not in ((), (n,)) or offset.shape not in ((), (n,)):
            raise ValueError(f"output scale {scale.shape}, offset {offset.shape}")
        if names is not None and not all(_is_a_name(name) for name in names):
            raise ValueError(f"class names that are not printable text of 1 to {_LONGEST_NAME}")
        return cls(kind != "scores", scale, offset, names and tuple(names), n_pixels)
