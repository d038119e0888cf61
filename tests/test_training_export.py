"""Export: QONNX executes to the same integers, files are deterministic, dead networks refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from deploy.errors import UserError
from training import export, train
from training.config import Config, parse_config
from training.datasets import load_dataset
from training.networks import build_network
from training.vectors import make_vectors

KINDS = {
    "w1a1": ("binary", "binary", "binary"),
    "w1a2": ("int2", "binary", "int2"),
    "w2a2": ("int2", "int2", "int2"),
    "w4a4": ("int4", "int4", "int4"),
    "float": ("float", "float", "float"),
}


def config_of(kind: str) -> Config:
    inputs, weights, activations = KINDS[kind]
    table = {
        "data": {"name": "digits"},
        "network": {
            "hidden": [32, 32],
            "input_quantiser": inputs,
            "weight_quantiser": weights,
            "activation_quantiser": activations,
        },
        "training": {"epochs": 8, "batch_size": 100, "learning_rate": 0.02},
    }
    return parse_config(table, where="test")


@pytest.fixture(scope="module", params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the two commands' functions made, by the kind of its network."""
    folder = tmp_path_factory.mktemp(request.param)
    train.train_run(config_of(request.param), folder)
    export.export_run(folder)
    return folder


def test_qonnx_computes_the_same_integers(run: Path) -> None:
    vectors = np.load(run / export.VECTORS)
    model = ModelWrapper(str(run / export.MODEL))
    del model.graph.value_info[:]  # shapes of a batch of 1
    model.set_tensor_shape("input", [100, 64])
    model.set_tensor_shape("scores", [100, 10])
    inputs = {"input": vectors["inputs"][:100]}
    tensors = execute_onnx(model.transform(InferShapes()), inputs, return_full_exec_context=True)
    names = [
        key.split("/")[1]
        for key in vectors.files
        if key.startswith("activations/") and not key.endswith("/scale")
    ]
    assert len(names) == (0 if run.name.startswith("float") else 3)
    for name in names:
        scale = vectors[f"activations/{name}/scale"]
        found = np.rint(tensors[name] / scale)
        np.testing.assert_allclose(found * scale, tensors[name], rtol=1e-6)
        assert np.array_equal(found, vectors[f"activations/{name}"]), name
    np.testing.assert_allclose(tensors["scores"], vectors["outputs"][:100], atol=1e-4)
    assert np.array_equal(tensors["scores"].argmax(1), vectors["outputs"][:100].argmax(1))


def test_the_vectors_are_those_described(run: Path) -> None:
    vectors = dict(np.load(run / export.VECTORS))
    is_float = run.name.startswith("float")
    n, n_extra = 596, 404
    data = load_dataset("digits")
    assert np.array_equal(vectors["inputs"], data.to_unit(data.test_images))
    assert np.array_equal(vectors["labels"], data.test_labels)
    assert vectors["class_names"].tolist() == [str(digit) for digit in range(10)]
    assert (vectors["outputs"].dtype, vectors["outputs"].shape) == (np.float64, (n, 10))
    assert (vectors["outputs_float32"].dtype, vectors["outputs_float32"].shape) == (
        np.float32,
        (n, 10),
    )
    assert vectors["extra_inputs"].shape == (n_extra, 64)
    assert vectors["extra_outputs"].shape == (n_extra, 10)
    assert np.array_equal(vectors["extra_labels"], data.train_labels[:n_extra])
    for key in ("inputs_integer", "outputs_integer", "extra_inputs_integer"):
        assert (key in vectors) == (not is_float)
    if is_float:
        return
    assert (vectors["inputs_integer"].dtype, vectors["inputs_integer"].shape) == (np.int8, (n, 64))
    assert np.array_equal(vectors["inputs_integer"][:100], vectors["activations/input_quantiser"])
    assert (vectors["outputs_integer"].dtype, vectors["outputs_integer"].shape) == (
        np.int32,
        (n, 10),
    )
    # One positive scale and one offset lie between the integers and the scores.
    integers, scores = vectors["outputs_integer"].ravel(), vectors["outputs"].ravel()
    order = np.argsort(integers, kind="stable")
    rises = np.diff(integers[order]) > 0
    assert (np.diff(scores[order])[rises] > 0).all()
    assert np.abs(np.diff(scores[order])[~rises]).max() == 0.0
    assert vectors["n_float32_class_differs"] <= vectors["n_float32_activation_differs"] <= n


def test_the_model_is_plain_and_deterministic(run: Path) -> None:
    path = run / export.MODEL
    model = onnx.load(path)
    shapes = [
        [dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        for tensor in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [[1, 64], [1, 10]]
    assert [tensor.name for tensor in model.graph.input] == ["input"]
    assert [tensor.name for tensor in model.graph.output] == ["scores"]
    quantisers = {"Quant", "BipolarQuant"} & {node.op_type for node in model.graph.node}
    assert (quantisers == set()) == run.name.startswith("float")
    before = [hashlib.sha256((run / name).read_bytes()).hexdigest() for name in PUBLISHED]
    for file in (run / export.STAGE).iterdir():
        file.unlink()
    (run / export.STAGE).rmdir()
    export.export_run(run)
    after = [hashlib.sha256((run / name).read_bytes()).hexdigest() for name in PUBLISHED]
    assert before == after


PUBLISHED = (export.MODEL, export.VECTORS)


def test_a_network_that_is_dead_is_refused() -> None:
    torch.manual_seed(0)
    network = build_network(config_of("w2a2").network, (8, 8, 1), 10)
    with torch.no_grad():
        network.hidden[0].linear.weight.fill_(0.1)  # rounds to 0
    with pytest.raises(UserError, match=r"(?s)outputs do not vary.*hidden\.0\.activation"):
        make_vectors(network, load_dataset("digits"))


def test_export_needs_a_trained_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "none"
    assert export.main([str(run)]) == 2
    error = capsys.readouterr().err
    assert "01_train" in error
    assert "python -m training.train" in error
    assert not run.exists()


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.train_run(config_of("w1a1"), tmp_path)
    for expected in ("runs: no earlier result", "skipped"):
        capsys.readouterr()
        assert export.main([str(tmp_path)]) == 0
        output = capsys.readouterr().out
        assert expected in output
        assert f"{tmp_path / 'model.onnx'}" in output
        assert "(596 test samples, evaluated exactly)" in output
