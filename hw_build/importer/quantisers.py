"""Quant and BipolarQuant: on weights, on activations, and as repetitions that change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deploy.scalar_formulas import ROUNDINGS
from hw_build.importer.affine import Affine
from hw_build.importer.levels import fits, grid
from hw_build.importer.network import Network
from hw_build.importer.settling import grid_of
from hw_build.importer.thresholds import TABLE_LIMIT
from hw_build.importer.values import Constant, Node, Signal, Value
from hw_build.scalar import Step, direction, evaluate


def quant(node: Node, network: Network) -> Value:
    """QONNX's Quant and IntQuant: q = round(clip(x / scale + zero point)), half to even.

    One signed bit is the sign of x / scale + zero point, with 0 to +1.
    """
    scale = _scale(node)
    zero_point = node.constant(2, "zero point").value.astype(np.float64)
    if (zero_point != np.rint(zero_point)).any():
        found = str(zero_point[zero_point != np.rint(zero_point)][0])
        raise node.refuse("the zero point is not an integer", found=found)
    bits = node.scalar(3, "bit width")
    if bits != int(bits) or not 1 <= bits <= 64:
        raise node.refuse("no such bit width", found=f"{bits:g}", expected="an integer from 1 on")
    for required in ("signed", "narrow"):
        if required not in node.attributes:
            raise node.refuse(f"the attribute {required} is missing", expected="0 or 1")
    signed, narrow = bool(node.attributes["signed"]), bool(node.attributes["narrow"])
    rounding = _rounding(node, "ROUND")
    low, high = _levels(int(bits), signed, narrow)
    if bits == 1 and signed:
        low, high, rounding = -1, 1, "SIGN"
    if low == high:
        raise node.refuse("the quantiser has one level only", found="1 bit, unsigned, narrow")
    parameters = {
        "scale": scale,
        "zero_point": zero_point,
        "low": np.float64(low),
        "high": np.float64(high),
        "rounding": rounding,
    }
    return _quantised(node, network, "quant", parameters)


def bipolar_quant(node: Node, network: Network) -> Value:
    """QONNX's BipolarQuant: scale where x >= 0, otherwise -scale."""
    parameters = {"scale": _scale(node), "low": np.float64(-1), "high": np.float64(1)}
    return _quantised(node, network, "bipolar", parameters)


def trunc(node: Node, network: Network) -> Value:
    """QONNX's Trunc: integers of a scale, divided by a power of two and rounded.

    With five inputs (scale, zero point, bits before, bits after) the divisor is 2 to the bits
    that go, and the scale stays; with six it is the ratio of the output's scale to the input's,
    and the integers are clipped to the bits after.
    """
    x = node.inputs[0]
    if not isinstance(x, Signal) or not x.source:
        raise node.refuse("it truncates what no layer has computed", expected="it after a pool")
    scale = _scale(node)
    zero_point = node.constant(2, "zero point").value.astype(np.float64)
    rounding = _rounding(node, "FLOOR")
    if node.has(5):
        after = _scale(node, 4)
        divisor = 2.0 ** np.rint(np.log2(after / scale))
        zero_after = zero_point / divisor
        bits = node.scalar(5, "output bit width")
        signed = bool(node.attributes.get("signed", 1))
        low, high = _levels(int(bits), signed, bool(node.attributes.get("narrow", 0)))
    else:
        divisor = np.float64(2.0) ** (node.scalar(3, "bit width") - node.scalar(4, "bit width"))
        after, zero_after = scale, zero_point
        low, high = -_FAR, _FAR
    if (zero_after != np.rint(zero_after)).any():
        raise node.refuse("the zero point is not an integer once divided", found=str(zero_after))
    parameters = {
        "scale_before": scale,
        "zero_point_before": zero_point,
        "divisor": divisor,
        "scale": after,
        "zero_point": zero_after,
        "low": np.float64(low),
        "high": np.float64(high),
        "rounding": rounding,
    }
    if not node.has(5):
        low, high = _reached(node, network, x, node.extended(x, ("trunc", parameters)).steps)
        parameters |= {"low": np.float64(low), "high": np.float64(high)}
    return node.extended(x, ("trunc", parameters))


_FAR = 2.0**52


def _reached(node: Node, network: Network, x: Signal, steps: Sequence[Step]) -> tuple[int, int]:
    """The least and the greatest level on the proven range, which monotone steps reach at ends."""
    info = network.infos[x.source]
    if direction(steps, x.n_channels) is None:
        raise node.refuse("steps before it are not monotone", expected="a pool before it")
    ends = evaluate(steps[:-1], np.stack([info.lo, info.hi]).astype(np.float64))
    levels = steps[-1].levels(ends)
    low, high = int(levels.min()), int(levels.max())
    return low, max(high, low + 1)


