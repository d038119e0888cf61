"""Data sets: fixed splits, idx files, downloads from a local server, and all that can fail."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from deploy.errors import MachineError, UserError
from training import idx_files
from training.datasets import load_dataset
from training.download import fetch
from training.idx_files import parse_idx

DATA = Path(os.environ.get("NARROWGAUGE_DATA") or Path(__file__).parents[2] / "shared" / "data")
BODY = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(BODY).hexdigest()


def idx_of(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def quiet(_line: str) -> None:
    """Where a test has no interest in what is said."""


# Digits


def test_digits_are_split_alike_in_every_class() -> None:
    digits = load_dataset("digits")
    assert digits.train_images.shape == (1201, 64)
    assert digits.test_images.shape == (596, 64)
    train, test = np.bincount(digits.train_labels), np.bincount(digits.test_labels)
    assert (np.abs(train - 2 * test) <= 2).all()
    again = load_dataset("digits")
    assert np.array_equal(again.test_images, digits.test_images)
    unit = digits.to_unit(digits.test_images)
    assert (unit.dtype, unit.min(), unit.max()) == (np.float32, 0.0, 1.0)


# idx files


def test_idx_round_trip() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(parse_idx(idx_of(array), where="x"), array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"plain", "no gzip"),
        (idx_of(np.zeros(9))[:-9], "no gzip"),
        (gzip.compress(b""), "no idx"),
        (gzip.compress(b"\0\0\x09\x01\0\0\0\1a"), "no idx"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), "wrong length"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc"), "wrong length"),
    ],
)
def test_idx_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}.*some.gz"):
        parse_idx(data, where="some.gz")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_data_sets(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"no real data at {DATA / name}")
    data = load_dataset(name, DATA)
    assert data.train_images.shape == (60000, 784)
    assert data.test_images.shape == (10000, 784)
    assert (np.bincount(data.test_labels) > 800).all()
    assert len(data.class_names) == 10
    assert data.train_images.max() == 255


# A small data set of MNIST's form


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The four files of a small "mnist", whose checksums replace the real ones."""
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.integers(0, 256, (20, 28, 28)),
        "train_labels": rng.integers(0, 10, 20),
        "test_images": rng.integers(0, 256, (10, 28, 28)),
        "test_labels": rng.integers(0, 10, 10),
    }
    packed = {part: idx_of(array) for part, array in arrays.items()}
    source = replace(
        idx_files.IDX_SOURCES["mnist"],
        sha256={part: hashlib.sha256(data).hexdigest() for part, data in packed.items()},
    )
    monkeypatch.setitem(idx_files.IDX_SOURCES, "mnist", source)
    monkeypatch.delenv("NARROWGAUGE_DATA", raising=False)
    names = {
        "train_images": "train-images-idx3-ubyte.gz",
        "train_labels": "train-labels-idx1-ubyte.gz",
        "test_images": "t10k-images-idx3-ubyte.gz",
        "test_labels": "t10k-labels-idx1-ubyte.gz",
    }
    return {names[part]: data for part, data in packed.items()}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_a_local_folder_is_read(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_files(tmp_path / "mnist", files)
    data = load_dataset("mnist", tmp_path)
    assert data.train_images.shape == (20, 784)
    assert data.test_images.shape == (10, 784)
    assert set(data.files) == {"train_images", "train_labels", "test_images", "test_labels"}


def test_the_environment_names_a_local_folder(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "mnist", files)
    monkeypatch.setenv("NARROWGAUGE_DATA", str(tmp_path))
    assert load_dataset("mnist").test_images.shape == (10, 784)


def test_what_is_missing_or_damaged_is_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match=r"(?s)does not hold the data set mnist.*no such folder"):
        load_dataset("mnist", tmp_path)
    write_files(tmp_path / "mnist", files)
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"(?s)corrupted.*t10k-labels.*sha256"):
        load_dataset("mnist", tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"(?s)can't be read.*t10k-labels.*No such file"):
        load_dataset("mnist", tmp_path)


