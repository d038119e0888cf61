"""MatMul and Gemm: fully connected layers, of the whole tensor or of every pixel."""

from __future__ import annotations

import numpy as np

from hw_build.graph import Flatten, MatVec
from hw_build.importer.layout import Layout
from hw_build.importer.network import Network
from hw_build.importer.products import sums
from hw_build.importer.settling import settle
from hw_build.importer.values import Constant, Node, Signal, Value, data, in_text
from hw_build.importer.weights import quantised


def matmul(node: Node, network: Network) -> Value:
    return dense(network, data(node, 0), node.constant(1, "weights"), node)


def gemm(node: Node, network: Network) -> Value:
    """alpha * (x @ W) + beta * C."""
    if node.attributes.get("transA", 0):
        raise node.refuse("it transposes the activations", found="transA = 1", expected="transA 0")
    signal, weights = data(node, 0), node.constant(1, "weights")
    if node.attributes.get("transB", 0):
        weights = weights.rearranged(np.transpose)
    y = dense(network, signal, weights, node)
    alpha, beta = (node.real(key, 1.0) for key in ("alpha", "beta"))
    if alpha != 1:
        y = node.extended(y, ("mul", {"by": alpha}))
    if node.has(2):
        bias = node.constant(2, "bias").value
        y = node.extended(y, ("add", {"to": bias if beta == 1 else beta * bias}))
    return y


def dense(network: Network, signal: Signal, weights: Constant, node: Node) -> Signal:
    """A fully connected layer: `weights` of shape (inputs, outputs), without its bias.

    An image is flattened first, row, column, channel, and the weights are put in that order. What
    multiplies the channels of every pixel needs no flattening.
    """
    if weights.value.ndim != 2:
        found = f"shape {weights.value.shape}"
        raise node.refuse("the weights are not a matrix", found=found)
    n_inputs, n_outputs = weights.value.shape
    if n_inputs != signal.shape[-1]:
        found = f"{signal.shape[-1]} activations, weights for {n_inputs}"
        raise node.refuse("the weights don't fit the activations", found=found)
    signal = settle(network, signal, node)
    layout = signal.layout
    source, last_axis = signal.source, layout.places.reshape(-1, n_inputs)
    if len(last_axis) == 1:
        order = np.argsort(last_axis[0])
        weights = weights.rearranged(lambda array: array[order])
        made = Layout.vector((*signal.shape[:-1], n_outputs))
    elif layout.n_pixels == len(last_axis) and layout.runs_along(-1):
        pixels = layout.places[..., :1] // n_inputs
        places = pixels * n_outputs + np.arange(n_outputs)
        made = Layout(places, (*layout.shape[:-1], n_outputs))
    else:
        raise node.refuse(
            "it is applied to more than one vector per frame",
            found=f"activations (batch, {in_text(signal.shape)})",
            expected=f"(batch, {n_inputs}), or the channels of an image's pixels as the last axis",
            fix="flatten the activations first",
        )
    matrix, scale = quantised(weights, "fc", node)
    name = network.numbered("fc")
    if len(last_axis) == 1 and len(layout.shape) > 1:
        source = flatten(network, source, f"{name}_flatten")
    return sums(network, signal, MatVec(name, source, matrix), scale, made, node, node.outputs[0])


def flatten(network: Network, source: str, name: str) -> str:
    """A Flatten of a layer, as one layer however many read it; its name."""
    for layer in network.layers:
        if isinstance(layer, Flatten) and layer.source == source:
            return layer.name
    name = network.append(Flatten(name, source))
    if source in network.activations:
        network.activations.add(name)
    return name
