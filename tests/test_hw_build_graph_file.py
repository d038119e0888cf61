"""A compiled network in a folder: the same network comes back, and damage is named."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_zoo import ZOO

from deploy.errors import UserError
from hw_build.golden import execute
from hw_build.graph import MatVec, Threshold
from hw_build.graph_file import GRAPH_FILE, WEIGHTS_FILE, Imported, load, save
from hw_build.importer import import_qonnx

NAMES = [
    "brevitas_negative_gamma_w2a3",
    "old_brevitas_w1a1",
    "per_channel_gemm",
    "qkeras_6bit",
    "uint8_pixels",
    "bipolar_input",
    "ends_in_argmax",
    "ends_in_quant",
    "zero_point",
]


def network(name: str, folder: Path) -> Imported:
    onnx.save(ZOO[name]().model, folder / "model.onnx")
    return import_qonnx(folder / "model.onnx")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_network_comes_back(name: str, tmp_path: Path) -> None:
    before = network(name, tmp_path)
    save(before, tmp_path / "graph")
    after = load(tmp_path / "graph")
    for old, new in zip(before.graph, after.graph, strict=True):
        assert (type(old), old.name, old.sources) == (type(new), new.name, new.sources)
        if isinstance(old, MatVec):
            assert new.weights.dtype == np.int64
            assert (old.weights == new.weights).all()
        if isinstance(old, Threshold):
            assert (old.thresholds == new.thresholds).all()
            assert (old.base, old.step, old.type) == (new.base, new.step, new.type)
    assert list(before.graph.meanings) == list(after.graph.meanings)
    for key, meaning in before.graph.meanings.items():
        again = after.graph.meanings[key]
        assert meaning.tensor == again.tensor
        for old, new in ((meaning.scale, again.scale), (meaning.offset, again.offset)):
            assert np.shape(old) == np.shape(new)
            assert (old == new).all()
    assert before.input_shape == after.input_shape
    assert (before.host_tail, before.notes) == (after.host_tail, after.notes)
    x = before.quantiser.random_inputs(100)
    assert (before.quantiser(x) == after.quantiser(x)).all()
    old, new = (execute(n.graph, n.quantiser(x)) for n in (before, after))
    assert all((old[layer] == new[layer]).all() for layer in old)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    before = network("per_channel_gemm", tmp_path)
    for folder in ("a", "b"):
        save(before, tmp_path / folder)
    save(load(tmp_path / "a"), tmp_path / "c")
    for file in (GRAPH_FILE, WEIGHTS_FILE):
        first = (tmp_path / "a" / file).read_bytes()
        assert first == (tmp_path / "b" / file).read_bytes() == (tmp_path / "c" / file).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(network("brevitas_w2a2", tmp_path), tmp_path / "graph")
    return tmp_path / "graph"


def test_the_text_is_readable(folder: Path) -> None:
    document = json.loads((folder / GRAPH_FILE).read_text())
    layer = next(layer for layer in document["layers"] if layer["name"] == "fc0")
    assert layer["kind"] == "MatVec"
    assert layer["weights"] == {"array": "fc0.weights", "shape": [12, 16]}


@pytest.mark.parametrize("file", [GRAPH_FILE, WEIGHTS_FILE])
def test_missing_files(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(UserError, match=rf"(no compiled|missing)[\s\S]*{file}"):
        load(folder)


@pytest.mark.parametrize("file", [GRAPH_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_truncated_files(folder: Path, file: str, keep: float) -> None:
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(UserError, match=rf"don't fit together[\s\S]*{file}"):
        load(folder)


def test_another_schema(folder: Path) -> None:
    document = json.loads((folder / GRAPH_FILE).read_text())
    document["schema"] = 99
    (folder / GRAPH_FILE).write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"another version[\s\S]*schema 99[\s\S]*compile"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["layers"][1].update(kind="Sparse"), "no layer of kind 'Sparse'"),
        (
            lambda d: d["layers"][1].update(weights={"array": "fc9.weights"}),
            "no entry 'fc9.weights'",
        ),
        (lambda d: d["layers"][1].update(source="nowhere"), "runs before its source"),
        (lambda d: d["layers"][0].update(type="FLOAT4"), "FLOAT4"),
        (lambda d: d["layers"][0].update(shape=[7]), "on input"),
        (lambda d: d.pop("quantiser"), "no entry 'quantiser'"),
        (lambda d: d["quantiser"]["steps"][0].update(op="cosine"), "no entry 'cosine'"),
    ],
)
def test_changed_text(folder: Path, change: object, text: str) -> None:
    document = json.loads((folder / GRAPH_FILE).read_text())
    change(document)
    (folder / GRAPH_FILE).write_text(json.dumps(document))
    with pytest.raises(UserError, match=rf"don't fit together[\s\S]*{text}"):
        load(folder)


def test_pickled_arrays_are_never_loaded(folder: Path) -> None:
    with np.load(folder / WEIGHTS_FILE) as archive:
        arrays = dict(archive)
    arrays["fc0.weights"] = np.array([object()])
    np.savez(folder / WEIGHTS_FILE, **arrays)
    with pytest.raises(UserError, match="don't fit together"):
        load(folder)
