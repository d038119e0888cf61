"""UNSW-NB15: network flows, each normal or an attack, from one published partition as CSV."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deploy.errors import UserError
from training.data_files import DataFolder
from training.dataset import Dataset

FILE = "UNSW_NB15_training-set.zip"
_NOT_FEATURES = ("id", "attack_cat", "label")
_CATEGORIES = ("proto", "service", "state")
_TEST_SHARE = 4
"""One row in so many is for testing."""
_LEAST_ROWS = 100
"""A category's value is a feature of its own where so many training rows have it."""


def load_unsw_nb15(data_dir: Path | None, say: Callable[[str], None]) -> Dataset:
    """61,749 + 20,583 rows, classes normal and attack, features as bytes.

    Rows are put in the order of row * 2654435761 mod 2^32, rows counted from 0, the same for ever;
    the first quarter is for testing. A number x becomes round(255 * log(1 + x) / log(1 + max)), max
    over the training rows, greater ones 255; `proto`, `service` and `state` become one feature of 0
    or 255 for each value that at least 100 training rows have.

    Raises:
        UserError: the file is missing or is not that table.
    """
    folder = DataFolder.find("unsw_nb15", data_dir, say, holds=FILE)
    path = folder.unchecked(FILE)
    columns = _read_columns(path)
    try:
        numbers = {
            name: np.array(values, np.float64)
            for name, values in columns.items()
            if name not in (*_CATEGORIES, "attack_cat")
        }
        labels = numbers["label"].astype(np.int64)
        categories = {name: np.array(columns[name]) for name in _CATEGORIES}
    except (ValueError, KeyError) as error:
        raise _not_the_table(path, str(error)) from error
    if set(np.unique(labels)) != {0, 1}:
        raise _not_the_table(path, f"labels {sorted(set(labels.tolist()))}")
    order = np.argsort(np.arange(len(labels), dtype=np.uint64) * 2654435761 % 2**32)
    test, train = np.split(order, [len(order) // _TEST_SHARE])
    features = [
        _to_bytes(values, train) for name, values in numbers.items() if name not in _NOT_FEATURES
    ]
    for values in categories.values():
        counts = Counter(values[train].tolist())
        frequent = sorted(value for value, n in counts.items() if n >= _LEAST_ROWS)
        features += [np.where(values == value, 255, 0).astype(np.uint8) for value in frequent]
    rows = np.stack(features, axis=1)
    return Dataset(
        name="unsw_nb15",
        class_names=("normal", "attack"),
        full_scale=255,
        shape=(rows.shape[1],),
        train_images=rows[train],
        train_labels=labels[train],
        test_images=rows[test],
        test_labels=labels[test],
        files={"table": path},
    )


def _to_bytes(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    logs = np.log1p(np.maximum(values, 0.0))
    greatest = logs[train].max()
    if greatest == 0.0:
        return np.zeros(len(values), np.uint8)
    return np.rint(255.0 * np.minimum(logs / greatest, 1.0)).astype(np.uint8)


def _read_columns(path: Path) -> dict[str, list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode("utf-8-sig")
    except (OSError, IndexError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError("a data file can't be read", where=str(path), found=str(error)) from error
    header, *rows = csv.reader(io.StringIO(text))
    if "label" not in header or any(len(row) != len(header) for row in rows):
        raise _not_the_table(path, f"columns {', '.join(header[:5])}, ...")
    return {
        name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)
    }


def _not_the_table(path: Path, found: str) -> UserError:
    return UserError(
        "a data file is not the table of UNSW-NB15",
        where=str(path),
        found=found,
        expected="rows of numbers, with columns proto, service, state, and label 0 or 1",
    )
