"""From a config, or a name, to its data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.cifar10 import load_cifar10, load_cifar10_jpeg
from training.config import DataConfig
from training.dataset import Dataset
from training.idx_files import load_idx
from training.own_data import load_own
from training.unsw_nb15 import load_unsw_nb15


def load_data(config: DataConfig, data_dir: Path | None = None) -> Dataset:
    """The data set of a config, cut down as it says; see `load_dataset`."""
    n_train, n_test = config.train_samples, config.test_samples
    return load_dataset(config.name, data_dir, n_train=n_train, n_test=n_test)


def load_dataset(
    name: str,
    data_dir: Path | None = None,
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    say: Callable[[str], None] = print,
) -> Dataset:
    """Loads a data set by its name in a config, only the first samples where numbers are given.

    Files are looked for in `data_dir`/NAME where given, else in $NARROWGAUGE_DATA/NAME where that
    folder exists, else in the user's cache ($XDG_CACHE_HOME or ~/.cache, narrowgauge/data/NAME),
    into which they are downloaded once.

    Raises:
        UserError: a folder or file is missing or corrupted.
        MachineError: a download failed.
    """
    match name:
        case "digits":
            dataset = _load_digits()
        case "cifar10":
            dataset = load_cifar10(data_dir, say)
        case "cifar10_jpeg":
            dataset = load_cifar10_jpeg(data_dir, say, n_train, n_test)
        case "unsw_nb15":
            dataset = load_unsw_nb15(data_dir, say)
        case "own":
            dataset = load_own(data_dir, say)
        case _:
            dataset = load_idx(name, data_dir, say)
    return dataset.first(n_train, n_test)


def _load_digits() -> Dataset:
    """scikit-learn's 1,797 digits, 8x8, 17 grey levels: every third of each class is for testing.

    1,201 train, 596 test, the same for ever: no random numbers are drawn.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    is_test = np.zeros(len(labels), bool)
    for digit in range(10):
        is_test[np.flatnonzero(labels == digit)[2::3]] = True
    images, labels = images.astype(np.uint8), labels.astype(np.int64)
    return Dataset(
        name="digits",
        class_names=tuple("0123456789"),
        full_scale=16,
        shape=(8, 8, 1),
        train_images=images[~is_test],
        train_labels=labels[~is_test],
        test_images=images[is_test],
        test_labels=labels[is_test],
    )
