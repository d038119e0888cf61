"""A quantiser's levels: which there are, whether they fit, and the real numbers that they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_build.importer.values import MAX_BITS, MAX_INPUT_BITS, Signal
from hw_build.scalar import Step, evaluate


def grid(quantiser: Step) -> np.ndarray:
    """All levels of a quantiser step, ascending."""
    return np.arange(quantiser.low, quantiser.high + 1, quantiser.stride)


def fits(quantiser: Step, max_bits: int = MAX_BITS) -> bool:
    """Whether the levels fit `max_bits`."""
    low, high = quantiser.low, quantiser.high
    return low >= -(2 ** (max_bits - 1)) and high < 2 ** (max_bits - (low < 0))


def widest(signal: Signal) -> int:
    """The bits that a signal's integers may have: those of the host's may have more."""
    return MAX_BITS if signal.source else MAX_INPUT_BITS


def quantised_again(signal: Signal) -> Signal:
    """Relu and the like behind a quantiser become part of it, where values stay on its grid.

    The quantiser, repeated after them, then changes no value, and its levels are the integers.
    """
    index = signal.last_quantiser
    if index is None or not fits(signal.steps[index], widest(signal)):
        return signal
    last, tail = signal.steps[index], signal.steps[index + 1 :]
    bends = [i for i, step in enumerate(tail) if step.op in ("clip", "leaky", "abs")]
    if not bends or not tail[bends[-1]].tensor:
        return signal
    inner, rest = tail[: bends[-1] + 1], tail[bends[-1] + 1 :]
    again = replace(last, tensor=inner[-1].tensor)
    values = evaluate((*dequantisation(last), *inner), grid(last)[:, None].astype(np.float64))
    if not (values == again(values)).all():
        return signal
    return replace(signal, steps=(*signal.steps[: index + 1], *inner, again, *rest))


def dequantisation(quantiser: Step) -> tuple[Step, ...]:
    """From a quantiser's levels to its output, by QONNX's own formula."""
    p = quantiser.parameters
    scaled = Step("mul", {"by": p["scale"]})
    return (Step("sub", {"less": p["zero_point"]}), scaled) if "zero_point" in p else (scaled,)
