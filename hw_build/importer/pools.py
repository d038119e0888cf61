"""Max pools, average pools, and means over an image's rows and columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_build.graph import Depthwise
from hw_build.importer.conv import sides_after
from hw_build.importer.layout import Layout
from hw_build.importer.network import Network
from hw_build.importer.products import affine_of, is_exact, keep_narrow, sums
from hw_build.importer.settling import flush, is_settled, risen, settle
from hw_build.importer.sliding import integer_of, max_pool, slide, sliding_of
from hw_build.importer.values import Node, Pooling, Signal, Sliding, Value, data, in_text


def max_pooling(node: Node, network: Network) -> Value:
    """The greatest of a window. Before a quantiser it waits, and is done on the levels."""
    signal = data(node, 0)
    if len(node.outputs) > 1:
        raise node.refuse("the indices of its maxima are asked for", found=node.outputs[1])
    if is_settled(network, signal):
        signal = settle(network, signal, node, image=True)
        signal = risen(network, signal, signal.steps, node)
    else:
        signal = flush(network, signal)
    sliding = sliding_of(node, signal, node.integers_of("kernel_shape", []))
    shape = (signal.shape[0], *sides_after(sliding, signal.shape[1:]))
    moved = replace(signal, layout=Layout.image(shape), tensor=node.outputs[0])
    if signal.source not in network.activations:
        return replace(moved, pooling=Pooling(sliding, len(signal.steps), node))
    name = max_pool(network, signal.source, sliding, node)
    network.activations.add(name)
    return replace(moved, source=name)


def average_pooling(node: Node, network: Network) -> Value:
    """The sum over a window, divided by the number of its positions."""
    signal = _summable(node, network)
    sliding = sliding_of(node, signal, node.integers_of("kernel_shape", []))
    if any(sliding.pads) and not node.attributes.get("count_include_pad", 0):
        raise node.refuse(
            "its padding doesn't count: windows at the edge divide by another number",
            found=f"pads {sliding.pads}, count_include_pad 0",
            expected="no padding, or count_include_pad 1",
            fix="export the pool with count_include_pad=True or without padding",
        )
    return _averaged(network, signal, sliding, node)


def global_average(node: Node, network: Network) -> Value:
    """The mean of every channel over the whole image; its rows and columns stay, of length 1."""
    signal = _summable(node, network)
    if not signal.layout.is_image:
        raise node.refuse("its activations are no image", found=f"(batch, {in_text(signal.shape)})")
    return _averaged(network, signal, Sliding(signal.layout.shape[:2]), node)


def reduce_mean(node: Node, network: Network) -> Value:
    """ReduceMean over the rows and columns."""
    signal = _summable(node, network)
    rank = len(signal.shape) + 1
    axes = sorted(axis % rank for axis in node.integers(1, "axes") or [])
    if not signal.layout.is_image or axes != list(range(2, rank)):
        raise node.refuse(
            "its mean is not over the rows and columns of an image",
            found=f"axes {axes} of (batch, {in_text(signal.shape)})",
            expected="all axes but the batch and the channels",
        )
    y = _averaged(network, signal, Sliding(signal.layout.shape[:2]), node)
    if node.attributes.get("keepdims", 1):
        return y
    return replace(y, layout=y.layout.moved(lambda places: places.reshape(-1)))


def _summable(node: Node, network: Network) -> Signal:
    """The node's input, from integers of which a sum is the sum of the real numbers."""
    signal = data(node, 0)
    if is_settled(network, signal):
        return settle(network, signal, node, image=True)
    signal = flush(network, signal)
    if not is_exact(network, signal, affine_of(signal.steps, node)):
        raise node.refuse(
            "it sums real numbers that are rounded one by one",
            found=f"no quantiser between layer {signal.source} and it",
            expected="a quantiser before it, or sums with nothing but a scale",
            fix="quantise the activations before the pool",
        )
    return signal


def _averaged(network: Network, signal: Signal, sliding: Sliding, node: Node) -> Signal:
    name = network.numbered("pool")
    zero = 0
    if any(sliding.pads):
        zero = integer_of(0.0, affine_of(signal.steps, node), network, signal, node)
    source = slide(network, signal.source, sliding, zero, name)
    ones = np.ones((signal.n_channels, sliding.n_positions), np.int64)
    made = Layout.image((signal.shape[0], *sides_after(sliding, signal.shape[1:])))
    layer = Depthwise(name, source, ones)
    y = sums(network, signal, layer, np.float64(1), made, node, "")
    keep_narrow(network, name)
    return node.extended(y, ("div", {"by": float(sliding.n_positions)}))
