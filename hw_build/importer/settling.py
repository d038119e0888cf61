"""From a signal to integers that the next layer may take: thresholds, and what waited for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hw_build.importer.activations import make_threshold, turned
from hw_build.importer.affine import Affine
from hw_build.importer.inputs import settle_input
from hw_build.importer.levels import dequantisation, fits, quantised_again, widest
from hw_build.importer.network import Network
from hw_build.importer.sliding import max_pool
from hw_build.importer.values import MAX_BITS, MAX_INPUT_BITS, Node, Signal
from hw_build.scalar import Step, direction


def settle(network: Network, signal: Signal, node: Node, image: bool = False) -> Signal:
    """The signal from integers that `node`'s layer may take.

    What stands before its last quantiser becomes a layer, with that quantiser; the steps of the
    signal returned go from its integers to the real numbers. An input that has no layer yet
    becomes an image if `image` says so, otherwise a vector.
    """
    signal = quantised_again(signal)
    index = signal.last_quantiser
    if index is not None:
        _require_bits(signal, index, node)
    if not signal.source:
        signal = settle_input(network, signal, node, image)
        if signal.last_quantiser is None:
            return signal
        return settle(network, signal, node)  # quantised once more behind the Input
    if index is None:
        if signal.source in network.activations:
            return signal
        raise node.refuse(
            "its activations are float: no quantiser since the layer before",
            found=f"real numbers in tensor {signal.tensor}",
            expected="a Quant or BipolarQuant between two layers",
            fix="train the network with quantised activations",
        )
    head, tail = signal.steps[: index + 1], signal.steps[index + 1 :]
    pooling = signal.pooling
    if pooling is not None:
        runs = direction(head[pooling.before :], signal.n_channels)
        if runs is None or (runs < 0).any():
            signal, pooling = flush(network, signal), None
            head, tail = signal.steps[: len(signal.steps) - len(tail)], tail
    name = make_threshold(network, signal.source, head)
    network.activations.add(name)
    if pooling is not None:
        name = max_pool(network, name, pooling.sliding, pooling.node)
        network.activations.add(name)
    last = head[-1]
    network.mean(name, last.tensor, Affine.of_quantiser(last))
    return replace(signal, source=name, steps=(*dequantisation(last), *tail), pooling=None)


def flush(network: Network, signal: Signal) -> Signal:
    """The signal with a max pool that waits for its quantiser done on the integers there are."""
    pooling = signal.pooling
    if pooling is None:
        return signal
    signal = risen(network, signal, signal.steps[: pooling.before], pooling.node)
    name = max_pool(network, signal.source, pooling.sliding, pooling.node)
    return replace(signal, source=name, pooling=None)


def risen(network: Network, signal: Signal, steps: Sequence[Step], node: Node) -> Signal:
    """The signal from integers on which `steps`, the first of its own, rise or are constant.

    Channels on which they fall are negated by a layer of its own, before a max pool.
    """
    runs = direction(steps, signal.n_channels)
    if runs is None:
        raise node.refuse(
            "a max pool of values that don't rise with their integers",
            found=", ".join(step.op for step in steps if step.direction is None),
            expected="monotone steps before it, or a quantiser",
            fix="quantise the activations before the pool",
        )
    if not (runs < 0).any():
        return signal
    return turned(network, signal, runs < 0)


def forked(network: Network, signal: Signal, node: Node) -> Signal:
    """A signal that several nodes read, as each of them reads it.

    Integers that are there already, or that a quantiser makes, become a layer before the paths
    part. Sums that aren't quantised are marked: no channel of theirs may be negated for one reader.
    """
    again = quantised_again(signal)
    if not signal.source:
        return again
    index = again.last_quantiser
    if index is not None and fits(again.steps[index], widest(again)):
        return settle(network, again, node)
    signal = flush(network, signal)
    network.shared.add(signal.source)
    return signal


def _require_bits(signal: Signal, index: int, node: Node) -> None:
    last, most = signal.steps[index], widest(signal)
    if not fits(last, most):
        raise node.refuse(
            f"its activations have more than {most} bits",
            found=f"levels {last.low} to {last.high} from node {last.node}",
            expected=f"1 to {MAX_BITS} bits, 1 to {MAX_INPUT_BITS} at the network's input",
            fix="quantise the activations to fewer bits",
        )


def is_settled(network: Network, signal: Signal) -> bool:
    """Whether `settle` would find integers: a layer's activations, or a quantiser that fits."""
    again = quantised_again(signal)
    index = again.last_quantiser
    if index is not None:
        return fits(again.steps[index], widest(again))
    return not signal.source or signal.source in network.activations


def grid_of(network: Network, name: str) -> np.ndarray:
    """All integers that a layer may put out, ascending."""
    info = network.infos[name]
    lo, hi = int(info.lo.min()), int(info.hi.max())
    if name == "input":
        lo, hi = network.quantiser.lo, network.quantiser.hi
    return np.arange(lo, hi + 1, 2 if info.type.bipolar else 1)
