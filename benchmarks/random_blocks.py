"""Random blocks of convolutional networks, one at a time: what lowering makes of random layers.

Sizes are those that keep Yosys to seconds: streams of at most `MOST_BITS` a beat, images of up to
40 columns.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from hw_build.blocks import Block, Stream
from hw_build.fifos import fifo_block
from hw_build.folding import Folding, divisors
from hw_build.graph import (
    BIPOLAR,
    Add,
    Concat,
    Depthwise,
    Input,
    IntType,
    MaxPool,
    Pad,
    Threshold,
    TopK,
    Upsample,
    Window,
)
from hw_build.lower_images import (
    concat_block,
    max_pool_block,
    pad_block,
    upsample_block,
    window_block,
)
from hw_build.lower_streams import add_block, fork
from hw_build.lower_units import depthwise_block, top_k_block

MOST_BITS = 96
"""Bits of a beat, at most."""
TYPES = (
    *(BIPOLAR, BIPOLAR, IntType(2, False), IntType(2, True), IntType(3, True)),
    *(IntType(4, False), IntType(5, True), IntType(8, False), IntType(8, True)),
)


def random_block(rng: np.random.Generator, kind: str) -> Block:
    """A block of one of `KINDS`."""
    return KINDS[kind](rng)


def _window(rng: np.random.Generator) -> Block:
    image, stream = _image(rng)
    layer = _sliding(rng, image)
    outer = bool(rng.integers(2))
    return window_block(layer, image.infer(), stream, stream.lanes, channel_outer=outer)


def _window_parallel(rng: np.random.Generator) -> Block:
    image, stream = _image(rng, most_bits=24, whole=True)
    layer = _sliding(rng, image, most=4)
    lanes = prod(layer.kernel) * image.shape[2]
    if lanes == image.shape[2]:  # a kernel of one position is no whole window
        return _window_parallel(rng)
    return window_block(layer, image.infer(), stream, lanes, channel_outer=False)


def _pad(rng: np.random.Generator) -> Block:
    image, stream = _image(rng)
    around = [int(n) for n in rng.integers(0, 4, 4)]
    if rng.random() < 0.5:  # the common case: alike on all sides
        around = [1 + around[0] % 2] * 4
    around[0] += sum(around) == 0
    value = -1 if image.type.bipolar and rng.random() < 0.5 else 0
    return pad_block(Pad("pad", "x", *around, value), image.infer(), stream)


def _max_pool(rng: np.random.Generator) -> Block:
    image, stream = _image(rng)
    kernel = (int(rng.integers(1, 4)), int(rng.integers(2, 4)))
    layer = Window("window", "x", kernel, kernel)
    window = window_block(layer, image.infer(), stream, stream.lanes, channel_outer=True)
    return max_pool_block(MaxPool("pool", "window", prod(kernel)), window.sink)


def _upsample(rng: np.random.Generator) -> Block:
    image, stream = _image(rng)
    factors = ((2, 2), (2, 2), (1, 2), (3, 1), (3, 3), (4, 4))[rng.integers(6)]
    return upsample_block(Upsample("up", "x", factors), image.infer(), stream)


def _fork(rng: np.random.Generator) -> Block:
    blocks: list[Block] = []
    fork(blocks, _image(rng)[1], 2)
    return blocks[0]


def _add(rng: np.random.Generator) -> Block:
    a, stream = _image(rng, most_bits=48)
    b = Input("b", a.shape, TYPES[rng.integers(len(TYPES))])
    multipliers = ((1, 1), (1, 1), (1, 1), (2, 1), (1, -1), (3, 5))[rng.integers(6)]
    layer = Add("add", "x", "b", multipliers)
    info = layer.infer(a.infer(), b.infer())
    return add_block(layer, info, stream, _stream(b, stream.lanes))


def _concat(rng: np.random.Generator) -> Block:
    a, stream = _image(rng)
    n_channels = stream.lanes * int(rng.integers(1, 9))
    b = Input("b", (*a.shape[:2], n_channels), a.type)
    blocks: list[Block] = []
    concat_block(blocks, Concat("concat", ("x", "b")), [stream, _stream(b, stream.lanes)])
    return blocks[0]


def _top_k(rng: np.random.Generator) -> Block:
    n, k = int(rng.integers(5, 200)), int(rng.integers(2, 6))
    scores = Input("x", (n,), IntType(int(rng.integers(5, 20)), True))
    layer = TopK("top", "x", k)
    return top_k_block(layer, layer.infer(scores.infer()), Stream("x", n, scores.type, 1, "x"))


def _fifo(rng: np.random.Generator) -> Block:
    return fifo_block(_image(rng)[1], int(2 ** rng.uniform(1, 10)))


def _depthwise(rng: np.random.Generator) -> Block:
    """With weights of any kind, a Threshold of any number of levels, or without one."""
    n_channels = int(rng.integers(2, 33))
    act = TYPES[rng.integers(len(TYPES))]
    per_channel = (1, 1, 1, 2)[rng.integers(4)]
    n_positions = (9, 9, 4, 3, 25)[rng.integers(5)]
    levels = ((-1, 1), (-1, 0, 1), (-2, -1, 0, 1, 2), range(-4, 4), range(-8, 8), range(-128, 128))
    chosen = levels[rng.integers(6)]
    weights = rng.choice(chosen, (n_channels * per_channel, n_positions)).astype(np.int64)
    if rng.random() < 0.15:
        weights[:] = 1  # an average
    source = Input("window", (8, 8, n_positions * n_channels), act)
    return _depthwise_of(rng, Depthwise("dw", "window", weights), source, n_channels, n_positions)


def _depthwise_of(
    rng: np.random.Generator,
    layer: Depthwise,
    source: Input,
    n_channels: int,
    n_positions: int,
) -> Block:
    x = source.infer()
    threshold = None
    if rng.random() < 0.75:
        kind = TYPES[rng.integers(len(TYPES))]
        threshold = _threshold(rng, layer.name, layer.infer(x), kind)
    lanes = _some_divisor(rng, n_channels, 12)
    pe = lanes * len(layer.weights) // n_channels
    stream = Stream("window", x.n_channels, x.type, lanes, "", x.n_pixels, n_positions)
    return depthwise_block(layer, threshold, x, Folding(pe, 1), stream)


def _threshold_alone(rng: np.random.Generator) -> Block:
    image, stream = _image(rng)
    wide = IntType(int(rng.integers(4, 17)), signed=True)
    image = Input("x", (*image.shape[:2], min(image.shape[2], 32)), wide)
    stream = _stream(image, _some_divisor(rng, image.shape[2], 8))
    kind = TYPES[rng.integers(len(TYPES))]
    threshold = _threshold(rng, "x", image.infer(), kind)
    return depthwise_block(None, threshold, image.infer(), Folding(stream.lanes, 1), stream)


def _threshold(rng: np.random.Generator, source: str, info, kind: IntType) -> Threshold:
    base = -1 if kind.bipolar else kind.lo + int(kind.signed)
    step = 2 if kind.bipolar else 1
    n_levels = min((kind.hi - base) // step, 15)
    middle, spread = (info.lo + info.hi) / 2, (info.hi - info.lo) * 0.2
    table = middle[:, None] + rng.normal(size=(info.n_channels, n_levels)) * spread[:, None]
    table = np.sort(np.rint(table).astype(np.int64), axis=1)
    return Threshold(f"{source}_act", source, table, base, step, kind)


def _image(
    rng: np.random.Generator, most_bits: int = MOST_BITS, *, whole: bool = False
) -> tuple[Input, Stream]:
    """An image and the stream that it comes in: beats of whole pixels or of shares of one."""
    kind = TYPES[rng.integers(len(TYPES))]
    height, width = (int(n) for n in rng.integers(5, 41, 2))
    most = max(1, most_bits // kind.bits)
    lanes = int(most ** rng.uniform(0, 1))
    beats = 1 if whole else int(rng.choice((1, 1, 2, 3, 4, 6, 8, 16, 20, 32)))
    image = Input("x", (height, width, lanes * beats), kind)
    return image, _stream(image, lanes)


def _stream(image: Input, lanes: int) -> Stream:
    height, width, n_channels = image.shape
    return Stream(image.name, n_channels, image.type, lanes, image.name, height * width)


def _some_divisor(rng: np.random.Generator, n: int, most: int) -> int:
    found = [d for d in divisors(n) if d <= most]
    return found[rng.integers(len(found))]


def _sliding(rng: np.random.Generator, image: Input, most: int = 5) -> Window:
    """A window that fits on the image; mostly square, of stride and dilation 1."""
    kernel = [int(n) for n in rng.integers(1, most + 1, 2)]
    stride, dilation = [int(n) for n in rng.integers(1, 4, 2)], [1, 1]
    if rng.random() < 0.6:
        kernel, stride = [max(2, kernel[0])] * 2, [stride[0]] * 2
    if rng.random() < 0.2:
        dilation = [int(n) for n in rng.integers(1, 3, 2)]
    for i in range(2):
        while (kernel[i] - 1) * dilation[i] >= image.shape[i]:
            kernel[i] -= 1
    if kernel == [1, 1]:
        kernel[1] = 2
    return Window("window", image.name, tuple(kernel), tuple(stride), tuple(dilation))


KINDS: dict[str, Callable[[np.random.Generator], Block]] = {
    "window": _window,
    "window_parallel": _window_parallel,
    "pad": _pad,
    "max_pool": _max_pool,
    "upsample": _upsample,
    "stream_fork": _fork,
    "stream_add": _add,
    "stream_concat": _concat,
    "top_k": _top_k,
    "deep_fifo": _fifo,
    "depthwise": _depthwise,
    "threshold": _threshold_alone,
}
"""What each kind of block is drawn by."""
