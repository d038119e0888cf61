"""Data sets, held in memory as bytes: digits (embedded), MNIST and Fashion-MNIST (idx files)."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deploy.errors import UserError
from training.download import fetch


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as flat vectors of bytes, channels last, rows in reading order.

    `train_images` and `test_images` are uint8 of shape (N, n_features), labels int64 of shape
    (N,). The network takes `images / full_scale`, float32 in [0, 1]: see `to_unit`. `files` are
    the files they were read from, none for an embedded data set.
    """

    name: str
    class_names: tuple[str, ...]
    full_scale: int
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def n_features(self) -> int:
        return self.train_images.shape[1]

    def to_unit(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, n_features) to float32 in [0, 1], correctly rounded."""
        return images.astype(np.float32) / np.float32(self.full_scale)


@dataclass(frozen=True)
class _IdxSource:
    """Where an idx data set lives: its public homes, and sha256 of each of its four files."""

    homes: tuple[str, ...]
    class_names: tuple[str, ...]
    sha256: dict[str, str]


_DIGIT_NAMES = tuple(str(digit) for digit in range(10))
_FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}
IDX_SOURCES = {
    "mnist": _IdxSource(
        homes=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        class_names=_DIGIT_NAMES,
        sha256={
            "train_images": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train_labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "test_images": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "test_labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion_mnist": _IdxSource(
        homes=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        class_names=(
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        sha256={
            "train_images": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train_labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "test_images": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "test_labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}


def load_dataset(
    name: str, data_dir: Path | None = None, *, say: Callable[[str], None] = print
) -> Dataset:
    """Loads a data set by its name in a config.

    Files are looked for in `data_dir`/NAME where given, else in $NARROWGAUGE_DATA/NAME where that
    folder exists, else in the user's cache ($XDG_CACHE_HOME or ~/.cache, narrowgauge/data/NAME),
    into which they are downloaded once.

    Raises:
        UserError: a folder or file is missing or corrupted.
        MachineError: a download failed.
    """
    if name == "digits":
        return _load_digits()
    source = IDX_SOURCES[name]
    folder = _local_folder(name, data_dir)
    arrays, paths = {}, {}
    for part, file_name in _FILES.items():
        if folder is not None:
            path = folder / file_name
        else:
            path = _cache_folder() / name / file_name
            if not path.exists():
                urls = [home + file_name for home in source.homes]
                fetch(urls, path, sha256=source.sha256[part], say=say)
        arrays[part] = _read_idx(path, source.sha256[part])
        paths[part] = path.resolve()
    return Dataset(
        name=name,
        class_names=source.class_names,
        full_scale=255,
        train_images=arrays["train_images"].reshape(len(arrays["train_images"]), -1),
        train_labels=arrays["train_labels"].astype(np.int64),
        test_images=arrays["test_images"].reshape(len(arrays["test_images"]), -1),
        test_labels=arrays["test_labels"].astype(np.int64),
        files=paths,
    )


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
        class_names=_DIGIT_NAMES,
        full_scale=16,
        train_images=images[~is_test],
        train_labels=labels[~is_test],
        test_images=images[is_test],
        test_labels=labels[is_test],
    )


def _local_folder(name: str, data_dir: Path | None) -> Path | None:
    """The user's own copy of a data set, if there is one; a `data_dir` given must hold it."""
    if data_dir is not None:
        folder = data_dir / name
        if not folder.is_dir():
            raise UserError(
                f"the data folder does not hold the data set {name}",
                where=str(folder),
                found="no such folder",
                expected=f"a folder with {', '.join(_FILES.values())}",
                fix="correct --data-dir, or leave it off to download the data set",
            )
        return folder
    root = os.environ.get("NARROWGAUGE_DATA")
    return Path(root) / name if root and (Path(root) / name).is_dir() else None


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "narrowgauge" / "data"


def _read_idx(path: Path, sha256: str) -> np.ndarray:
    """A gzipped idx file as uint8, shape as its header says; its bytes must match the checksum."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            "a data file can't be read",
            where=str(path),
            found=error.strerror or str(error),
            fix="complete the folder, or leave off --data-dir to download the data set",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UserError(
            "a data file is corrupted",
            where=str(path),
            found=f"sha256 {found}, {len(data)} bytes",
            expected=f"sha256 {sha256}",
            fix="delete the file and get it again",
        )
    return parse_idx(data, where=str(path))


def parse_idx(data: bytes, *, where: str) -> np.ndarray:
    """Unpacks a gzipped idx file: 0, 0, 8 (bytes), rank, big-endian sizes, the bytes."""
    try:
        raw = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError("a data file is no gzip file", where=where, found=str(error)) from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise UserError(
            "a data file is no idx file of bytes", where=where, found=raw[:4].hex() or "nothing"
        )
    rank = raw[3]
    header_bytes = 4 + 4 * rank
    shape = struct.unpack_from(f">{rank}I", raw, 4) if len(raw) >= header_bytes else (-1,)
    values = np.frombuffer(raw, np.uint8, offset=min(header_bytes, len(raw)))
    if values.size != int(np.prod(shape)):
        raise UserError(
            "a data file has the wrong length",
            where=where,
            found=f"{values.size} bytes after the header",
            expected=f"shape {shape}",
        )
    return values.reshape(shape)
