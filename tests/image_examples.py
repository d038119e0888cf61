"""Random examples of the RTL of image layers, and the beats that must leave by the golden model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rtl_bench import Case, Sink, Source, to_ints, to_words

from hw_build.golden_images import image_kernel
from hw_build.image_layers import MaxPool, Pad, Upsample, Window

N_FRAMES = 3
"""Images back to back in every example of images."""


@dataclass(frozen=True, eq=False)
class Example:
    """A case, and the beats that the golden model says leave it, uint32 (beats, words)."""

    case: Case
    expected: np.ndarray


def golden(layer: Window | Pad | Upsample | MaxPool, x: np.ndarray) -> np.ndarray:
    """The layer's output on images (N, H, W, C)."""
    return image_kernel(layer, [], np.dtype(np.int64))(x)


def example(
    name: str, module: str, parameters: dict[str, int], widths: tuple[int, int], *beats: np.ndarray
) -> Example:
    """One stream in, one out, of the given widths; `beats` are what goes in and what comes out."""
    given, expected = (
        beat if beat.dtype == np.uint32 else to_words(beat, width)
        for beat, width in zip(beats, widths, strict=True)
    )
    source, sink = Source("s_axis", widths[0], given), Sink("m_axis", widths[1], len(expected))
    return Example(Case(f"{name} {parameters}", module, parameters, [source], [sink]), expected)


