"""Kernels that slide over images: their attributes, and the Pad, Window and MaxPool layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hw_build.graph import MaxPool, Pad, Window
from hw_build.importer.affine import Affine
from hw_build.importer.network import Network
from hw_build.importer.values import Node, Signal, Sliding, in_text
from hw_build.scalar import evaluate


def sliding_of(node: Node, signal: Signal, kernel: Sequence[int]) -> Sliding:
    """The node's kernel, strides, dilations and pads on an image, as rows and columns.

    A one-dimensional signal is an image of one row. Refuses whatever isn't an image.
    """
    rank = len(signal.shape) - 1
    if not signal.layout.is_image or len(kernel) != rank:
        raise node.refuse(
            "its activations are no image",
            found=f"(batch, {in_text(signal.shape)}), kernel ({in_text(tuple(kernel))})",
            expected="(batch, channels, length) or (batch, channels, height, width), as the "
            "layer before made it",
        )
    kernel = [int(n) for n in kernel]
    strides = node.integers_of("strides", [1] * rank)
    dilations = node.integers_of("dilations", [1] * rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(node, signal.shape[1:], reach, strides)
    if min(*kernel, *strides, *dilations, *(pad + 1 for pad in pads)) < 1:
        found = f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {pads}"
        raise node.refuse("its kernel is no kernel", found=found, expected="positive numbers")
    before, after = pads[:rank], pads[rank:]
    for side, n, b, a in zip(reach, signal.shape[1:], before, after, strict=True):
        if side > n + b + a:
            raise node.refuse(
                "its kernel is larger than its image",
                found=f"kernel ({in_text(tuple(kernel))}) on {in_text(signal.shape)}",
            )
        if max(a, b) >= side:
            raise node.refuse(
                "it has windows of nothing but padding", found=f"pads {pads}, kernel {kernel}"
            )
    _require_floor(node, signal.shape[1:], reach, strides, pads)
    if rank == 1:
        kernel, strides, dilations = ([1, n[0]] for n in (kernel, strides, dilations))
        before, after = [0, *before], [0, *after]
    return Sliding(tuple(kernel), tuple(strides), tuple(dilations), (*before, *after))


def _pads(
    node: Node, sides: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> list[int]:
    """The pads before each axis, then those after, as ONNX orders them."""
    mode = node.attributes.get("auto_pad", b"NOTSET").decode()
    given = node.integers_of("pads", [0] * (2 * len(sides)))
    if mode == "NOTSET":
        return given
    if mode == "VALID":
        return [0] * (2 * len(sides))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.refuse("unknown padding", found=f"auto_pad {mode}")
    totals = [
        max(0, (-(-n // stride) - 1) * stride + r - n)
        for n, r, stride in zip(sides, reach, strides, strict=True)
    ]
    less, more = [n // 2 for n in totals], [n - n // 2 for n in totals]
    return [*less, *more] if mode == "SAME_UPPER" else [*more, *less]


def _require_floor(
    node: Node,
    sides: Sequence[int],
    reach: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
) -> None:
    """Refuses a ceil_mode that makes windows reach over the padded image's end."""
    rank = len(sides)
    rests = [
        (n + pads[i] + pads[i + rank] - r) % stride
        for i, (n, r, stride) in enumerate(zip(sides, reach, strides, strict=True))
    ]
    if node.attributes.get("ceil_mode", 0) and any(rests):
        raise node.refuse(
            "its last windows reach over the image's end",
            found=f"ceil_mode 1, {in_text(tuple(rests))} rows and columns left over",
            expected="ceil_mode 0, or windows that end where the image does",
            fix="export the pool with ceil_mode False, or with explicit padding",
        )


def slide(network: Network, source: str, sliding: Sliding, value: int, name: str) -> str:
    """Pads `source` with `value` and slides the kernel over it, as far as need be; the last name.

    The Pad is called `name`_pad, the Window `name`_window.
    """
    if any(sliding.pads):
        source = network.append(Pad(f"{name}_pad", source, *sliding.pads, value))
    if sliding.n_positions == 1 and sliding.stride == (1, 1):
        return source
    window = Window(f"{name}_window", source, sliding.kernel, sliding.stride, sliding.dilation)
    return network.append(window)


def max_pool(network: Network, source: str, sliding: Sliding, node: Node) -> str:
    """A MaxPool of the integers of `source`, padded with the least of them; its name."""
    name = network.numbered("pool")
    least = int(network.infos[source].lo.min())
    windows = slide(network, source, sliding, least, name)
    return network.append(MaxPool(name, windows, sliding.n_positions))


def integer_of(real: float, meaning: Affine, network: Network, signal: Signal, node: Node) -> int:
    """The integer of a settled signal's layer that stands for `real` on all channels."""
    kind = network.infos[signal.source].type
    columns = np.zeros(signal.n_channels)
    with np.errstate(all="ignore"):
        steps = np.rint((real - meaning.offset) / meaning.slope - meaning.shift) + columns
    value = int(steps[0]) if np.isfinite(steps).all() else 0
    meant = evaluate(signal.steps, value + columns)
    fits = kind.lo <= value <= kind.hi
    if not ((steps == value).all() and (meant == real).all() and fits):
        example = evaluate(signal.steps, np.array([[0.0], [1.0]]) + columns)[:, 0]
        raise node.refuse(
            f"it pads with {real:g}, which no integer of its input stands for",
            found=f"{kind} integers, where 0 stands for {example[0]:.6g}, 1 for {example[1]:.6g}",
            expected=f"an integer for {real:g}, the same on all channels",
            fix="quantise its input to a grid that holds it (no 2x - 1 on 2**n levels), "
            "or don't pad",
        )
    return value
