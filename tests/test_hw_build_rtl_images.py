"""The RTL of image layers against the golden model: random shapes in one model, all stalled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rtl_bench import Case, Sink, Source

from hw_build.golden_images import image_kernel
from hw_build.image_layers import MaxPool, Pad, Upsample, Window

FAST = 12
"""Cases of an operator in one model."""
NIGHTLY = [(operator, first) for operator in range(4) for first in range(1000, 1200, 25)]
N_FRAMES = 3


@dataclass(frozen=True, eq=False)
class Example:
    """A case, and the beats that the golden model says leave it, uint32 (beats, words)."""

    case: Case
    expected: np.ndarray


def golden(layer: Window | Pad | Upsample | MaxPool, x: np.ndarray) -> np.ndarray:
    """The layer's output on images (N, H, W, C)."""
    return image_kernel(layer, [], np.dtype(np.int64))(x)


def random_beats(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    """Beats of random bits, uint32 (n, words)."""
    words = rng.integers(0, 1 << 32, (n, -(-width // 32)), np.uint32)
    words[:, -1] &= np.uint32((1 << ((width - 1) % 32 + 1)) - 1)
    return words


def moved(name: str, module: str, parameters: dict[str, int], layer: Window | Upsample) -> Example:
    """A module that only chooses and repeats beats: the golden model moves their numbers."""
    rng = np.random.default_rng(abs(hash(name)) % 1000)
    shape = [parameters[side] for side in ("HEIGHT", "WIDTH", "CHANNEL_BEATS")]
    width = parameters["BEAT_BITS"]
    beats = random_beats(rng, N_FRAMES * int(np.prod(shape)), width)
    order = golden(layer, np.arange(len(beats)).reshape(N_FRAMES, *shape))
    if parameters.get("CHANNEL_OUTER"):
        positions = parameters["KERNEL_H"] * parameters["KERNEL_W"]
        order = order.reshape(*order.shape[:3], positions, -1).swapaxes(-1, -2)
    expected = beats[order.ravel()]
    sink = Sink("m_axis", width, len(expected))
    return Example(
        Case(name, module, parameters, [Source("s_axis", width, beats)], [sink]), expected
    )
