"""The quantisers of QONNX, as its own definitions have them, evaluated in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hw_build.oracle.call import Arrays, Call, Operator


def _away_from_zero(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.ceil(np.abs(x))


def _half_away_from_zero(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def _half_towards_zero(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.ceil(np.abs(x) - 0.5)


ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ROUND": np.rint,  # half to even
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": _away_from_zero,
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,  # Brevitas's name of DOWN
    "HALF_UP": _half_away_from_zero,
    "HALF_DOWN": _half_towards_zero,
}


def _scale(call: Call, scale: np.ndarray) -> np.ndarray:
    if not (np.isfinite(scale) & (scale != 0)).all():
        raise call.refuse("a quantiser's scale is zero or not finite", found=f"{scale.ravel()[:4]}")
    return scale


def _sign(call: Call, x: np.ndarray) -> np.ndarray:
    """+1 where x >= 0, -1 elsewhere; refused where x is no number, which no comparison shows."""
    if np.isnan(x).any():
        raise call.refuse("a quantiser's input is not a number", found="NaN")
    return np.where(x >= 0, 1.0, -1.0)


def quant(call: Call, inputs: Arrays) -> np.ndarray:
    """(round(clip(x / scale + zero_point, lo, hi)) - zero_point) * scale; one signed bit: the sign.

    lo = -2**(bits-1) + narrow and hi = 2**(bits-1) - 1 where signed, 0 and 2**bits - 1 - narrow
    where not. The sign of 0 is +1.
    """
    x, scale, zero_point, bits = inputs
    call.check_broadcast(inputs)
    if bits.size != 1 or bits.item() < 1:
        raise call.refuse(
            "the bit width isn't one number of at least 1", found=f"{bits.ravel()[:4]}"
        )
    bits, signed = bits.item(), call.attribute("signed", 1)
    narrow = call.attribute("narrow", 0)
    level = x / _scale(call, scale) + zero_point
    if signed and bits == 1:
        return (_sign(call, level) - zero_point) * scale
    mode = str(call.attribute("rounding_mode", "ROUND")).upper()
    if mode not in ROUNDINGS:
        raise call.refuse("unknown rounding mode", found=mode, expected=", ".join(ROUNDINGS))
    lo = -(2.0 ** (bits - 1)) + narrow if signed else 0.0
    hi = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
    return (ROUNDINGS[mode](np.clip(level, lo, hi)) - zero_point) * scale


def bipolar_quant(call: Call, inputs: Arrays) -> np.ndarray:
    """+scale where x >= 0, -scale elsewhere."""
    call.check_broadcast(inputs)
    x, scale = inputs
    return _sign(call, x) * _scale(call, scale)


def trunc(call: Call, inputs: Arrays) -> np.ndarray:
    """Integers x / scale + zero point, divided by a power of two and rounded to integers again.

    Six inputs: scale, zero point, bits before, output scale, bits after; the quotient is clipped
    to the bits after. Five: scale, zero point, bits before and after; the scale stays.
    """
    call.check_broadcast(inputs)
    x, scale, zero_point = inputs[0], _scale(call, inputs[1]), inputs[2]
    mode = str(call.attribute("rounding_mode", "FLOOR")).upper()
    if mode not in ROUNDINGS:
        raise call.refuse("unknown rounding mode", found=mode, expected=", ".join(ROUNDINGS))
    whole = np.rint(x / scale + zero_point)
    if len(inputs) == 5:
        quotient = whole / 2.0 ** (inputs[3] - inputs[4])
        return (ROUNDINGS[mode](quotient) - zero_point) * scale
    scale_after, bits = inputs[4], inputs[5]
    power = 2.0 ** np.rint(np.log2(scale_after / scale))
    signed, narrow = call.attribute("signed", 1), call.attribute("narrow", 0)
    lo = -(2.0 ** (bits - 1)) + narrow if signed else 0.0
    hi = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
    quotient = np.clip(whole / power, lo, hi)
    return (ROUNDINGS[mode](quotient) - zero_point / power) * scale_after


def multi_threshold(call: Call, inputs: Arrays) -> np.ndarray:
    """out_bias + out_scale * (number of t in thresholds[c] with x >= t), channels on axis 1.

    `data_layout` NHWC and NWC put the channels last. Thresholds: (channels or 1, levels).
    """
    x, thresholds = inputs
    channels_last = str(call.attribute("data_layout", "")) in ("NHWC", "NWC")
    columns = np.moveaxis(x, -1 if channels_last else 1, -1)
    count = np.zeros(columns.shape)
    for k in range(thresholds.shape[1]):
        count += columns >= thresholds[:, k]
    count = np.moveaxis(count, -1, -1 if channels_last else 1)
    return call.attribute("out_scale", 1.0) * count + call.attribute("out_bias", 0.0)


QUANTISERS: dict[str, Operator] = {
    "BipolarQuant": bipolar_quant,
    "IntQuant": quant,
    "MultiThreshold": multi_threshold,
    "Quant": quant,
    "Trunc": trunc,
}
