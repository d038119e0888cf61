"""CIFAR-10: the published binary archive, and a copy of it whose images were stored as JPEG."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image, UnidentifiedImageError

from deploy.errors import UserError
from training.data_files import DataFolder
from training.dataset import Dataset

_SIDE, _CHANNELS = 32, 3
_SHAPE = (_SIDE, _SIDE, _CHANNELS)
_CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
ARCHIVE = "cifar-10-binary.tar.gz"
HOMES = ("https://www.cs.toronto.edu/~kriz/",)
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST_FILES = ("test_batch.bin",)


def load_cifar10(data_dir: Path | None, say: Callable[[str], None]) -> Dataset:
    """CIFAR-10 as published: 50,000 + 10,000 images of 32 x 32 x 3."""
    folder = DataFolder.find("cifar10", data_dir, say, holds=ARCHIVE)
    path, data = folder.checked(ARCHIVE, HOMES, SHA256)
    members = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                members[Path(member.name).name] = file.read()
    train_images, train_labels = _records(members, _TRAIN_FILES)
    test_images, test_labels = _records(members, _TEST_FILES)
    return Dataset(
        name="cifar10",
        class_names=_CLASS_NAMES,
        full_scale=255,
        shape=_SHAPE,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        files={"archive": path},
    )


def _records(members: dict[str, bytes], names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label and a planar image, red first, as flat images with channels last."""
    n_bytes = 1 + _SIDE * _SIDE * _CHANNELS
    records = np.frombuffer(b"".join(members[name] for name in names), np.uint8)
    records = records.reshape(-1, n_bytes)
    images = records[:, 1:].reshape(-1, _CHANNELS, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return images.reshape(len(records), -1), records[:, 0].astype(np.int64)


def load_cifar10_jpeg(
    data_dir: Path | None,
    say: Callable[[str], None],
    n_train: int | None = None,
    n_test: int | None = None,
) -> Dataset:
    """The copy in JPEG, which is lossy: what is measured on it is not CIFAR-10's.

    Two files, `cifar10_jpeg_train.npz` and `cifar10_jpeg_test.npz`: image i is the JPEG file
    jpeg[offsets[i]:offsets[i + 1]], its class labels[i]. Only the first `n_train` and `n_test` are
    unpacked.
    """
    files = {part: f"cifar10_jpeg_{part}.npz" for part in ("train", "test")}
    folder = DataFolder.find("cifar10_jpeg", data_dir, say, holds=", ".join(files.values()))
    paths = {part: folder.unchecked(name) for part, name in files.items()}
    train_images, train_labels = _unpack(paths["train"], n_train)
    test_images, test_labels = _unpack(paths["test"], n_test)
    return Dataset(
        name="cifar10_jpeg",
        class_names=_CLASS_NAMES,
        full_scale=255,
        shape=_SHAPE,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        files=paths,
    )


def _unpack(path: Path, n_wanted: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Flat images (N, 3072) with channels last, and labels (N,), of one file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            data, offsets, labels = (file[key] for key in ("jpeg", "offsets", "labels"))
    except (OSError, KeyError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(
            "a data file can't be read",
            where=str(path),
            found=str(error),
            expected="an .npz file with jpeg, offsets and labels",
        ) from error
    labels = labels[:n_wanted].astype(np.int64)
    if len(offsets) <= len(labels) or not np.isin(labels, range(len(_CLASS_NAMES))).all():
        raise UserError(
            "a data file is corrupted",
            where=str(path),
            found=f"{len(offsets)} offsets, labels {labels.min()} to {labels.max()}",
            expected=f"an offset more than labels, labels 0 to {len(_CLASS_NAMES) - 1}",
        )
    images = np.empty((len(labels), *_SHAPE), np.uint8)
    for i in range(len(labels)):
        images[i] = _decode(data[offsets[i] : offsets[i + 1]].tobytes(), where=f"{path}, image {i}")
    return images.reshape(len(labels), -1), labels


def _decode(jpeg: bytes, where: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError) as error:
        raise UserError("an image is corrupted", where=where, found=str(error)) from error
    if pixels.shape != _SHAPE:
        raise UserError(
            "an image has the wrong shape",
            where=where,
            found=str(pixels.shape),
            expected=str(_SHAPE),
        )
    return pixels
