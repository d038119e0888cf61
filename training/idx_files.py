"""MNIST and Fashion-MNIST: four gzipped idx files each."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.errors import UserError
from training.data_files import DataFolder
from training.dataset import Dataset


@dataclass(frozen=True)
class _IdxSource:
    """Where an idx data set lives: its public homes, and sha256 of each of its four files."""

    homes: tuple[str, ...]
    class_names: tuple[str, ...]
    sha256: dict[str, str]


_DIGIT_NAMES = tuple("0123456789")
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


def load_idx(name: str, data_dir: Path | None, say: Callable[[str], None]) -> Dataset:
    """A data set of `IDX_SOURCES`."""
    source = IDX_SOURCES[name]
    folder = DataFolder.find(name, data_dir, say, holds=", ".join(_FILES.values()))
    arrays, paths = {}, {}
    for part, file_name in _FILES.items():
        paths[part], data = folder.checked(file_name, source.homes, source.sha256[part])
        arrays[part] = parse_idx(data, where=str(paths[part]))
    return Dataset(
        name=name,
        class_names=source.class_names,
        full_scale=255,
        shape=(*arrays["test_images"].shape[1:], 1),
        train_images=arrays["train_images"].reshape(len(arrays["train_images"]), -1),
        train_labels=arrays["train_labels"].astype(np.int64),
        test_images=arrays["test_images"].reshape(len(arrays["test_images"]), -1),
        test_labels=arrays["test_labels"].astype(np.int64),
        files=paths,
    )


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
