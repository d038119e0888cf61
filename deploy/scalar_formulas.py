"""Elementwise float64 formulas: what a network computes between two integers, on any machine.

The importer finds thresholds with them, and the board's host quantises inputs with the very same
ones. Parameters are float64 arrays of shape () or (C,), and the name of a rounding mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray
Parameters = Mapping[str, Any]

ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
    # Not a mode of QONNX: its Quant of one signed bit takes the sign, with 0 to +1.
    "SIGN": lambda x: np.where(x >= 0, 1.0, -1.0),
}
"""QONNX's rounding modes, by the formulas of its own executor."""


def levels(op: str, p: Parameters, x: Array) -> Array:
    """The integers of a quantiser, "quant", "trunc" or "bipolar", as float64."""
    if op == "bipolar":
        return np.where(x >= 0, 1.0, -1.0)
    if op == "trunc":
        y = np.rint(x / p["scale_before"] + p["zero_point_before"]) / p["divisor"]
        return ROUNDINGS[p["rounding"]](np.clip(y, p["low"], p["high"]))
    y = x / p["scale"] + p["zero_point"]
    # Clipping to integers before rounding and after it is the same; QONNX does it before.
    return ROUNDINGS[p["rounding"]](np.clip(y, p["low"], p["high"]))


FORMULAS: dict[str, Callable[[Array, Parameters], Array]] = {
    "affine": lambda x, p: (x + p["shift"]) * p["scale"] + p["offset"],
    "mul": lambda x, p: x * p["by"],
    "div": lambda x, p: x / p["by"],
    "add": lambda x, p: x + p["to"],
    "sub": lambda x, p: x - p["less"],
    "sub_from": lambda x, p: p["whole"] - x,
    "clip": lambda x, p: np.minimum(np.maximum(x, p["low"]), p["high"]),
    "leaky": lambda x, p: np.where(x < 0, p["slope"] * x, x),
    "sigmoid": lambda x, p: 1.0 / (1.0 + np.exp(-x)),
    "tanh": lambda x, p: np.tanh(x),
    "abs": lambda x, p: np.abs(x),
    "quant": lambda x, p: (levels("quant", p, x) - p["zero_point"]) * p["scale"],
    "trunc": lambda x, p: (levels("trunc", p, x) - p["zero_point"]) * p["scale"],
    "bipolar": lambda x, p: levels("bipolar", p, x) * p["scale"],
}
"""By the name of the step: y = f(x; parameters)."""

PARAMETERS: dict[str, tuple[str, ...]] = {
    "affine": ("shift", "scale", "offset"),
    "mul": ("by",),
    "div": ("by",),
    "add": ("to",),
    "sub": ("less",),
    "sub_from": ("whole",),
    "clip": ("low", "high"),
    "leaky": ("slope",),
    "sigmoid": (),
    "tanh": (),
    "abs": (),
    "quant": ("scale", "zero_point", "low", "high", "rounding"),
    "trunc": (
        "scale",
        "zero_point",
        "low",
        "high",
        "rounding",
        "scale_before",
        "zero_point_before",
        "divisor",
    ),
    "bipolar": ("scale",),
}
"""What each formula reads."""
