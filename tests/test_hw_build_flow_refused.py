"""Sources, inputs and vectors that the flow's command refuses, each in one message."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from flow_runs import run_command, store_of, whole_stages, write_network
from qonnx_refused import REFUSED
from qonnx_zoo import ZOO


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWGAUGE_STORE", store_of(tmp_path_factory))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_network(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    return partial(run_command, capsys)


def test_sources_that_are_no_network(model: Path, tmp_path: Path, run) -> None:
    whole = model.read_bytes()
    cases: dict[str, tuple[bytes | None, str]] = {
        "missing.onnx": (None, "no such run directory or QONNX file"),
        "text.onnx": (b"a letter, no network", "not an ONNX model"),
        "empty.onnx": (b"", "not an ONNX model"),
        "cut.onnx": (whole[: len(whole) // 2], "not an ONNX model"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        code, text = run(tmp_path / name, "--out", tmp_path / "run")
        assert code == 2
        assert message in text
        assert name in text
        assert not (tmp_path / "run").exists()
    code, text = run(tmp_path)
    assert code == 2
    assert "no exported network" in text
    assert f"python -m training.export {tmp_path}" in text


def test_a_bitstream_that_may_not_be_built_is_refused(model: Path, tmp_path: Path, run) -> None:
    command = ("--until", "bitstream", "--vivado", "none", "--out", tmp_path / "run")
    code, text = run(model, *command)
    assert code == 2
    assert "--until bitstream and --vivado none" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_are_refused(name: str, tmp_path: Path, run) -> None:
    refused = REFUSED[name]()
    path, out = tmp_path / "network.onnx", tmp_path / "run"
    onnx.save(refused.model, path)
    code, text = run(path, "--out", out)
    assert code == 2
    for word in refused.words:
        assert word in text
    assert whole_stages(out) == (["03_graph"] if name == "dead" else [])


def _array(kind: str, path: Path) -> str:
    """Writes what is no batch of inputs (N, 1, 1, 16); a word of the message about it."""
    good = np.zeros((5, 1, 1, 16), np.float32)
    match kind:
        case "missing":
            return "no such file"
        case "text":
            path.write_text("0.5 0.5\n")
            return "can't be read"
        case "cut":
            np.save(path, good)
            path.write_bytes(path.read_bytes()[:-50])
            return "can't be read"
        case "archive":
            with open(path, "wb") as file:
                np.savez(file, good)
            return "can't be read"
        case "pickled":
            np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
            return "Python objects"
        case "empty":
            np.save(path, good[:0])
            return "shape (0, 1, 1, 16)"
        case "one number":
            np.save(path, np.float32(1))
            return "shape ()"
        case "other shape":
            np.save(path, np.zeros((5, 17)))
            return "(5, 17)"
        case "words":
            np.save(path, np.full(good.shape, "zero"))
            return "not numbers"
        case "complex":
            np.save(path, good.astype(np.complex64))
            return "not numbers"
        case "nan":
            good[4, 0, 0, 3] = np.nan
            np.save(path, good)
            return "frame 4, value 3"
        case "infinite":
            good[2, 0, 0, 1] = -np.inf
            np.save(path, good)
            return "frame 2, value 1"
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("missing", "text", "cut", "archive", "pickled", "empty", "one number"),
        *("other shape", "words", "complex", "nan", "infinite"),
    ],
)
def test_inputs_that_are_no_batch(kind: str, model: Path, tmp_path: Path, run) -> None:
    path, out = tmp_path / "X.npy", tmp_path / "run"
    word = _array(kind, path)
    code, text = run(model, "--inputs", path, "--out", out)
    assert code == 2
    assert word in text
    assert "X.npy" in text
    assert "04_golden" not in whole_stages(out)
    assert not list(out.glob(".*.partial")) if out.exists() else True


def _exported(folder: Path, inputs: np.ndarray, **changed: object) -> Path:
    """A run directory as training.export leaves it."""
    folder.mkdir()
    onnx.save(ZOO["brevitas_w2a2"]().model, folder / "model.onnx")
    keys = {
        "labels": np.zeros(len(inputs), np.int64),
        "class_names": np.array(list("abcde")),
        "n_float32_class_differs": 0,
    }
    np.savez(folder / "vectors.npz", **{"inputs": inputs, **keys, **changed})
    return folder


def test_vectors_of_another_network(tmp_path: Path, run) -> None:
    good = ZOO["brevitas_w2a2"]().inputs(40)
    source = _exported(tmp_path / "good", good)
    assert run(source, "--until", "golden")[0] == 0
    cases = {
        "shape": ((good[:, :, :, :15],), {}, "belong to another network"),
        "labels": ((good,), {"labels": np.zeros(39)}, "belong to another network"),
    }
    for name, (arrays, changed, word) in cases.items():
        code, text = run(_exported(tmp_path / name, *arrays, **changed), "--until", "golden")
        assert code == 2
        assert word in text
        assert "training.export" in text
        assert whole_stages(tmp_path / name) == ["03_graph"]
    np.savez(source / "vectors.npz", outputs=good)
    assert "not a file of test vectors" in run(source)[1]
    for damage in (lambda data: data[:-30], lambda data: data[:200] + b"x" * 50 + data[250:]):
        shutil.rmtree(source)
        _exported(source, good)
        vectors = source / "vectors.npz"
        vectors.write_bytes(damage(vectors.read_bytes()))
        code, text = run(source)
        assert code == 2
        assert "vectors.npz" in text


def test_scores_of_another_network_fail_the_gate(tmp_path: Path, run) -> None:
    good = ZOO["brevitas_w2a2"]().inputs(40)
    wrong = np.zeros((40, 5), np.int64)
    source = _exported(tmp_path / "run", good, outputs_integer=wrong)
    code, text = run(source)
    assert code == 4
    assert "executors disagree" in text
    assert "PyTorch = golden model" in text
    assert whole_stages(source) == ["03_graph"]
