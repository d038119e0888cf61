"""Random changes of training images that leave their class as it is."""

from __future__ import annotations

import torch
from torch import Tensor

_BORDER = 4


def crop_and_flip(images: Tensor) -> Tensor:
    """Each image moved by up to 4 pixels both ways, 0 moving in, and mirrored half the time.

    uint8 (N, C, H, W) to the same. Draws from torch's global CPU generator, whatever the device.
    """
    n, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (_BORDER,) * 4)
    top, left = torch.randint(0, 2 * _BORDER + 1, (2, n, 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    is_mirrored = torch.rand(n, 1) < 0.5
    columns = torch.where(is_mirrored, columns.flip(1), columns)
    index = (torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :])
    index = tuple(part.to(images.device) for part in index)
    return padded.permute(0, 2, 3, 1)[index].permute(0, 3, 1, 2)
