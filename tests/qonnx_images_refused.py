"""Convolutional QONNX files that a compiler must refuse, and the words to refuse them with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from qonnx_images import ImageWriter

End = Callable[[ImageWriter, str], str]


def _half_open_padding(w: ImageWriter, x: str) -> str:
    """2x - 1 on uint8: no integer stands for 0."""
    w.annotate("inp", "UINT8")
    x = w.add("Mul", w.add("Div", "inp", w.const(255.0)), w.const(2.0))
    return w.conv(w.add("Sub", x, w.const(1.0)), 4, 4, 3, pads=[1] * 4)


def _two_scales(w: ImageWriter, x: str) -> str:
    y = w.quant(w.conv(x, 4, 4, 1), np.float32(0.1234), 3)
    return w.add("Add", x, y)


def _float_branch(w: ImageWriter, x: str) -> str:
    return w.add("Add", x, w.batch_norm(w.conv(x, 4, 4, 1), 4, 0.5))


def _two_types(w: ImageWriter, x: str) -> str:
    return w.add("Concat", x, w.quant(w.conv(x, 4, 4, 1), 0.25, 3), axis=1)


def _float_concat(w: ImageWriter, x: str) -> str:
    return w.add("Concat", x, w.conv(x, 4, 4, 1), axis=1)


def _parameter_per_pixel(w: ImageWriter, x: str) -> str:
    return w.add("Add", w.conv(x, 4, 4, 1), w.const(w.rng.normal(size=(1, 4, 6, 6))))


def _interpolation(w: ImageWriter, x: str) -> str:
    return w.add("Resize", x, "", w.const([1.0, 1.0, 2.0, 2.0]), mode="linear")


def _uneven_resize(w: ImageWriter, x: str) -> str:
    return w.add("Resize", x, "", w.const([1.0, 1.0, 1.5, 1.0]), mode="nearest")


def _corners(w: ImageWriter, x: str) -> str:
    mode = {"mode": "nearest", "coordinate_transformation_mode": "align_corners"}
    return w.add("Resize", x, "", w.const([1.0, 1.0, 2.0, 2.0]), **mode)


def _pool(op: str, **attributes: object) -> End:
    return lambda w, x: w.add(op, x, **attributes)


def _float_weights(w: ImageWriter, x: str) -> str:
    return w.add("Conv", x, w.const(w.rng.normal(size=(4, 4, 3, 3))), kernel_shape=[3, 3])


def _scale_per_input(w: ImageWriter, x: str) -> str:
    return w.conv(x, 4, 4, 3, scale=w.rng.uniform(0.1, 0.2, (1, 4, 1, 1)))


def _three_dimensions(w: ImageWriter, x: str) -> str:
    x = w.add("Reshape", x, w.const([1, 4, 6, 3, 2], np.int64))
    return w.conv(x, 4, 4, [3, 3, 1])


def _no_quantiser(w: ImageWriter, x: str) -> str:
    return w.conv(w.conv(x, 4, 4, 3), 4, 4, 3)


def _pool_of_rounded(w: ImageWriter, x: str) -> str:
    x = w.add("Relu", w.conv(x, 4, 4, 3))
    return w.add("GlobalAveragePool", x)


def _product(w: ImageWriter, x: str) -> str:
    return w.add("Mul", x, w.add("GlobalAveragePool", x))


def _transposed_image(w: ImageWriter, x: str) -> str:
    x = w.act(w.conv(x, 4, 4, 1), 2)
    return w.conv(w.add("Transpose", x, perm=[0, 2, 3, 1]), 6, 4, 3)


IMAGE_REFUSED: dict[str, tuple[End, tuple[str, ...]]] = {
    "padding_without_a_zero": (_half_open_padding, ("pads with 0", "Conv_", "UINT8", "holds it")),
    "two_scales": (_two_scales, ("no small integer ratio", "Add_", "0.25", "shared quantiser")),
    "float_branch": (_float_branch, ("no multiple of a scale", "Add_", "shared quantiser")),
    "two_types": (_two_types, ("different integer types", "Concat_", "UINT4", "INT3")),
    "float_concat": (_float_concat, ("not quantised", "Concat_", "shared quantiser")),
    "parameter_per_pixel": (_parameter_per_pixel, ("differs from pixel to pixel", "Add_")),
    "interpolation": (_interpolation, ("interpolates", "Resize_", "mode linear")),
    "uneven_resize": (_uneven_resize, ("by integers", "Resize_", "(1, 4, 9, 6)")),
    "corners": (_corners, ("repeat pixels", "align_corners", "asymmetric")),
    "ceil_mode": (
        _pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        ("over the image's end", "MaxPool_", "ceil_mode 0"),
    ),
    "uncounted_padding": (
        _pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        ("padding doesn't count", "AveragePool_", "count_include_pad"),
    ),
    "mean_over_channels": (
        _pool("ReduceMean", axes=[1], keepdims=1),
        ("rows and columns", "ReduceMean_", "axes [1]"),
    ),
    "larger_than_the_image": (
        lambda w, x: w.conv(x, 4, 4, 7),
        ("larger than its image", "Conv_", "kernel (7, 7) on 4, 6, 6"),
    ),
    "reflected": (
        lambda w, x: w.add("Pad", x, w.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect"),
        ("pads with copies", "Pad_", "reflect"),
    ),
    "float_weights": (_float_weights, ("conv weights are float", "Conv_", "QuantConv2d")),
    "scale_per_input": (_scale_per_input, ("scale per input channel", "Conv_")),
    "three_dimensions": (_three_dimensions, ("kernel is not supported", "Conv_", "two dimensions")),
    "no_quantiser": (_no_quantiser, ("no quantiser since the layer before", "Conv_")),
    "pool_of_rounded": (_pool_of_rounded, ("leaves the integer grid", "GlobalAveragePool_")),
    "product_of_branches": (_product, ("multiplies", "Mul_")),
    "transposed_image": (_transposed_image, ("no image", "Conv_")),
    "transposed_convolution": (
        lambda w, x: w.add("ConvTranspose", x, w.weights((4, 4, 3, 3), 2)),
        ("not supported", "ConvTranspose"),
    ),
}
"""Name -> what is put behind UINT4 activations (4, 6, 6), and the words of the refusal."""


def refused_model(end: End):
    """An image (4, 6, 6), quantised to UINT4 of scale 0.25, and what `end` makes of it."""
    w = ImageWriter(130)
    x = end(w, w.quant("inp", 0.25, 4, signed=False))
    return w.model((1, 4, 6, 6), [w.add("Flatten", x, axis=1)], [(1, None)])
