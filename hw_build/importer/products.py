"""Layers with weights, and what their sums stand for: when one rounding makes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_build.graph import Depthwise, MatVec, TensorInfo
from hw_build.importer.affine import SHIFT_GRAIN, Affine, collapse, product
from hw_build.importer.layout import Layout
from hw_build.importer.network import Network
from hw_build.importer.settling import grid_of
from hw_build.importer.values import MAX_BITS, MAX_SUM_BITS, Node, Signal
from hw_build.importer.weights import common_scale, fold_ratios
from hw_build.scalar import Step

SLACK = 2.0**-47
"""How far, relative to the sum of magnitudes, two float64 evaluations of one sum may be apart."""

MOST_LEVELS = 1 << 16
"""Integers of a layer that are tried one by one."""

FOLLOWED = ("", "Mul", "Div", "Add", "Sub", "Neg", "AveragePool", "GlobalAveragePool", "ReduceMean")
"""Operators whose chains are real numbers, where they take one number; "" is a dequantisation."""


def sums(
    network: Network,
    signal: Signal,
    layer: MatVec | Depthwise,
    scale: np.ndarray,
    layout: Layout,
    node: Node,
    tensor: str,
) -> Signal:
    """Appends a layer of `scale` times integer weights; the signal of its sums, called `tensor`.

    `signal` is settled, and what the layer reads is its integers, moved. The sums stand for
    scale * (accumulator + shift) + offset, the first step of the signal that it returns; a
    division follows where no float scale is exact (pixels / 255).
    """
    meaning = affine_of(signal.steps, node)
    n_channels = signal.n_channels
    if isinstance(layer, MatVec):
        ratios, common = common_scale(meaning.scale, n_channels, node)
        repeats = layer.weights.shape[1] // n_channels
        layer = replace(layer, weights=fold_ratios(layer.weights, np.tile(ratios, repeats), node))
    else:
        ratios, common = np.ones(n_channels, np.int64), _spread(meaning.scale, layer, n_channels)
    _require_sums_fit(layer, network.infos[layer.source], node)
    network.append(layer)

    unit = scale
    scale, exact = product(np.asarray(common), unit)
    shift = _weighed(layer, meaning.shift, n_channels)
    offset = _weighed(layer, meaning.offset / ratios, n_channels) * unit
    exact &= not np.any(offset)
    exact &= (meaning.exact and is_followed(signal.steps)) or is_exact(network, signal, meaning)
    divisor = meaning.divisor
    if divisor != 1 and not (exact and divides_once(network.infos[layer.name], shift, scale)):
        scale, divisor, exact = scale / divisor, np.float64(1), False
    parameters = {"scale": scale, "shift": shift, "offset": offset, "slack": np.float64(0)}
    if not exact:
        info = network.infos[signal.source]
        largest = np.maximum(abs(info.lo + meaning.shift), abs(info.hi + meaning.shift))
        largest = largest + abs(meaning.offset / meaning.slope)
        magnitudes = replace(layer, weights=abs(layer.weights))
        parameters["slack"] = _weighed(magnitudes, largest, n_channels) * abs(scale) * SLACK
    parameters = {key: collapse(value) for key, value in parameters.items()}
    made_by = [Step("affine", parameters, node.name, node.op, tensor if divisor == 1 else "")]
    if divisor != 1:
        made_by.append(Step("div", {"by": divisor}, node.name, node.op, tensor))
    return Signal(layer.name, layout, tensor, tuple(made_by))


def is_exact(network: Network, signal: Signal, meaning: Affine) -> bool:
    """Whether the float64 steps of a signal are `meaning` on all its integers, without rounding."""
    info = network.infos[signal.source]
    if int(info.hi.max()) - int(info.lo.min()) < MOST_LEVELS:
        return meaning.equals_on(grid_of(network, signal.source), signal.steps)
    first, *others = signal.steps
    plain = first.op == "affine" and not others and not np.any(first.parameters["slack"])
    return plain and not np.any(meaning.offset) and divides_once(info, meaning.shift, meaning.scale)


def keep_narrow(network: Network, name: str) -> None:
    """Lets the next layer take a layer's sums without a quantiser, where they have few bits."""
    if network.infos[name].type.bits <= MAX_BITS:
        network.activations.add(name)


def _weighed(layer: MatVec | Depthwise, values: np.ndarray, n_channels: int) -> np.ndarray:
    """The layer's sums where each input is the number in `values` of its channel, () or (C,)."""
    if isinstance(layer, Depthwise):
        return layer.weights.sum(axis=1) * _spread(values, layer, n_channels)
    repeats = layer.weights.shape[1] // n_channels
    return layer.weights @ np.tile(np.broadcast_to(values, n_channels), repeats)


def _spread(values: np.ndarray, layer: Depthwise, n_channels: int) -> np.ndarray:
    """Values of the input's channels, () or (C,), as values of a depthwise layer's outputs."""
    return np.repeat(np.broadcast_to(values, n_channels), len(layer.weights) // n_channels)


def _require_sums_fit(layer: MatVec | Depthwise, x: TensorInfo, node: Node) -> None:
    largest = max(int(np.abs(x.lo).max()), int(np.abs(x.hi).max()))
    limit = 2 ** (MAX_SUM_BITS - 1)
    if int(abs(layer.weights).sum(axis=1).max()) * largest < limit:
        return
    if isinstance(layer, MatVec):
        positive, negative = np.maximum(layer.weights, 0), np.minimum(layer.weights, 0)
        lo, hi = positive @ x.lo + negative @ x.hi, positive @ x.hi + negative @ x.lo
        if lo.min() >= -limit and hi.max() < limit:
            return
    else:
        lo = hi = np.array([largest * int(abs(layer.weights).sum(axis=1).max())])
    raise node.refuse(
        f"its sums have more than {MAX_SUM_BITS} bits",
        found=f"sums from {lo.min()} to {hi.max()}: {layer.weights.shape[1]} inputs of {x.type}, "
        f"weights of {layer.weight_bits} bits",
        expected=f"{-limit} to {limit - 1}",
        fix="quantise the inputs or the weights to fewer bits",
    )


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
