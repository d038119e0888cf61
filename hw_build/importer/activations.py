"""Thresholds of quantisers, and what is done about channels that fall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploy.errors import UserError
from hw_build.graph import Depthwise, MatVec, TensorInfo, Threshold
from hw_build.importer.network import Network
from hw_build.importer.thresholds import Staircase, find_staircase
from hw_build.importer.values import MAX_BITS, Signal
from hw_build.scalar import Step, direction, evaluate


def make_threshold(network: Network, source: str, head: tuple[Step, ...]) -> str:
    """The Threshold of a quantiser, the last of `head`, and of all steps before it; its name.

    Channels that fall are turned in the layer before, and their thresholds are those of the
    negative: a product's rows are negated; where `source` has no rows of its own, or others read
    it too, a layer that multiplies by -1 comes between.
    """
    last, name = head[-1], network.beside(f"{source}_act")
    info = network.infos[source]
    targets = np.arange(last.low, last.high, last.stride) + last.stride
    where = f"node {last.node}, layer {name}"
    runs = direction(head, info.n_channels)

    def levels(x: np.ndarray) -> np.ndarray:
        reached = last.levels(evaluate(head[:-1], x))
        if np.isnan(reached).any():
            raise UserError("the activations overflow to no number", where=where)
        return reached

    found = find_staircase(levels, info.lo, info.hi, targets, runs, where)
    _require_clear(found, head, info, where)
    turned_by = ""
    if found.flipped.any():
        layer = network[source]
        own_rows = isinstance(layer, MatVec | Depthwise) and source not in network.shared
        turned_by = "in the weights" if own_rows else "by a layer of its own"
        if own_rows:
            _negate_rows(network, layer, found.flipped, where)
        else:
            source = _turn(network, source, found.flipped)
    made = Threshold(name, source, found.thresholds, last.low, last.stride, last.level_type)
    network.append(made)
    network.notes.append(_note(name, found, turned_by))
    return name


def turned(network: Network, signal: Signal, channels: np.ndarray) -> Signal:
    """The signal from integers that are negated on `channels`, a mask (C,)."""
    name = _turn(network, signal.source, channels)
    if signal.source in network.activations and network.infos[name].type.bits <= MAX_BITS:
        network.activations.add(name)
    back = Step("mul", {"by": np.where(channels, -1.0, 1.0)})
    pooling = signal.pooling
    if pooling is not None:
        pooling = replace(pooling, before=pooling.before + 1)
    return replace(signal, source=name, steps=(back, *signal.steps), pooling=pooling)


def _turn(network: Network, source: str, channels: np.ndarray) -> str:
    signs = np.where(channels, -1, 1).astype(np.int64)[:, None]
    return network.append(Depthwise(network.beside(f"{source}_turn"), source, signs))


def _negate_rows(network: Network, old: MatVec | Depthwise, rows: np.ndarray, where: str) -> None:
    weights = np.where(rows[:, None], -old.weights, old.weights)
    widest = 2 ** (MAX_BITS - 1)
    if weights.max() >= widest:
        output, channel = np.argwhere(weights >= widest)[0]
        raise UserError(
            f"a channel that falls needs its weights negated, and -{widest} has no negative",
            where=f"{where}, output {output}",
            found=f"weight -{widest} from input {channel}",
            expected=f"weights of {MAX_BITS} bits from {1 - widest} to {widest - 1}",
            fix="quantise the weights with narrow range",
        )
    network.swap(replace(old, weights=weights))


def _note(name: str, found: Staircase, turned_by: str) -> str:
    n_channels, way = len(found.constant), "table" if found.tabulated else "bisection"
    constant, flipped = int(found.constant.sum()), int(found.flipped.sum())
    text = f"{name}: thresholds of {n_channels} channels by {way}"
    if flipped:
        text += f", {flipped} of them falling (negated {turned_by})"
    if constant:
        text += f", {constant} of them constant"
    return text


def _require_clear(found: Staircase, head: tuple[Step, ...], info: TensorInfo, where: str) -> None:
    """Refuses thresholds on which the graph's own rounding of its inputs would decide.

    Where activations are themselves rounded reals (pixels / 255), a sum that lies on a tie of the
    quantiser goes up or down by noise, and is no function of the integer accumulator.
    """
    last = head[-1]
    noisy = [i for i, step in enumerate(head) if np.any(step.parameters.get("slack", 0))]
    if not noisy:
        return
    until, slack = noisy[0] + 1, head[noisy[0]].parameters["slack"]
    sign = np.where(found.flipped, -1, 1)
    for below in (0, 1):
        x = np.clip(sign * (found.thresholds.T - below), info.lo, info.hi).astype(np.float64)
        low, high = (
            last.levels(evaluate(head[until:-1], evaluate(head[:until], x) + nudge))
            for nudge in (-slack, slack)
        )
        if (low != high).any():
            k, c = np.argwhere(low != high)[0]
            raise UserError(
                "a sum lies on a rounding tie that only float rounding decides",
                where=f"{where}, channel {c}",
                found=f"accumulator {int(x[k, c])}, whose real inputs are themselves rounded",
                expected="inputs whose scale and offset are exact, such as x / 256, or no tie",
                fix="quantise the input after its scaling, or scale it by powers of two",
            )