def random_beats(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    """Beats of random bits, uint32 (n, words)."""
    words = rng.integers(0, 1 << 32, (n, -(-width // 32)), np.uint32)
    words[:, -1] &= np.uint32((1 << ((width - 1) % 32 + 1)) - 1)
    return words


def random_size(rng: np.random.Generator, most: int = 11) -> dict[str, int]:
    """An image: rows, columns, beats of a pixel, bits of a beat."""
    return {
        "HEIGHT": int(rng.integers(1, most)),
        "WIDTH": int(rng.integers(1, most)),
        "CHANNEL_BEATS": int(rng.choice([1, 1, 2, 3])),
        "BEAT_BITS": int(rng.choice([1, 3, 8, 32, 40, 70])),
    }


def numbered(size: dict[str, int]) -> np.ndarray:
    """Numbers of the beats of N_FRAMES images, (N, H, W, beats of a pixel)."""
    shape = (N_FRAMES, size["HEIGHT"], size["WIDTH"], size["CHANNEL_BEATS"])
    return np.arange(np.prod(shape)).reshape(shape)


def random_window(seed: int) -> Example:
    rng = np.random.default_rng(seed)
    size = random_size(rng)
    choices = {name: int(rng.integers(2)) for name in ("FRAME_AHEAD", "BLOCK_MEMORY")}
    return window(f"window {seed}", size, *random_kernel(rng, size), seed % 2, **choices)


def random_kernel(
    rng: np.random.Generator, size: dict[str, int]
) -> tuple[list[int], list[int], list[int]]:
    """Kernel, stride and dilation that fit on the image."""
    sides = (size["HEIGHT"], size["WIDTH"])
    kernel = [int(rng.integers(1, min(side, 4) + 1)) for side in sides]
    dilation = [
        int(rng.integers(1, min(3, (side - 1) // (k - 1)) + 1)) if k > 1 else 2
        for side, k in zip(sides, kernel, strict=True)
    ]
    return kernel, rng.integers(1, 4, 2).tolist(), dilation


def sliding(kernel: list[int], stride: list[int], dilation: list[int]) -> dict[str, int]:
    """The parameters of a sliding window."""
    sides = {"KERNEL": kernel, "STRIDE": stride, "DILATION": dilation}
    return {
        f"{name}_{side}": n
        for name, two in sides.items()
        for side, n in zip("HW", two, strict=True)
    }


def window(
    name: str,
    size: dict[str, int],
    kernel: list[int],
    stride: list[int],
    dilation: list[int],
    channel_outer: int,
    **choices: int,
) -> Example:
    layer = Window("window", "x", tuple(kernel), tuple(stride), tuple(dilation))
    slides = sliding(kernel, stride, dilation)
    parameters = {**size, "CHANNEL_OUTER": channel_outer, **slides, **choices}
    numbers = numbered(size)
    order = golden(layer, numbers)
    if channel_outer:
        order = order.reshape(*order.shape[:3], layer.n_positions, -1).swapaxes(-1, -2)
    beats = random_beats(np.random.default_rng(1), numbers.size, size["BEAT_BITS"])
    widths = (size["BEAT_BITS"], size["BEAT_BITS"])
    return example(name, "window", parameters, widths, beats, beats[order.ravel()])


def random_window_parallel(seed: int) -> Example:
    rng = np.random.default_rng(seed)
    size = random_size(rng) | {"CHANNEL_BEATS": 1}
    kernel, stride, dilation = random_kernel(rng, size)
    width, n_positions = size["BEAT_BITS"], kernel[0] * kernel[1]
    numbers = numbered(size)
    layer = Window("window", "x", tuple(kernel), tuple(stride), tuple(dilation))
    order = golden(layer, numbers).reshape(-1, n_positions)
    beats = random_beats(rng, numbers.size, width)
    expected = packed(np.array(to_ints(beats), dtype=object)[order], width)
    parameters = {**size, **sliding(kernel, stride, dilation), "BLOCK_MEMORY": seed % 2}
    del parameters["CHANNEL_BEATS"]
    name, widths = f"window_parallel {seed}", (width, n_positions * width)
    return example(name, "window_parallel", parameters, widths, beats, expected)


def random_upsample(seed: int) -> Example:
    rng = np.random.default_rng(seed)
    size = random_size(rng, most=7)
    down, right = rng.integers(1, 4, 2).tolist()
    numbers = numbered(size)
    order = golden(Upsample("upsample", "x", (down, right)), numbers)
    beats = random_beats(rng, numbers.size, size["BEAT_BITS"])
    parameters = {"FACTOR_H": down, "FACTOR_W": right, "BLOCK_MEMORY": int(rng.integers(2)), **size}
    del parameters["HEIGHT"]  # every row is treated alike
    widths = (size["BEAT_BITS"], size["BEAT_BITS"])
    return example(f"upsample {seed}", "upsample", parameters, widths, beats, beats[order.ravel()])


def packed(lanes: np.ndarray, bits: int) -> np.ndarray:
    """Integers (..., lanes of a beat) as beats: lane 0 lowest, two's complement."""
    shifts = np.arange(lanes.shape[-1]) * bits
    codes = (lanes.astype(object) & ((1 << bits) - 1)) << shifts.astype(object)
    return codes.sum(axis=-1).ravel()


def random_pad(seed: int) -> Example:
    rng = np.random.default_rng(seed)
    size = random_size(rng, most=6)
    bipolar, n_lanes = seed % 3 == 0, int(rng.choice([1, 2, 5]))
    bits = 1 if bipolar else int(rng.integers(1, 9))
    value = 0 if bipolar else int(rng.integers(-(1 << bits - 1), 1 << bits - 1))
    sides = {side: int(rng.integers(3)) for side in ("TOP", "LEFT", "BOTTOM", "RIGHT")}
    shape = (*numbered(size).shape[:3], size["CHANNEL_BEATS"] * n_lanes)
    x = rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)
    if bipolar:
        x = rng.choice([-1, 1], shape)
    y = golden(Pad("pad", "x", *sides.values(), value), x)
    out_bits = 2 if bipolar else bits
    coded = packed(((x + 1) // 2 if bipolar else x).reshape(-1, n_lanes), bits)
    parameters = {name: size[name] for name in ("HEIGHT", "WIDTH", "CHANNEL_BEATS")}
    parameters |= {"LANES": n_lanes, "LANE_BITS": bits, "OUT_LANE_BITS": out_bits, **sides}
    parameters |= {"VALUE": value, "BIPOLAR": int(bipolar)}
    widths = (n_lanes * bits, n_lanes * out_bits)
    expected = packed(y.reshape(-1, n_lanes), out_bits)
    return example(f"pad {seed}", "pad", parameters, widths, coded, expected)


def random_max_pool(seed: int) -> Example:
    rng = np.random.default_rng(seed)
    n_positions, n_lanes = int(rng.integers(1, 7)), int(rng.choice([1, 2, 5]))
    bits, signed = int(rng.integers(1, 9)), seed % 2
    lo = -(1 << bits - 1) if signed else 0
    n_beats = 3
    x = rng.integers(lo, lo + (1 << bits), (20, 1, 1, n_positions * n_beats * n_lanes))
    y = golden(MaxPool("pool", "x", n_positions), x)
    outer = x.reshape(20, n_positions, n_beats, n_lanes).swapaxes(1, 2)
    parameters = {"N_POSITIONS": n_positions, "LANES": n_lanes, "LANE_BITS": bits, "SIGNED": signed}
    width = n_lanes * bits
    beats = (packed(outer, bits), packed(y.reshape(-1, n_lanes), bits))
    return example(f"max_pool {seed}", "max_pool", parameters, (width, width), *beats)


OPERATORS: dict[str, Callable[[int], Example]] = {
    "window": random_window,
    "window_parallel": random_window_parallel,
    "pad": random_pad,
    "upsample": random_upsample,
    "max_pool": random_max_pool,
}
