"""Augmented images: every one is a shifted, perhaps mirrored copy; all shifts occur; seeded."""

from __future__ import annotations

import numpy as np
import torch

from training.augmentation import crop_and_flip, shift
from training.dataset import Dataset
from training.loop import train_samples
from training.network_config import FullyConnectedConfig
from training.networks import build_network


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


def test_a_shift_is_of_one_pixel_at_most_and_mirrors_nothing() -> None:
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(1, 256, (1, 4, 5)).astype(np.uint8)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    copies = {
        padded[:, top : top + 4, left : left + 5].tobytes() for top in range(3) for left in range(3)
    }
    found = {one.numpy().tobytes() for one in shift(torch.tensor(image).repeat(300, 1, 1, 1))}
    assert found == copies


def test_images_that_a_network_takes_flat_are_moved_as_images() -> None:
    """Each pixel of two channels stays whole."""
    pixels = np.random.default_rng(1).integers(1, 200, (2, 5, 4, 1)).astype(np.uint8)
    images = np.concatenate([pixels, pixels + 50], axis=-1)
    labels = np.array([0, 1])
    flat = images.reshape(2, -1)
    dataset = Dataset("own", ("a", "b"), 255, (5, 4, 2), flat, labels, flat, labels)
    kinds = {f"{name}_quantiser": "float" for name in ("input", "weight", "activation")}
    network = build_network(FullyConnectedConfig(hidden=(4,), **kinds), dataset.shape, 2)
    samples = train_samples(dataset, network, augmentation="shift")
    torch.manual_seed(2)
    for _ in range(20):
        changed = samples.training_inputs(torch.tensor([0, 1]))[0] * 255
        for image, moved in zip(images, changed.round().numpy().reshape(2, 5, 4, 2), strict=True):
            inside = moved[..., 0] > 0
            assert np.array_equal(inside, moved[..., 1] > 0)
            assert inside.sum() >= 12
            assert (moved[inside, 1] - moved[inside, 0] == 50).all()
            assert set(moved[inside, 0]) <= set(image[..., 0].ravel())
