"""Random changes of training images that leave their class as it is.

uint8 (N, C, H, W) to the same. They draw from torch's global CPU generator, whatever the device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def crop_and_flip(images: Tensor) -> Tensor:
    """Each image moved by up to 4 pixels both ways, 0 moving in, and mirrored half the time."""
    return _moved(images, 4, mirrors=True)


def shift(images: Tensor) -> Tensor:
    """Each image moved by up to 1 pixel both ways, 0 moving in."""
    return _moved(images, 1, mirrors=False)


def _moved(images: Tensor, border: int, *, mirrors: bool) -> Tensor:
    n, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (border,) * 4)
    top, left = torch.randint(0, 2 * border + 1, (2, n, 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    if mirrors:
        columns = torch.where(torch.rand(n, 1) < 0.5, columns.flip(1), columns)
    index = (torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :])
    index = tuple(part.to(images.device) for part in index)
    return padded.permute(0, 2, 3, 1)[index].permute(0, 3, 1, 2)


AUGMENTATIONS = {"crop_flip": crop_and_flip, "shift": shift}
