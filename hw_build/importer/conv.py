"""Conv: [Pad,] [Window,] and MatVec, or Depthwise where every channel is a group of its own."""

from __future__ import annotations

import numpy as np

from hw_build.graph import Depthwise, MatVec
from hw_build.importer.layout import Layout
from hw_build.importer.network import Network
from hw_build.importer.products import affine_of, sums
from hw_build.importer.settling import settle
from hw_build.importer.sliding import integer_of, slide, sliding_of
from hw_build.importer.values import Constant, Node, Sliding, Value, data, in_text
from hw_build.importer.weights import quantised


def conv(node: Node, network: Network) -> Value:
    """A convolution of one or two dimensions; its weights are (outputs, inputs / groups, ...)."""
    signal, weights = data(node, 0), node.constant(1, "weights")
    groups = int(node.attributes.get("group", 1))
    n_outputs, n_inputs, *kernel = weights.value.shape
    stated = node.integers_of("kernel_shape", kernel)
    if len(kernel) not in (1, 2) or stated != list(kernel):
        raise node.refuse(
            "its kernel is not supported",
            found=f"weights {weights.value.shape}, kernel_shape {stated}",
            expected="one or two dimensions, the same in both",
        )
    signal = settle(network, signal, node, image=True)
    sliding = sliding_of(node, signal, kernel)
    if groups < 1 or n_outputs % groups or n_inputs * groups != signal.n_channels:
        raise node.refuse(
            "the weights don't fit the activations",
            found=f"weights {weights.value.shape} in {groups} groups, "
            f"activations (batch, {in_text(signal.shape)})",
        )
    depthwise = n_inputs == 1 and groups > 1
    kind, layer = ("dw", Depthwise) if depthwise else ("conv", MatVec)
    matrix, scale = quantised(weights.rearranged(_columns), kind, node)
    if groups > 1 and not depthwise:
        matrix = _with_zeros(matrix, sliding.n_positions, groups)
    name = network.numbered(kind)
    source = signal.source
    zero = 0
    if any(sliding.pads):
        zero = integer_of(0.0, affine_of(signal.steps, node), network, signal, node)
    source = slide(network, source, sliding, zero, name)
    made = Layout.image((n_outputs, *sides_after(sliding, signal.shape[1:])))
    y = sums(network, signal, layer(name, source, matrix), scale, made, node, node.outputs[0])
    if node.has(2):
        bias: Constant = node.constant(2, "bias")
        y = node.extended(y, ("add", {"to": bias.value.reshape(-1, *(1 for _ in kernel))}))
    return y


def _columns(weights: np.ndarray) -> np.ndarray:
    """(outputs, inputs, ...) as (kernel positions * inputs, outputs), positions first."""
    n_outputs, n_inputs = weights.shape[:2]
    positions = weights.reshape(n_outputs, n_inputs, -1).transpose(2, 1, 0)
    return positions.reshape(-1, n_outputs)


def _with_zeros(matrix: np.ndarray, n_positions: int, groups: int) -> np.ndarray:
    """Rows of outputs that see their group's inputs, as rows that see all: the others by 0."""
    n_outputs = len(matrix)
    own = matrix.reshape(groups, n_outputs // groups, n_positions, -1)
    whole = np.zeros((groups, n_outputs // groups, n_positions, groups, own.shape[-1]), np.int64)
    for group in range(groups):
        whole[group, :, :, group] = own[group]
    return whole.reshape(n_outputs, -1)


def sides_after(sliding: Sliding, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width of what the kernel makes of an image, or the length of a signal."""
    rows = (1, *sides) if len(sides) == 1 else sides
    made = [
        (n + before + after - (kernel - 1) * dilation - 1) // stride + 1
        for n, before, after, kernel, dilation, stride in zip(
            rows,
            sliding.pads[:2],
            sliding.pads[2:],
            sliding.kernel,
            sliding.dilation,
            sliding.stride,
            strict=True,
        )
    ]
    return tuple(made[-len(sides) :])