def _rounding(node: Node, default: str) -> str:
    rounding = node.attributes.get("rounding_mode", default.encode()).decode().upper()
    if rounding not in ROUNDINGS or rounding == "SIGN":
        known = ", ".join(name for name in ROUNDINGS if name != "SIGN")
        raise node.refuse("unknown rounding mode", found=rounding, expected=f"one of {known}")
    return rounding


def _scale(node: Node, index: int = 1) -> np.ndarray:
    scale = node.constant(index, "scale").value.astype(np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        found = str(scale[~(np.isfinite(scale) & (scale > 0))][0])
        raise node.refuse("the scale is not positive", found=found, expected="scales above 0")
    return scale


def _levels(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    if signed:
        return -(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow


def _quantised(node: Node, network: Network, op: str, parameters: dict) -> Value:
    x = node.inputs[0]
    match x:
        case Constant():
            return _quantised_constant(node, x, Step(op, parameters))
        case Signal():
            longer = node.extended(x, (op, parameters))
            return _without_repetition(node, network, x, longer)
    raise node.refuse(
        "it follows an operator that the host finishes",
        expected="quantisers before Softmax and arg max",
    )


def _quantised_constant(node: Node, constant: Constant, step: Step) -> Constant:
    value = constant.value.astype(np.float64)
    if not np.isfinite(value).all():
        raise node.refuse("a constant is not finite", found=f"inf or nan in {node.reads[0]}")
    levels = step.levels(value)
    if levels.shape != value.shape:
        found = f"constant {value.shape}, quantised to {levels.shape}"
        raise node.refuse("the scale doesn't fit the constant", found=found)
    integers = (levels - step.parameters.get("zero_point", 0.0)).astype(np.int64)
    scale = np.broadcast_to(step.parameters["scale"], value.shape)
    return Constant(integers * scale, integers, scale)


def _without_repetition(node: Node, network: Network, x: Signal, longer: Signal) -> Signal:
    """`longer`, or an equal signal without the new quantiser where that changes no value.

    Exporters repeat quantisers on values that are on the grid already, often with 16 or 32 bits;
    those would be too wide to be levels.
    """
    index = x.last_quantiser
    if x.pooling is not None:
        return longer
    if index is None and x.source in network.activations:
        values = evaluate(x.steps, grid_of(network, x.source)[:, None].astype(np.float64))
        if (values == longer.steps[-1](values)).all():
            network.notes.append(f"{node.where} changes no value and is left out")
            return replace(x, tensor=longer.tensor)
    if index is None:
        return _wide_on_accumulators(node, network, x, longer)
    before = x.steps[index]
    if (before.high - before.low) * x.n_channels <= TABLE_LIMIT:
        levels = grid(before).astype(np.float64)[:, None]
        scaled = (levels - before.parameters.get("zero_point", 0.0)) * before.parameters["scale"]
        values = evaluate(x.steps[index + 1 :], scaled)
        if (values == longer.steps[-1](values)).all():
            network.notes.append(f"{node.where} changes no value and is left out")
            if not x.steps[index + 1 :]:
                return replace(x, tensor=longer.tensor)
            # What stands before it is rounded to floats here, if to no others.
            return node.extended(x, ("mul", {"by": 1.0}))
    return longer


def _wide_on_accumulators(node: Node, network: Network, x: Signal, longer: Signal) -> Signal:
    """A quantiser of over 8 bits on the accumulators' own grid: a new scale, the same integers.

    Its input, in its own steps, is affine in the accumulator. Where it is within a quarter of
    accumulator + c at both ends of the proven range, it is so at every accumulator between, and
    rounding gives accumulator + c.
    """
    last = longer.steps[-1]
    if not x.source or fits(last) or last.parameters["rounding"] not in ("ROUND", "HALF_EVEN"):
        return longer
    meaning: Affine | None = Affine.identity()
    for step in x.steps:
        meaning = meaning.then(step) if meaning is not None else None
    if meaning is None:
        return longer
    info, p = network.infos[x.source], last.parameters
    ends = np.stack([info.lo, info.hi]).astype(np.float64)
    inner = evaluate(x.steps, ends) / p["scale"] + p["zero_point"]
    c = np.rint(inner[0]) - ends[0]
    inside = (inner.min() >= last.low) and (inner.max() <= last.high)
    if not inside or (np.abs(inner - (ends + c)) >= 0.25).any():
        return longer
    network.notes.append(f"{node.where} maps every accumulator to itself")
    parameters = {
        "scale": p["scale"],
        "shift": c - p["zero_point"],
        "offset": np.float64(0),
        "slack": np.float64(0),
    }
    return replace(longer, steps=(Step("affine", parameters, node.name, node.op, node.outputs[0]),))
