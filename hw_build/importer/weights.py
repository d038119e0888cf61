"""Weights of a layer: an integer matrix, one scale per output, and what cannot be that."""

from __future__ import annotations

from fractions import Fraction
from math import lcm

import numpy as np

from hw_build.importer.values import MAX_BITS, Constant, Node

MAX_RATIO = 127
"""Scales of activations may differ from channel to channel by integer ratios up to this one."""


def common_scale(scale: np.ndarray, n_channels: int, node: Node) -> tuple[np.ndarray, float]:
    """Integer ratios (n_channels,) and one scale with scale[c] = ratios[c] * common, exactly.

    Only the sum of all channels is known to hardware, so that scales per channel of the
    activations have to go into the weights, and those are integers.
    """
    if not np.all(scale):
        raise node.refuse("its activations are multiplied by 0", found="a scale of 0")
    if scale.ndim == 0:
        return np.ones(n_channels, np.int64), float(scale)
    least = Fraction(float(np.abs(scale).min()))
    exact = {value: Fraction(value) / least for value in np.unique(scale).tolist()}
    parts = lcm(*(ratio.denominator for ratio in exact.values()))
    largest = max(abs(ratio) for ratio in exact.values()) * parts
    common = float(least / parts) if largest <= MAX_RATIO else 0.0
    if not common or Fraction(common) * parts != least:
        raise node.refuse(
            "its activations have a scale per channel",
            found=f"scales {scale.min():.6g} to {scale.max():.6g} without small integer ratios",
            expected=f"one scale, or integer ratios up to {MAX_RATIO} between them",
            fix="quantise the activations in front of a layer with one scale per tensor",
        )
    return np.array([int(exact[value] * parts) for value in scale.tolist()]), common


def on_a_grid(weights: Constant) -> Constant:
    """Weights (inputs, outputs) that lost their quantiser, as integers times a scale again.

    Tools that fold constants leave floats behind. Those that are exactly integers of at most 8
    bits times one number, of the whole matrix or of its columns, are quantised all the same;
    others come back as they were.
    """
    values = weights.value.astype(np.float64)
    if weights.integers is not None or values.ndim != 2 or not np.isfinite(values).all():
        return weights
    for columns in (values.reshape(-1, 1), values):
        scale = _greatest_unit(columns)
        if scale is not None:
            scale = np.broadcast_to(scale, values.shape)
            return Constant(values, np.rint(values / scale).astype(np.int64), scale)
    return weights


def _greatest_unit(columns: np.ndarray) -> np.ndarray | None:
    """Per column the greatest number of which all entries are multiples, -128 to 127 times it."""
    magnitudes = np.where(columns == 0, np.inf, np.abs(columns)).min(axis=0)
    magnitudes = np.where(np.isinf(magnitudes), 1.0, magnitudes)  # a column of zeros
    low, high = -(2 ** (MAX_BITS - 1)), 2 ** (MAX_BITS - 1) - 1
    units, found = magnitudes.copy(), np.zeros(len(magnitudes), bool)
    for part in range(1, high + 1):
        unit = magnitudes / part
        integers = np.rint(columns / unit)
        fits = ((integers >= low) & (integers <= high)).all(axis=0)
        if not (fits & ~found).any():
            if not fits.any():
                break  # a smaller unit makes larger integers
            continue
        exact = fits & (integers * unit == columns).all(axis=0) & _few_bits(unit)
        units = np.where(exact & ~found, unit, units)
        found |= exact
    return units if found.all() else None


def _few_bits(numbers: np.ndarray) -> np.ndarray:
    """Which float64 numbers are float32 ones: 8 bits times such a one never round."""
    return numbers.astype(np.float32) == numbers


def scale_per_output(scale: np.ndarray, node: Node) -> np.ndarray:
    """The scale of weights (inputs, outputs) as float64 of shape () or (outputs,)."""
    if not (scale == scale[:1]).all():
        raise node.refuse(
            "its weights have a scale per input channel",
            found="scales that differ along the inputs",
            expected="one scale per tensor or per output channel",
            fix="quantise the weights per tensor or per output channel",
        )
    row = scale[0].astype(np.float64)
    return row[0].reshape(()) if (row == row[0]).all() else row.copy()


def quantised(weights: Constant, kind: str, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Weights (inputs, outputs) as int64 (outputs, inputs), and their scale, () or (outputs,).

    `kind` names the layer in the refusal of weights that are no integers.
    """
    found = on_a_grid(weights)
    if found.integers is None or found.scale is None:
        raise node.refuse(
            f"{kind} weights are float",
            found=f"weights of shape {weights.value.shape} without a quantiser",
            expected=f"weights of 1 to {MAX_BITS} bits from a Quant or BipolarQuant",
            fix="quantise them with Quant or BipolarQuant "
            f"(Brevitas: {'QuantLinear' if kind == 'fc' else 'QuantConv2d'})",
        )
    scale = scale_per_output(found.scale, node)
    return _narrow(np.ascontiguousarray(found.integers.T, np.int64), node), scale


def fold_ratios(matrix: np.ndarray, ratios: np.ndarray, node: Node) -> np.ndarray:
    """A matrix (outputs, inputs) with the activations' scales per channel in it."""
    if (ratios == 1).all():
        return matrix
    after = " once the activations' scales per channel are in them"
    return _narrow(matrix * ratios, node, after)


def _narrow(integers: np.ndarray, node: Node, when: str = "") -> np.ndarray:
    low, high = -(2 ** (MAX_BITS - 1)), 2 ** (MAX_BITS - 1) - 1
    if integers.min() < low or integers.max() > high:
        raise node.refuse(
            f"its weights have more than {MAX_BITS} bits",
            found=f"integers {integers.min()} to {integers.max()}{when}",
            expected=f"{low} to {high}",
            fix="quantise them to fewer bits",
        )
    return integers
