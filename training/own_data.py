"""The user's own data: an .npz, a .csv, or a folder of images per class, as a data set of bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.errors import UserError
from training.config import DataConfig
from training.dataset import Dataset, mixed_order
from training.own_formats import OwnSamples, read_csv, read_image_folder, read_npz


def load_own(config: DataConfig, data_dir: Path | None = None) -> Dataset:
    """The data set at `config.path`, or of the same name in `data_dir` where it has moved.

    What is not parted is put in `mixed_order`, and `config.test_share` of each class, rounded, at
    least one sample, is for testing. Bytes are taken as they are; all other numbers go linearly
    from the training samples' least to 0 and greatest to 255, half to even, each feature of a table
    by itself, all pixels of images alike; what lies beyond in the test set is clipped.

    Raises:
        UserError: it can't be read, holds NaN, or labels that don't count the classes.
    """
    if config.path is None:
        raise ValueError("own data without a path: the config was not validated")
    path = Path(config.path)
    if data_dir is not None:
        path = data_dir / path.name
    samples = _read(path, config)
    _check(samples, str(path))
    if samples.n_train is None:
        train, test = _parted(samples, config.test_share, str(path))
    else:
        train, test = np.split(np.arange(len(samples.labels)), [samples.n_train])
        train = train[mixed_order(len(train))]
    missing = set(range(len(samples.class_names))) - set(samples.labels[train].tolist())
    if missing:
        raise UserError(
            "a class has no training sample",
            where=str(path),
            found=f"none of class {samples.class_names[min(missing)]}",
            expected=f"labels from 0 to {len(samples.class_names) - 1}, each of them in use",
        )
    values = _to_bytes(samples.values, train)
    return Dataset(
        name=path.stem,
        class_names=samples.class_names,
        full_scale=255,
        shape=values.shape[1:],
        train_images=values[train].reshape(len(train), -1),
        train_labels=samples.labels[train],
        test_images=values[test].reshape(len(test), -1),
        test_labels=samples.labels[test],
        files={"own": path},
    )


def _read(path: Path, config: DataConfig) -> OwnSamples:
    if path.is_dir():
        return read_image_folder(path, config.image_size)
    if not path.is_file():
        raise UserError("the data are not there", where=f"data.path: {path}", found="no such file")
    match path.suffix.lower():
        case ".npz":
            return read_npz(path)
        case ".csv":
            return read_csv(path, config.label_column)
    raise UserError(
        "data of an unknown form",
        where=f"data.path: {path}",
        expected="an .npz file, a .csv file, or a folder with a folder of images per class",
    )


def _check(samples: OwnSamples, where: str) -> None:
    """Numbers that are numbers, and labels that count the classes."""
    values, labels, n_classes = samples.values, samples.labels, len(samples.class_names)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = np.argwhere(~np.isfinite(values))
        raise UserError(
            "the data hold NaN or infinity",
            where=where,
            found=f"{len(bad)} times, first in sample {bad[0][0]} at {bad[0][1:].tolist()}",
            fix="complete these values, or leave the samples out",
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if wrong.size:
        raise UserError(
            "labels are out of range",
            where=where,
            found=f"{labels[wrong[0]]} of sample {wrong[0]}, and {wrong.size - 1} more",
            expected=f"0 to {n_classes - 1}",
        )
    if n_classes < 2:
        raise UserError("there is nothing to tell apart", where=where, found=f"{n_classes} class")


def _parted(samples: OwnSamples, share: float, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are for training and for testing, both in mixed order."""
    order = mixed_order(len(samples.labels))
    labels = samples.labels[order]
    is_test = np.zeros(len(order), bool)
    for index, name in enumerate(samples.class_names):
        of_class = np.flatnonzero(labels == index)
        n_test = max(1, round(share * len(of_class)))
        if len(of_class) < n_test + 1:
            raise UserError(
                "a class has too few samples to part them for training and testing",
                where=where,
                found=f"{len(of_class)} of class {name}, data.test_share {share}",
                expected="at least 2 of each class, labelled from 0 on without a gap",
            )
        is_test[of_class[:n_test]] = True
    return order[~is_test], order[is_test]


def _to_bytes(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    values = values.astype(np.float64)
    axes = 0 if values.ndim == 2 else None
    least, greatest = values[train].min(axes), values[train].max(axes)
    span = np.where(greatest > least, greatest - least, 1.0)
    return np.rint(255.0 * np.clip((values - least) / span, 0.0, 1.0)).astype(np.uint8)
