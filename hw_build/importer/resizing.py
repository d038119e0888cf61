"""Operators that make images larger: Resize and Upsample to nearest neighbours, and Pad."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from hw_build.graph import Pad, Upsample
from hw_build.importer.layout import Layout
from hw_build.importer.network import Network
from hw_build.importer.products import affine_of
from hw_build.importer.settling import flush, is_settled, settle
from hw_build.importer.sliding import integer_of
from hw_build.importer.values import Node, Signal, Value, data, in_text

ROUNDINGS = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda x: ceil(x - Fraction(1, 2)),
    "round_prefer_ceil": lambda x: floor(x + Fraction(1, 2)),
}
"""ONNX's nearest_mode, on exact fractions."""


def resize(node: Node, network: Network) -> Value:
    """Every pixel becomes a rectangle of pixels; refused where a scale or a mode says otherwise."""
    signal = _image(node, network)
    mode = node.attributes.get("mode", b"nearest").decode()
    if mode != "nearest":
        raise node.refuse("it interpolates", found=f"mode {mode}", expected="mode nearest")
    sides, rank = signal.shape[1:], len(signal.shape) + 1
    sizes = _sizes(node, (1, *signal.shape))
    if sizes[1] != signal.shape[0] or any(
        m % n or m < n for m, n in zip(sizes[2:], sides, strict=True)
    ):
        raise node.refuse(
            "it doesn't enlarge rows and columns by integers",
            found=f"({in_text((1, *signal.shape))}) to ({in_text(tuple(sizes))})",
            expected="integer factors of height and width",
        )
    factors = [m // n for m, n in zip(sizes[2:], sides, strict=True)]
    for factor, side in zip(factors, sides, strict=True):
        _require_nearest(node, factor, side)
    down, right = (1, *factors) if rank == 3 else factors
    name = network.numbered("up")
    network.append(Upsample(name, signal.source, (down, right)))
    if signal.source in network.activations:
        network.activations.add(name)
    layout = Layout.image((signal.shape[0], *sizes[2:]))
    return replace(signal, source=name, layout=layout, tensor=node.outputs[0])


def _image(node: Node, network: Network) -> Signal:
    signal = data(node, 0)
    if is_settled(network, signal):
        signal = settle(network, signal, node, image=True)
    signal = flush(network, signal)
    if not signal.layout.is_image:
        raise node.refuse("its activations are no image", found=f"(batch, {in_text(signal.shape)})")
    return signal


def _sizes(node: Node, shape: tuple[int, ...]) -> list[int]:
    """The sizes of the result, batch included, by Resize's or Upsample's inputs or attributes."""
    at = 1 if node.op == "Upsample" or len(node.inputs) == 2 else 2
    if node.has(3) and node.constant(3, "sizes").value.size:
        return [1, *(node.integers(3, "sizes") or [])[1:]]
    given = node.attributes.get("scales")
    scales = given if given is not None else node.constant(at, "scales").value.reshape(-1).tolist()
    if len(scales) != len(shape) or scales[0] != 1:
        raise node.refuse("its scales don't fit", found=str(scales), expected="one for each axis")
    return [floor(Fraction(scale) * n) for scale, n in zip(scales, shape, strict=True)]


def _require_nearest(node: Node, factor: int, side: int) -> None:
    """Every output pixel i has to be input pixel i // factor, by ONNX's own formula."""
    if node.op == "Upsample":
        return
    mode = node.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if len(node.inputs) == 2:  # opset 10 has neither attribute
        mode = "asymmetric"
    default = b"floor" if len(node.inputs) == 2 else b"round_prefer_floor"
    nearest = node.attributes.get("nearest_mode", default).decode()
    half = Fraction(1, 2)
    places = {
        "asymmetric": lambda i: Fraction(i, factor),
        "half_pixel": lambda i: (i + half) / factor - half,
        "pytorch_half_pixel": lambda i: (i + half) / factor - half if side * factor > 1 else 0,
    }
    known = mode in places and nearest in ROUNDINGS
    if not known or any(
        min(max(ROUNDINGS[nearest](places[mode](i)), 0), side - 1) != i // factor
        for i in range(side * factor)
    ):
        raise node.refuse(
            "it doesn't repeat pixels",
            found=f"coordinate_transformation_mode {mode}, nearest_mode {nearest}, times {factor}",
            expected="asymmetric and floor, or half_pixel",
            fix="export nearest upsampling as torch does (asymmetric, floor)",
        )


def pad(node: Node, network: Network) -> Value:
    """Puts a constant around the rows and columns."""
    mode = node.attributes.get("mode", b"constant").decode()
    if mode != "constant":
        raise node.refuse("it pads with copies", found=f"mode {mode}", expected="mode constant")
    signal = settle(network, data(node, 0), node, image=True)
    rank = len(signal.shape) + 1
    pads = node.integers(1, "pads") or []
    axes = node.integers(3, "axes") if node.has(3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for axis, first, last in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        before[axis % rank], after[axis % rank] = first, last
    around = [*before[:2], *after[:2]]
    if not signal.layout.is_image or any(around) or min(*before, *after) < 0:
        raise node.refuse(
            "it doesn't pad the rows and columns of an image",
            found=f"pads {pads} of (batch, {in_text(signal.shape)})",
            expected="pads of at least 0, none on the batch and the channels",
        )
    real = node.scalar(2, "value") if node.has(2) else node.real("value", 0.0)
    value = integer_of(real, affine_of(signal.steps, node), network, signal, node)
    row = [0] if rank == 3 else []
    top_left, bottom_right = [*row, *before[2:]], [*row, *after[2:]]
    name = network.append(
        Pad(network.numbered("pad"), signal.source, *top_left, *bottom_right, value)
    )
    network.activations.add(name)
    sides = [n + b + a for n, b, a in zip(signal.shape[1:], before[2:], after[2:], strict=True)]
    layout = Layout.image((signal.shape[0], *sides))
    return replace(signal, source=name, layout=layout, tensor=node.outputs[0])
