"""A user's own data set: what is read, and what is said of a file that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.errors import UserError
from training.datasets import load_dataset

RNG = np.random.default_rng(1)
GOOD: dict[str, Any] = {
    "train_images": RNG.integers(0, 256, (6, 3, 5, 2), dtype=np.uint8),
    "train_labels": np.array([0, 1, 2, 0, 1, 2]),
    "test_images": RNG.integers(0, 256, (2, 3, 5, 2), dtype=np.uint8),
    "test_labels": np.array([2, 0], np.uint8),
}


def write(folder: Path, **changes: Any) -> Path:
    """The good arrays with some others in their place; None takes one out. Returns the folder."""
    (folder / "own").mkdir(exist_ok=True)
    arrays = {key: value for key, value in (GOOD | changes).items() if value is not None}
    np.savez(folder / "own" / "own.npz", **arrays)
    return folder


def test_images_keep_their_shape_and_order(tmp_path: Path) -> None:
    data = load_dataset("own", write(tmp_path, class_names=np.array(["a", "b", "c"])))
    assert data.shape == (3, 5, 2)
    assert data.class_names == ("a", "b", "c")
    assert data.full_scale == 255
    assert np.array_equal(data.train_images.reshape(6, 3, 5, 2), GOOD["train_images"])
    assert data.test_labels.tolist() == [2, 0]
    assert data.files["own"].name == "own.npz"


@pytest.mark.parametrize(("shape", "expected"), [((7,), (7,)), ((4, 6), (4, 6, 1))])
def test_rows_and_grey_images(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    arrays = {f"{p}_images": np.ones((n, *shape), np.uint8) for p, n in (("train", 6), ("test", 2))}
    data = load_dataset("own", write(tmp_path, full_scale=16, **arrays))
    assert data.shape == expected
    assert data.full_scale == 16
    assert data.class_names == ("0", "1", "2")
    assert data.train_images.shape == (6, np.prod(shape))


@pytest.mark.parametrize(
    ("changes", "where", "found"),
    [
        ({"test_labels": None}, "test_labels", "only train_images, train_labels, test_images"),
        ({"train_images": np.ones((6, 4))}, "train_images", "float64"),
        ({"train_images": np.zeros((6, 9), np.uint8)}, "test_images", "trained on (9,)"),
        ({"test_labels": np.array([1, 1, 1])}, "test_labels", "for 2 samples"),
        ({"test_labels": np.array([1, -1])}, "test_labels", "label -1"),
        ({"class_names": np.array(["a", "b"])}, "class_names", "2 names, labels up to 2"),
        ({"full_scale": 0}, "full_scale", "0"),
        ({"full_scale": 300}, "full_scale", "300"),
        ({"full_scale": 0.5}, "full_scale", "0.5"),
        ({"train_images": np.array([{}], object)}, "own.npz", "allow_pickle"),
    ],
)
def test_what_is_no_data_set_is_named(
    tmp_path: Path, changes: dict[str, Any], where: str, found: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_dataset("own", write(tmp_path, **changes))
    assert where in caught.value.where
    assert found in caught.value.found


def test_a_missing_file_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match="is not here") as caught:
        load_dataset("own", tmp_path)
    assert "own.npz" in caught.value.where
