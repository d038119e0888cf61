"""A data set, held in memory as bytes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deploy.errors import UserError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples as flat vectors of bytes: images channels last, rows in reading order.

    `train_images` and `test_images` are uint8 of shape (N, n_features), labels int64 of shape
    (N,). `shape` is that of one sample: (H, W, C) of an image, (F,) of a table's row. The network
    takes `images / full_scale`, float32 in [0, 1]: see `to_unit`. `files` are the files they were
    read from, none for an embedded data set.
    """

    name: str
    class_names: tuple[str, ...]
    full_scale: int
    shape: tuple[int, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def n_features(self) -> int:
        return self.train_images.shape[1]

    def to_unit(self, images: np.ndarray) -> np.ndarray:
        """uint8 of any shape to float32 in [0, 1], correctly rounded."""
        return images.astype(np.float32) / np.float32(self.full_scale)

    def held_out(self, n: int) -> tuple[Dataset, Dataset]:
        """Without the last n training samples; and these in the test set's place.

        Raises:
            UserError: fewer than 2 would be left to train on.
        """
        cut = len(self.train_labels) - n
        if cut < 2:
            raise UserError(
                "too few training samples are left beside those for validation",
                where="data.validation_samples",
                found=f"{n} of {len(self.train_labels)}",
            )
        rest = replace(
            self, train_images=self.train_images[:cut], train_labels=self.train_labels[:cut]
        )
        held = replace(
            self, test_images=self.train_images[cut:], test_labels=self.train_labels[cut:]
        )
        return rest, held

    def first(self, n_train: int | None, n_test: int | None) -> Dataset:
        """Only the first samples of each part; all where there is no number."""
        return replace(
            self,
            train_images=self.train_images[:n_train],
            train_labels=self.train_labels[:n_train],
            test_images=self.test_images[:n_test],
            test_labels=self.test_labels[:n_test],
        )


def mixed_order(n_samples: int) -> np.ndarray:
    """An order for samples that lie sorted by class: by i * 2654435761 mod 2^32, for ever the same.

    int64 (n_samples,): which sample comes first, second, ...
    """
    return np.argsort(np.arange(n_samples, dtype=np.uint64) * 2654435761 % 2**32)
