"""QONNX files of small convolutional networks, and those that a compiler must refuse.

Every entry of `IMAGE_ZOO` builds a `Specimen` with seeded random weights; quantisers sit where
the accumulators are, so that the networks are alive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from onnx import TensorProto
from qonnx_writer import Specimen, Writer


class ImageWriter(Writer):
    """A writer with convolutions, and activations that sit where random accumulators are."""

    def weights(self, shape: Sequence[int], bits: int, scale: object = None) -> str:
        """Quantised weights; `scale` may be one per output, (outputs, 1, ...)."""
        latent = self.const(self.rng.normal(0, 0.3, shape))
        if bits == 1:
            return self.bipolar(latent, 0.0613)
        return self.quant(latent, np.float32(0.17) if scale is None else scale, bits, narrow=True)

    def conv(
        self,
        x: str,
        n: int,
        m: int,
        kernel: int | Sequence[int],
        bits: int = 2,
        bias: bool = False,
        scale: object = None,
        **attributes: object,
    ) -> str:
        """A Conv from n channels to m; a kernel of one number is a square one."""
        sides = [kernel] * 2 if isinstance(kernel, int) else list(kernel)
        groups = attributes.get("group", 1)
        inputs = [x, self.weights((m, n // groups, *sides), bits, scale)]
        if bias:
            inputs.append(self.const(self.rng.normal(0, 0.2, m)))
        return self.add("Conv", *inputs, kernel_shape=sides, **attributes)

    def linear(self, x: str, n: int, m: int, bits: int = 2) -> str:
        """A MatMul with quantised weights."""
        return self.add("MatMul", x, self.weights((n, m), bits))

    def act(self, x: str, bits: int, step: float = 0.31) -> str:
        """Relu and an unsigned Quant; the sign for one bit."""
        if bits == 1:
            return self.bipolar(x)
        return self.quant(self.add("Relu", x), np.float32(step), bits, signed=False)

    def turning(self, x: str, n: int, spread: float) -> str:
        """A batch norm of which every other gamma is negative."""
        gamma = self.rng.uniform(0.5, 1.5, n) * np.where(np.arange(n) % 2, 1, -1)
        return self.batch_norm(x, n, spread, gamma)

    def done(self, name: str, x: str, shape: Sequence[int], n_out: int = 5, **kw) -> Specimen:
        """The specimen; real inputs from -1 to 1 where nothing else is said."""
        low, high, step = kw.get("inputs", (-1.0, 1.0, 0.0))
        return self.specimen(name, x, low, high, step, shape=tuple(shape), n_out=n_out)


def lenet(name: str, bits: int = 4) -> Specimen:
    """Two convolutions without padding, max pools after the quantiser, three dense layers."""
    w = ImageWriter(101)
    x = w.quant("inp", np.float32(0.0123), 8)
    for n, m in ((1, 3), (3, 4)):
        x = w.act(w.conv(x, n, m, 3, bits, bias=True), bits, 0.4)
        x = w.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = w.add("Flatten", x, axis=1)
    for n, m in ((16, 8), (8, 6)):
        x = w.act(w.linear(x, n, m, bits), bits, 0.5)
    return w.done(name, w.linear(x, 6, 5, bits), (1, 14, 14))


def cnv(name: str, weight_bits: int, act_bits: int, padded: bool = False) -> Specimen:
    """Pairs of convolutions, a max pool between batch norm and quantiser, negative gammas."""
    w = ImageWriter(102)
    x = w.quant("inp", 2.0**-7, 8)
    pads = [1] * 4 if padded else [0] * 4
    for i, (n, m) in enumerate(((3, 4), (4, 6), (6, 6))):
        x = w.conv(x, n, m, 3, weight_bits, pads=pads)
        x = w.turning(x, m, 0.07 * 3 * np.sqrt(n))
        if i == 1:
            x = w.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = w.act(x, act_bits, 0.5)
    n_flat = 6 * (25 if padded else 1)
    x = w.add("Reshape", x, w.const([1, n_flat], np.int64))
    x = w.act(w.batch_norm(w.linear(x, n_flat, 6, weight_bits), 6, 0.3), act_bits, 0.5)
    return w.done(name, w.linear(x, 6, 5, weight_bits), (3, 10, 10))


def residual(name: str, ratio: float = 1.0, op: str = "Add") -> Specimen:
    """Two residual blocks; the second one's branch has `ratio` times the scale of its shortcut."""
    w = ImageWriter(103)
    x = w.act(w.conv(w.quant("inp", 2.0**-7, 8), 3, 4, 3, pads=[1] * 4), 3, 0.3)
    step = np.float32(0.3)
    for factor in (1.0, ratio):
        y = w.act(w.conv(x, 4, 4, 3, pads=[1] * 4), 3)
        y = w.conv(y, 4, 4, 3, pads=[1] * 4)
        y = w.quant(w.turning(y, 4, 0.9), step * np.float32(factor), 4)
        x = w.act(w.turning(w.add(op, x, y), 4, 1.0), 3, 0.3)
    x = w.quant(w.add("GlobalAveragePool", x), np.float32(0.05), 5, signed=False)
    x = w.add("Flatten", x, axis=1)
    return w.done(name, w.linear(x, 4, 5), (3, 6, 6))