# Downloads


@dataclass
class Server:
    """Serves `bodies` by path; notes each request; cuts the first `n_cuts` answers short."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    n_cuts: int = 0
    knows_ranges: bool = True
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.requests.append((self.path, wanted))
            body = state.bodies.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = 0
            if wanted and state.knows_ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = len(body)
            if state.n_cuts:
                state.n_cuts -= 1
                end = (start + end) // 2
            self.wfile.write(body[start:end])

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_download_is_whole(tmp_path: Path, server: Server) -> None:
    server.bodies["/a"] = BODY
    fetch([server.url + "a"], tmp_path / "deep" / "a", sha256=SHA256, say=quiet)
    assert (tmp_path / "deep" / "a").read_bytes() == BODY
    assert os.listdir(tmp_path / "deep") == ["a"]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_download_is_gone_on_with(
    tmp_path: Path, server: Server, knows_ranges: bool
) -> None:
    server.bodies["/a"] = BODY
    server.knows_ranges, server.n_cuts = knows_ranges, 1
    with pytest.raises(MachineError, match=r"(?s)download of a failed"):
        fetch([server.url + "a"], tmp_path / "a", sha256=SHA256, say=quiet)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.part").stat().st_size == len(BODY) // 2
    fetch([server.url + "a"], tmp_path / "a", sha256=SHA256, say=quiet)
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.requests[-1] == ("/a", f"bytes={len(BODY) // 2}-")


def test_a_part_that_is_whole_already_is_taken(tmp_path: Path, server: Server) -> None:
    server.bodies["/a"] = BODY
    (tmp_path / "a.part").write_bytes(BODY)
    fetch([server.url + "a"], tmp_path / "a", sha256=SHA256, say=quiet)
    assert (tmp_path / "a").read_bytes() == BODY


def test_corruption_is_never_kept(tmp_path: Path, server: Server) -> None:
    server.bodies["/a"] = BODY[:-1] + b"!"
    with pytest.raises(MachineError, match=r"(?s)corrupted, sha256.*expected " + SHA256):
        fetch([server.url + "a"], tmp_path / "a", sha256=SHA256, say=quiet)
    assert os.listdir(tmp_path) == []


def test_the_second_home_is_tried(tmp_path: Path, server: Server) -> None:
    server.bodies["/a"] = BODY
    urls = [server.url + "gone", server.url + "a"]
    fetch(urls, tmp_path / "a", sha256=SHA256, say=quiet)
    assert (tmp_path / "a").read_bytes() == BODY


def test_no_network_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"(?s)failed.*refused.*look at the network"):
        fetch(["http://127.0.0.1:9/a"], tmp_path / "a", sha256=SHA256, say=quiet)


def test_a_folder_that_cannot_be_written_is_no_network_error(
    tmp_path: Path, server: Server
) -> None:
    server.bodies["/a"] = BODY
    (tmp_path / "a.part").mkdir()
    with pytest.raises(MachineError, match=r"(?s)can't be written.*a\.part"):
        fetch([server.url + "a"], tmp_path / "a", sha256=SHA256, say=quiet)


def test_mnist_is_downloaded_once(
    tmp_path: Path, server: Server, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.bodies = {f"/{name}": data for name, data in files.items()}
    source = replace(idx_files.IDX_SOURCES["mnist"], homes=(server.url,))
    monkeypatch.setitem(idx_files.IDX_SOURCES, "mnist", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        assert load_dataset("mnist", say=quiet).train_images.shape == (20, 784)
    assert len(server.requests) == 4
    assert sorted(os.listdir(tmp_path / "narrowgauge" / "data" / "mnist")) == sorted(files)


def test_public_homes_are_encrypted() -> None:
    for source in idx_files.IDX_SOURCES.values():
        assert all(home.startswith("https://") and home.endswith("/") for home in source.homes)
