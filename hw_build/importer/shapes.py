"""Operators that rearrange activations: they move places in a layout, and make no layer.

What the next layer does about it is its own: a product puts its weights in the order that it
finds. The batch is axis 0, of whatever size.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_build.importer.network import Network
from hw_build.importer.values import Constant, Node, Signal, Tail, Value, in_text

BATCH = 0
"""The batch's size in constants that are computed from a Shape: at a 0, Reshape copies."""


def shape(node: Node, network: Network) -> Value:
    """The shape of activations is a constant, but for the batch."""
    signal = _signal(node)
    dims = np.array([BATCH, *signal.shape], np.int64)
    start, end = (node.attributes.get(key) for key in ("start", "end"))
    return Constant(dims[slice(start, end)])


def flatten(node: Node, network: Network) -> Value:
    signal = _signal(node)
    axis = int(node.attributes.get("axis", 1))
    if axis not in (1, 1 - len(signal.shape) - 1):
        raise node.refuse("it doesn't flatten all but the batch", found=f"axis {axis}")
    return _reshaped(signal, (signal.n_values,))


def reshape(node: Node, network: Network) -> Value:
    """To (batch, ...): targets that bake in a batch of 1, or leave it to -1 or 0, mean the same."""
    if isinstance(node.inputs[0], Tail):
        return node.inputs[0]
    signal = _signal(node)
    target = node.integers(1, "shape") or []
    rest = target[1:]
    copied = [
        signal.shape[i] if n == 0 and i < len(signal.shape) else n for i, n in enumerate(rest)
    ]
    known = int(np.prod([n for n in copied if n != -1]))
    if copied.count(-1) == 1 and target[0] != -1 and known and signal.n_values % known == 0:
        copied[copied.index(-1)] = signal.n_values // known
    if not rest or -1 in copied or int(np.prod(copied)) != signal.n_values:
        raise node.refuse(
            "it mixes the batch with the channels",
            found=f"(batch, {in_text(signal.shape)}) to ({in_text(tuple(target))})",
            expected=f"a first entry for the batch and {signal.n_values} values after it",
        )
    return _reshaped(signal, tuple(copied))


def squeeze(node: Node, network: Network) -> Value:
    if isinstance(node.inputs[0], Tail):
        return node.inputs[0]
    signal = _signal(node)
    rank = len(signal.shape) + 1
    axes = node.integers(1, "axes")
    if axes is None:
        raise node.refuse("it has no axes: a batch of 1 would be squeezed as well")
    axes = [axis % rank for axis in axes]
    if 0 in axes or any(signal.shape[axis - 1] != 1 for axis in axes):
        raise node.refuse("it squeezes the batch or an axis that isn't 1", found=f"axes {axes}")
    kept = tuple(n for i, n in enumerate(signal.shape) if i + 1 not in axes)
    return _reshaped(signal, kept)


def unsqueeze(node: Node, network: Network) -> Value:
    signal = _signal(node)
    axes = node.integers(1, "axes") or []
    rank = len(signal.shape) + 1 + len(axes)
    axes = sorted(axis % rank for axis in axes)
    if 0 in axes:
        raise node.refuse("it puts an axis in front of the batch", found=f"axes {axes}")
    dims = list(signal.shape)
    for axis in axes:
        dims.insert(axis - 1, 1)
    return _reshaped(signal, tuple(dims))


def transpose(node: Node, network: Network) -> Value:
    """Any order of the axes that leaves the batch alone."""
    if isinstance(node.inputs[0], Tail):
        raise node.refuse("it rearranges what the host finishes", expected="it before Softmax")
    signal = _signal(node)
    order = list(node.attributes.get("perm", range(len(signal.shape), -1, -1)))
    if order[0] != 0 or sorted(order) != list(range(len(signal.shape) + 1)):
        raise node.refuse(
            "it moves the batch",
            found=f"perm {order} of (batch, {in_text(signal.shape)})",
            expected="perm 0, ...",
        )
    axes = [axis - 1 for axis in order[1:]]
    return replace(signal, layout=signal.layout.moved(lambda places: places.transpose(axes)))


def _reshaped(signal: Signal, shape: tuple[int, ...]) -> Signal:
    return replace(signal, layout=signal.layout.moved(lambda places: places.reshape(shape)))


def _signal(node: Node) -> Signal:
    value = node.inputs[0]
    if isinstance(value, Signal):
        return value
    raise node.refuse("it rearranges what the host finishes", expected="it before Softmax")
