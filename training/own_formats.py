"""Readers of the user's own data, each from one form to samples that are yet to be checked."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image, UnidentifiedImageError

from deploy.errors import UserError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


@dataclass(frozen=True, eq=False)
class OwnSamples:
    """Samples as they were read.

    `values` are numbers, (N, F) of a table, (N, H, W, C) of images; `labels` int64 (N,). The first
    `n_train` are for training, the others for testing; None where they are not parted.
    """

    values: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    n_train: int | None


def read_npz(path: Path) -> OwnSamples:
    """Arrays `images` and `labels`, or both with `train_` and with `test_` before their names.

    Images are (N, F), (N, H, W) or (N, H, W, C); labels integers from 0; `class_names`, strings,
    may be there too.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise _corrupted(path, str(error)) from error
    n_train = None
    if "train_images" in arrays:
        parts = _keys(path, arrays, "train_images", "test_images", "train_labels", "test_labels")
        n_train = len(parts[0])
        if parts[0].shape[1:] != parts[1].shape[1:]:
            raise _corrupted(path, f"samples of {parts[0].shape[1:]} and {parts[1].shape[1:]}")
        images, labels = np.concatenate(parts[:2]), np.concatenate(parts[2:])
        if len(parts[0]) != len(parts[2]):
            raise _corrupted(path, f"{len(parts[0])} train_images, {len(parts[2])} train_labels")
    else:
        images, labels = _keys(path, arrays, "images", "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or images.dtype.kind not in "iufb":
        raise _corrupted(
            path, f"images of {images.dtype}, labels of {labels.dtype} and shape {labels.shape}"
        )
    if len(images) != len(labels) or images.ndim not in (2, 3, 4) or not images.size:
        raise _corrupted(path, f"images of shape {images.shape}, {len(labels)} labels")
    images = images[..., None] if images.ndim == 3 else images
    n_classes = max(int(labels.max()) + 1, 0)
    names = tuple(map(str, arrays.get("class_names", range(n_classes))))
    return OwnSamples(images, labels.astype(np.int64), names, n_train)


def _keys(path: Path, arrays: dict[str, np.ndarray], *names: str) -> list[np.ndarray]:
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UserError(
            "an array is missing",
            where=f"{path}: {missing[0]}",
            found=", ".join(arrays) or "no arrays",
            expected="images and labels, or train_images, train_labels, test_images, test_labels",
        )
    return [arrays[name] for name in names]


def read_csv(path: Path, label_column: str) -> OwnSamples:
    """A header, then rows of numbers and one column of labels, which may be any text.

    Classes are the labels in the order of their text, or of their numbers where all are integers.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _corrupted(path, str(error)) from error
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    lines = [(reader.line_num, row) for row in reader if row]
    rows = [row for _, row in lines]
    if label_column not in header:
        raise UserError(
            "the column of labels is missing",
            where=f"{path}: {label_column}",
            found="columns " + ", ".join(header[:10]),
            fix="set data.label_column",
        )
    at = header.index(label_column)
    values = np.empty((len(rows), len(header) - 1))
    for i, (line, row) in enumerate(lines):
        try:
            values[i] = row[:at] + row[at + 1 :]
        except ValueError as error:
            raise UserError(
                "a row holds no numbers, or too few or too many",
                where=f"{path}, line {line}",
                found=",".join(row)[:80],
                expected=f"{len(header) - 1} numbers and a label",
            ) from error
        if len(row) != len(header) or not row[at].strip():
            raise UserError("a row has no label, or too many columns", where=f"{path}, line {line}")
    labels = [row[at].strip() for row in rows]
    if not rows or len(header) < 2:
        raise _corrupted(path, f"{len(rows)} rows, {len(header)} columns")
    integers = all(label.lstrip("-").isdigit() for label in labels)
    names = sorted(set(labels), key=int if integers else None)
    indices = {name: index for index, name in enumerate(names)}
    numbers = np.array([indices[label] for label in labels], np.int64)
    return OwnSamples(values, numbers, tuple(names), None)


def read_image_folder(path: Path, size: tuple[int, int] | None) -> OwnSamples:
    """CLASS/*.png and the like, or train/CLASS/* and test/CLASS/*; classes in the order of names.

    Images are grey where all are, else red, green, blue; scaled to `size` (height, width) if given.
    """
    roots = [path / "train", path / "test"] if (path / "train").is_dir() else [path]
    names = tuple(sorted(folder.name for folder in roots[0].iterdir() if folder.is_dir()))
    files: list[Path] = []
    labels: list[int] = []
    n_train = None
    for root in roots:
        strange = [] if root is roots[0] or not root.is_dir() else set(_folders(root)) - set(names)
        if strange:
            raise UserError(
                "a class has no training sample", where=str(path), found=f"test/{min(strange)}"
            )
        for index, name in enumerate(names):
            found = sorted(f for f in (root / name).glob("*") if f.suffix.lower() in _SUFFIXES)
            files += found
            labels += [index] * len(found)
        if root is roots[0] and len(roots) > 1:
            n_train = len(files)
    if not files or n_train == len(files):
        raise UserError(
            "the folder holds no images" if not files else "the folder holds no images to test on",
            where=str(path),
            expected="CLASS/IMAGE, or train/CLASS/IMAGE and test/CLASS/IMAGE, as "
            + ", ".join(_SUFFIXES),
        )
    return OwnSamples(_images(files, size), np.array(labels, np.int64), names, n_train)


def _folders(path: Path) -> list[str]:
    return [folder.name for folder in path.iterdir() if folder.is_dir()]


def _images(files: Sequence[Path], size: tuple[int, int] | None) -> np.ndarray:
    """uint8 (N, H, W, 1) where all are grey, else (N, H, W, 3)."""
    images = []
    for file in files:
        try:
            with Image.open(file) as image:
                image = image.convert("L" if image.mode in ("1", "L") else "RGB")
                if size is not None:
                    image = image.resize(size[::-1], Image.Resampling.BILINEAR)
                images.append(image.copy())
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise UserError("an image is corrupted", where=str(file), found=str(error)) from error
        if images[-1].size != images[0].size:
            raise UserError(
                "images are of different sizes",
                where=str(file),
                found=f"{images[-1].height} x {images[-1].width}",
                expected=f"{images[0].height} x {images[0].width}, as {files[0].name} has",
                fix="set data.image_size = [HEIGHT, WIDTH]",
            )
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    pixels = np.stack([np.asarray(image.convert(mode)) for image in images])
    return pixels.reshape(*pixels.shape[:3], -1)


def _corrupted(path: Path, found: str) -> UserError:
    return UserError(
        "a data file is corrupted, or not of this form",
        where=str(path),
        found=found,
        expected="see Data in docs/training.md",
    )
