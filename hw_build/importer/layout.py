"""Where the elements of a QONNX tensor lie in a layer's channels-last tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Layout:
    """Which element of a layer's tensor each element of a QONNX tensor is.

    `shape` is the layer's: (C,), or (H, W, C). `places` is an integer array of the QONNX shape
    without the batch; its entries are indices into the layer's tensor in row-major order. Whatever
    QONNX does to rearrange a tensor is done to `places`, and to nothing else.
    """

    places: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def vector(cls, shape: tuple[int, ...]) -> Layout:
        """A tensor whose values in row-major order are a layer's vector."""
        n = int(np.prod(shape))
        return cls(np.arange(n).reshape(shape), (n,))

    @classmethod
    def image(cls, shape: tuple[int, ...]) -> Layout:
        """A channels-first tensor (C, H, W) or (C, L) of an image (H, W, C) or (1, L, C)."""
        n_channels, sides = shape[0], shape[1:]
        places = np.arange(int(np.prod(shape))).reshape(*sides, n_channels)
        height, width = (1, *sides) if len(sides) == 1 else sides
        return cls(np.moveaxis(places, -1, 0), (height, width, n_channels))

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> Layout:
        """The layout after a function that moves elements and changes none."""
        return Layout(move(self.places), self.shape)

    @property
    def n_channels(self) -> int:
        return self.shape[-1]

    @property
    def n_pixels(self) -> int:
        """1 for a vector."""
        return int(np.prod(self.shape[:-1]))

    @cached_property
    def channels(self) -> np.ndarray:
        """The layer's channel of each element, of the QONNX shape."""
        return self.places % self.n_channels

    @property
    def is_image(self) -> bool:
        """Whether the tensor is an image (C, H, W) or (C, L) as QONNX lays it out."""
        if self.places.ndim not in (2, 3) or len(self.shape) != 3:
            return False
        usual = Layout.image(self.places.shape)
        return usual.shape == self.shape and np.array_equal(usual.places, self.places)

    @property
    def channels_first(self) -> bool | None:
        """Whether the tensor's memory holds channel by channel, not pixel by pixel; None: neither.

        A vector, and an image of one pixel or one channel, is not channels first.
        """
        flat, n = self.places.reshape(-1), self.places.size
        if np.array_equal(flat, np.arange(n)):
            return False
        first = np.arange(n).reshape(-1, self.n_channels).T.reshape(-1)
        return True if np.array_equal(flat, first) else None

    def runs_along(self, axis: int) -> bool:
        """Whether an axis of the tensor, counted without the batch, is the layer's channels."""
        if not -self.places.ndim <= axis < self.places.ndim:
            return False
        along = np.moveaxis(self.channels, axis, -1)
        return along.shape[-1] == self.n_channels and bool(
            (along == np.arange(self.n_channels)).all()
        )

    def by_channel(self, values: np.ndarray) -> np.ndarray | None:
        """Values of the QONNX shape as (C,), None where they differ within a channel."""
        found = np.empty(self.n_channels, values.dtype)
        found[self.channels] = values
        return found if (found[self.channels] == values).all() else None
