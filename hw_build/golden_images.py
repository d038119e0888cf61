"""The golden model's layers of images: (N, H, W, C) arrays in, and out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hw_build.graph import (
    Add,
    Concat,
    Depthwise,
    Flatten,
    MaxPool,
    Pad,
    TensorInfo,
    Upsample,
    Window,
)

Kernel = Callable[..., np.ndarray]

ImageLayer = Pad | Window | Depthwise | MaxPool | Add | Concat | Upsample | Flatten


def image_kernel(layer: ImageLayer, sources: list[TensorInfo], number: np.dtype) -> Kernel:
    """The layer as a function of arrays; sums are taken in `number`, in which they are exact."""
    match layer:
        case Pad():
            sides = ((0, 0), (layer.top, layer.bottom), (layer.left, layer.right), (0, 0))
            return lambda x: np.pad(x, sides, constant_values=layer.value)
        case Window():
            return lambda x: _windows(x, layer)
        case Depthwise():
            return _depthwise(layer, layer.n_channels(sources[0]), number)
        case MaxPool():
            return lambda x: _positions(x, layer.n_positions).max(axis=-2)
        case Add():
            a, b = (number.type(m) for m in layer.multipliers)
            return lambda x, y: a * x.astype(number, copy=False) + b * y.astype(number, copy=False)
        case Concat():
            return lambda *x: np.concatenate(x, axis=-1)
        case Upsample():
            down, right = layer.factors
            return lambda x: x.repeat(down, axis=1).repeat(right, axis=2)
        case Flatten():
            return lambda x: x.reshape(len(x), -1)


def _windows(x: np.ndarray, layer: Window) -> np.ndarray:
    """(N, H, W, C) to (N, OH, OW, KH * KW * C)."""
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilation, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))
    down, right = layer.stride
    views = views[:, ::down, ::right, :, :: layer.dilation[0], :: layer.dilation[1]]
    ordered = views.transpose(0, 1, 2, 4, 5, 3)  # (N, OH, OW, KH, KW, C)
    return ordered.reshape(*ordered.shape[:3], -1)


def _positions(x: np.ndarray, n_positions: int) -> np.ndarray:
    """(..., K * C) as (..., K, C)."""
    return x.reshape(*x.shape[:-1], n_positions, -1)


def _depthwise(layer: Depthwise, n_channels: int, number: np.dtype) -> Kernel:
    n_outputs, n_positions = layer.weights.shape
    per_channel = n_outputs // n_channels
    # (K, C, m), position by position so that no array of all products is made
    weights = layer.weights.T.reshape(n_positions, n_channels, per_channel).astype(number)

    def sums(x: np.ndarray) -> np.ndarray:
        positions = _positions(x, n_positions)
        total = np.zeros((*positions.shape[:-2], n_channels, per_channel), number)
        for k in range(n_positions):
            total += positions[..., k, :, None].astype(number, copy=False) * weights[k]
        return total.reshape(*total.shape[:-2], n_outputs)

    return sums