def separable(name: str) -> Specimen:
    """Depthwise convolutions with strides and a multiplier, pointwise ones, scales per channel."""
    w = ImageWriter(104)
    x = w.act(w.conv(w.quant("inp", 2.0**-7, 8), 3, 4, 3, strides=[2, 2], pads=[1] * 4), 4)
    for n, m, stride in ((4, 8, 1), (8, 8, 2)):
        scale = w.rng.uniform(0.1, 0.2, (m, 1, 1, 1)).astype(np.float32)
        x = w.conv(x, n, m, 3, 4, group=n, scale=scale, strides=[stride] * 2, pads=[1] * 4)
        x = w.act(w.turning(x, m, 0.6), 4)
        x = w.act(w.batch_norm(w.conv(x, m, m, 1, 4), m, 0.9), 4)
    x = w.add("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1])
    x = w.add("Reshape", x, w.const([1, -1], np.int64))
    return w.done(name, w.linear(w.quant(x, 0.25, 4), 32, 5), (3, 11, 11))


def fire(name: str) -> Specimen:
    """Squeeze, two expansions of one scale side by side, scores by the mean over all pixels."""
    w = ImageWriter(105)

    def layer(x: str, n: int, m: int, kernel: int, **attributes: object) -> str:
        return w.act(w.batch_norm(w.conv(x, n, m, kernel, **attributes), m, 0.3), 2, 0.5)

    x = layer(w.quant("inp", 2.0**-7, 8), 3, 8, 3)
    for _ in range(2):
        squeezed = layer(x, 8, 4, 1)
        one, three = layer(squeezed, 4, 3, 1), layer(squeezed, 4, 5, 3, pads=[1] * 4)
        x = w.add("Concat", one, three, axis=1)
    x = w.conv(x, 8, 5, 1)
    return w.done(name, w.add("GlobalAveragePool", x), (3, 6, 6))


def joined_scales(name: str) -> Specimen:
    """Concatenated branches of two scales, which a quantiser makes one."""
    w = ImageWriter(106)
    x = w.quant("inp", 2.0**-7, 8)
    one = w.quant(w.conv(x, 2, 2, 1), np.float32(0.23), 3)
    two = w.quant(w.conv(x, 2, 3, 1), np.float32(0.41), 3)
    x = w.turning(w.add("Concat", one, two, axis=1), 5, 0.5)
    return w.done(name, w.conv(w.quant(x, 0.5, 3), 5, 2, [4, 4]), (2, 4, 4))


def signal(name: str) -> Specimen:
    """A 1-D network with dilation, stride, uneven padding and pools."""
    w = ImageWriter(107)
    x = w.quant("inp", np.float32(0.021), 8)
    x = w.act(w.turning(w.conv(x, 2, 6, [5], 3, dilations=[2], pads=[1, 3]), 6, 0.8), 3)
    x = w.add("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 1])
    x = w.act(w.conv(x, 6, 6, [3], 3, strides=[2], group=2), 3, 0.6)
    x = w.add("ReduceMean", x, axes=[2], keepdims=0)
    return w.done(name, w.linear(w.quant(x, 0.125, 4, signed=False), 6, 5), (2, 24))


def truncated(name: str, rounding: str = "FLOOR", inputs: int = 5, kernel: int = 4) -> Specimen:
    """An average pool, as a sum that Trunc shortens, in both forms of that operator."""
    w = ImageWriter(108)
    scale = np.float32(0.137)
    x = w.quant("inp", 2.0**-7, 8)
    x = w.quant(w.add("Relu", w.conv(x, 2, 4, 3)), scale, 4, signed=False)
    count = kernel * kernel
    x = w.add("AveragePool", x, kernel_shape=[kernel] * 2, strides=[kernel] * 2)
    x = w.add("Mul", x, w.const(float(count)))
    if inputs == 5:
        more = [w.const(value) for value in (scale, 0.0, 8.0, 4.0)]
        x = w.add("Trunc", x, *more, domain=w.domain, rounding_mode=rounding)
    else:
        more = [w.const(value) for value in (scale, 0.0, 8.0, scale * 16, 4.0)]
        mode = {"rounding_mode": rounding, "signed": 0, "narrow": 0}
        x = w.add("Trunc", x, *more, domain=w.domain, **mode)
    x = w.add("Flatten", x, axis=1)
    return w.done(name, w.linear(x, 4 * (8 // kernel) ** 2, 5), (2, 10, 10))


def pooled_mean(name: str, direct: bool) -> Specimen:
    """A mean over 3 x 3 that is not quantised before the next layer (`direct`), or is."""
    w = ImageWriter(109)
    x = w.act(w.conv(w.quant("inp", 2.0**-7, 8), 2, 4, 3), 3, 0.25 if direct else 0.31)
    pads = {"pads": [1] * 4, "count_include_pad": 1}
    x = w.add("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], **pads)
    x = x if direct else w.quant(w.turning(x, 4, 0.8), np.float32(0.11), 4)
    x = w.conv(x, 4, 3, 2, bias=True)
    x = w.act(x, 3)
    return w.done(name, w.linear(w.add("Flatten", x, axis=1), 12, 5), (2, 8, 8))


def channels_last(name: str) -> Specimen:
    """A model of NHWC images with Transposes around its convolutions, and a MatMul per pixel."""
    w = ImageWriter(110)
    x = w.add("Transpose", "inp", perm=[0, 3, 1, 2])
    x = w.act(w.conv(w.quant(x, 2.0**-7, 8), 3, 4, 3, auto_pad="SAME_UPPER", strides=[2, 2]), 3)
    x = w.add("Transpose", x, perm=[0, 2, 3, 1])
    x = w.act(w.linear(x, 4, 6, 3), 3, 0.4)
    x = w.add("Reshape", x, w.const([1, 4 * 3 * 6], np.int64))
    return w.done(name, w.linear(x, 72, 5), (7, 6, 3))


def enlarged(name: str, opset: int = 13) -> Specimen:
    """Nearest upsampling, explicit padding, dilation and a rectangular kernel; scores by pixel."""
    w = ImageWriter(111, opset=opset)
    x = w.act(w.conv(w.quant("inp", 2.0**-7, 8), 3, 4, [3, 2], dilations=[2, 1]), 3)
    scales = w.const([1.0, 1.0, 2.0, 3.0])
    if opset == 9:
        x = w.add("Upsample", x, scales, mode="nearest")
        x = w.add("Pad", x, mode="constant", pads=[0, 0, 0, 1, 0, 0, 2, 0], value=0.0)
    else:
        mode = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        x = w.add("Resize", x, "", scales, mode="nearest", **mode)
        x = w.add("Pad", x, w.const([0, 0, 0, 1, 0, 0, 2, 0], np.int64), w.const(0.0))
    return w.done(name, w.conv(x, 4, 5, 3, 3), (3, 6, 6))


def pixel_classes(name: str) -> Specimen:
    """A class for each pixel."""
    w = ImageWriter(112)
    x = w.act(w.conv(w.quant("inp", 2.0**-7, 8), 3, 4, 3), 3)
    x = w.add("ArgMax", w.conv(x, 4, 5, 1, 3), axis=1, keepdims=1)
    made = w.done(name, x, (3, 6, 6), 1)
    made.model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return made


def forked_sums(name: str) -> Specimen:
    """Sums of one convolution that two quantisers read, one of which falls on some channels."""
    w = ImageWriter(113)
    x = w.conv(w.quant("inp", 2.0**-7, 8), 2, 4, 3)
    one = w.quant(w.turning(x, 4, 0.5), 0.25, 3)
    two = w.quant(x, 0.25, 3)
    x = w.add("Flatten", w.add("Sub", one, two), axis=1)
    return w.done(name, w.linear(w.quant(x, 0.5, 3), 64, 5), (2, 6, 6))


def added_sums(name: str) -> Specimen:
    """Two convolutions of one scale, added before any quantiser."""
    w = ImageWriter(114)
    x = w.act(w.conv(w.quant("inp", 2.0**-7, 8), 2, 4, 3), 2)
    x = w.add("Add", w.conv(x, 4, 4, 3, pads=[1] * 4), w.conv(x, 4, 4, 1))
    x = w.act(w.turning(x, 4, 0.7), 2, 0.5)
    return w.done(name, w.linear(w.add("Flatten", x, axis=1), 64, 5), (2, 6, 6))


def pixels(name: str) -> Specimen:
    """uint8 pixels / 255 in the graph, a padded binary convolution on them: ties are common."""
    w = ImageWriter(115)
    w.annotate("inp", "UINT8")
    x = w.add("Div", "inp", w.const(255.0))
    x = w.bipolar(w.conv(x, 2, 6, 3, 1, pads=[1] * 4))
    x = w.bipolar(w.conv(x, 6, 6, 3, 1, pads=[1] * 4))
    x = w.add("Flatten", x, axis=1)
    return w.done(name, w.linear(x, 96, 5, 1), (2, 4, 4), inputs=(0, 255, 51))


def per_channel_shortcut(name: str) -> Specimen:
    """Branches whose scales differ by another integer on each channel; a zero point."""
    w = ImageWriter(116)
    x = w.quant(w.conv(w.quant("inp", 2.0**-7, 8), 2, 4, 3), 0.25, 4, zero_point=2.0)
    y = w.quant(w.conv(x, 4, 4, 1), 0.5, 3)
    y = w.add("Mul", y, w.const(np.array([1, 2, 3, -4]).reshape(1, 4, 1, 1)))
    x = w.act(w.add("Add", x, y), 3, 0.7)
    x = w.add("Flatten", x, axis=1)
    return w.done(name, w.linear(x, 64, 5), (2, 6, 6))


def falling_pool(name: str) -> Specimen:
    """Max pools of quantised values times -1 on some channels, and of sums before Sigmoid."""
    w = ImageWriter(117)
    x = w.quant(w.conv(w.quant("inp", 2.0**-7, 8), 2, 4, 3), 0.25, 4, narrow=True)
    x = w.add("Mul", x, w.const(np.array([1.0, -1.0, 1.0, -1.0]).reshape(1, 4, 1, 1)))
    x = w.add("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 1, 1, 0])
    x = w.turning(w.conv(w.quant(x, 0.25, 4), 4, 4, 2), 4, 0.5)
    x = w.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = w.add("Neg", w.add("Sigmoid", x))
    x = w.quant(w.add("Add", x, w.const(1.0)), 0.125, 3, signed=False)
    return w.done(name, w.linear(w.add("Flatten", x, axis=1), 16, 5), (2, 8, 8))


IMAGE_ZOO: dict[str, Callable[[], Specimen]] = {
    name: partial(build, name)
    for name, build in {
        "lenet": lenet,
        "cnv_w1a1": partial(cnv, weight_bits=1, act_bits=1),
        "cnv_w1a2": partial(cnv, weight_bits=1, act_bits=2),
        "cnv_w2a2": partial(cnv, weight_bits=2, act_bits=2),
        "cnv_w1a1_padded": partial(cnv, weight_bits=1, act_bits=1, padded=True),
        "cnv_w4a4_padded": partial(cnv, weight_bits=4, act_bits=4, padded=True),
        "residual": residual,
        "residual_scales_2_to_1": partial(residual, ratio=2.0),
        "residual_scales_1_to_4": partial(residual, ratio=0.25),
        "residual_sub": partial(residual, ratio=2.0, op="Sub"),
        "separable": separable,
        "fire": fire,
        "joined_scales": joined_scales,
        "signal": signal,
        **{
            f"trunc_{mode.lower()}_{n}": partial(truncated, rounding=mode, inputs=n)
            for mode in ("FLOOR", "ROUND", "CEIL")
            for n in (5, 6)
        },
        "mean_to_conv": partial(pooled_mean, direct=True),
        "mean_quantised": partial(pooled_mean, direct=False),
        "channels_last": channels_last,
        "enlarged": enlarged,
        "enlarged_opset_9": partial(enlarged, opset=9),
        "pixel_classes": pixel_classes,
        "forked_sums": forked_sums,
        "added_sums": added_sums,
        "pixels_padded": pixels,
        "per_channel_shortcut": per_channel_shortcut,
        "falling_pool": falling_pool,
    }.items()
}
"""Name -> builder; call it without arguments."""
