"""A user's own data set: one .npz file of samples as bytes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from deploy.errors import UserError
from training.data_files import DataFolder
from training.dataset import Dataset

FILE = "own.npz"
PARTS = ("train", "test")
EXPECTED = (
    "train_images, test_images: uint8 (N, H, W, C), (N, H, W) or (N, F); train_labels, "
    "test_labels: integers (N,) from 0; if wanted class_names (K,) and full_scale (255)"
)


def load_own(data_dir: Path | None, say: Callable[[str], None]) -> Dataset:
    """`D/own/own.npz`, an archive of arrays without pickled objects.

    `train_images` and `test_images` are uint8: (N, H, W, C) or (N, H, W) of images, (N, F) of rows
    of a table. `train_labels` and `test_labels` are integers (N,) from 0. `class_names` (K,) are
    "0", "1", ... if not there; `full_scale`, the byte that stands for 1.0, is 255.

    Raises:
        UserError: the file is missing, or what it holds is no data set; the array is named.
    """
    folder = DataFolder.find("own", data_dir, say, holds=FILE)
    path = folder.unchecked(FILE)
    arrays = _read(path)
    images = {part: _images(arrays, part, path) for part in PARTS}
    shapes = {part: array.shape[1:] for part, array in images.items()}
    if shapes["train"] != shapes["test"]:
        raise _wrong(path, "test_images", f"samples {shapes['test']}, trained on {shapes['train']}")
    labels = {part: _labels(arrays, part, len(images[part]), path) for part in PARTS}
    n_classes = 1 + max(int(array.max()) for array in labels.values())
    names = arrays.get("class_names", np.arange(n_classes)).astype(str)
    if names.ndim != 1 or len(names) < max(n_classes, 2):
        raise _wrong(path, "class_names", f"{names.size} names, labels up to {n_classes - 1}")
    scale = arrays.get("full_scale", np.array(255))
    if scale.shape != () or scale.dtype.kind not in "iu" or not 1 <= scale <= 255:
        raise _wrong(path, "full_scale", str(scale))
    return Dataset(
        name="own",
        class_names=tuple(names.tolist()),
        full_scale=int(scale),
        shape=shapes["train"],
        train_images=images["train"].reshape(len(images["train"]), -1),
        train_labels=labels["train"],
        test_images=images["test"].reshape(len(images["test"]), -1),
        test_labels=labels["test"],
        files={"own": path},
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile, zlib.error) as error:
        raise UserError("a data file can't be read", where=str(path), found=str(error)) from error


def _images(arrays: Mapping[str, np.ndarray], part: str, path: Path) -> np.ndarray:
    """(N, H, W, C) or (N, F)."""
    key = f"{part}_images"
    if key not in arrays:
        raise _wrong(path, key, f"only {', '.join(arrays) or 'nothing'}")
    array = arrays[key]
    if array.dtype != np.uint8 or not 2 <= array.ndim <= 4 or not array.size:
        raise _wrong(path, key, f"{array.dtype} {array.shape}")
    return array[..., None] if array.ndim == 3 else array


def _labels(arrays: Mapping[str, np.ndarray], part: str, n: int, path: Path) -> np.ndarray:
    key = f"{part}_labels"
    if key not in arrays:
        raise _wrong(path, key, f"only {', '.join(arrays)}")
    array = arrays[key]
    if array.dtype.kind not in "iu" or array.shape != (n,):
        raise _wrong(path, key, f"{array.dtype} {array.shape} for {n} samples")
    if array.min() < 0:
        raise _wrong(path, key, f"label {array.min()}")
    return array.astype(np.int64)


def _wrong(path: Path, key: str, found: str) -> UserError:
    return UserError(
        "a data file holds no data set", where=f"{path}: {key}", found=found, expected=EXPECTED
    )
