"""Augmented images: every one is a shifted, perhaps mirrored copy; all shifts occur; seeded."""

from __future__ import annotations

import numpy as np
import torch

from training.augmentation import crop_and_flip


def test_every_image_is_a_moved_copy_of_its_own() -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(1, 256, (3, 6, 5)).astype(np.uint8)
    padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
    copies = {}
    for top in range(9):
        for left in range(9):
            moved = padded[:, top : top + 6, left : left + 5]
            copies[moved.tobytes()] = (top, left, False)
            copies[moved[:, :, ::-1].tobytes()] = (top, left, True)
    changed = crop_and_flip(torch.tensor(image).repeat(3000, 1, 1, 1))
    assert (changed.dtype, changed.shape) == (torch.uint8, (3000, 3, 6, 5))
    found = [copies[one.numpy().tobytes()] for one in changed]
    assert len(set(found)) > 0.98 * len(copies)
    assert abs(np.mean([mirrored for *_, mirrored in found]) - 0.5) < 0.05


def test_images_do_not_mix_and_the_seed_decides() -> None:
    images = torch.arange(1, 9, dtype=torch.uint8).reshape(8, 1, 1, 1).repeat(1, 2, 5, 5)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(crop_and_flip(images))
    assert torch.equal(*results)
    for i, image in enumerate(results[0]):
        assert set(image.unique().tolist()) - {0} == {i + 1}
