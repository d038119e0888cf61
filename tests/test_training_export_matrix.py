"""Methods in combination: PyTorch, qonnx, and the integers that hardware computes, all equal."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from hw_build.executors import check_software
from hw_build.importer import import_qonnx
from hw_build.vectors import exported_vectors
from training.config import parse_config
from training.dataset import Dataset
from training.datasets import load_dataset
from training.network import Network
from training.networks import build_network
from training.qonnx_export import to_qonnx
from training.quantisers import ACTIVATION_NAMES, WEIGHT_NAMES
from training.vectors import make_vectors

NORMS = ("batch", "shift")
EXPORTED = [name for name in WEIGHT_NAMES if name != "ttq"]
# Every method of weights and of activations once at least.
ONCE = [
    (EXPORTED[i % len(EXPORTED)], ACTIVATION_NAMES[i % len(ACTIVATION_NAMES)], NORMS[i % 2])
    for i in range(max(len(EXPORTED), len(ACTIVATION_NAMES)))
]
# Of every kind one, each with each.
WEIGHTS = ("float", "binary", "int2", "int5_channel", "twn_channel", "quinary", "dorefa1")
WEIGHTS += ("dorefa3", "log3", "binary_stochastic")
ACTIVATIONS = ("float", "binary", "int2", "int4_learned", "binary_learned", "quinary", "dorefa1")
ACTIVATIONS += ("dorefa3", "binary_stochastic")
CROSSED = [case for case in itertools.product(WEIGHTS, ACTIVATIONS, NORMS) if case not in ONCE]

FIRST = {"type": "convolution", "channels": 4, "padding": 1}
PLAIN = [FIRST, {"type": "max_pool"}, {"type": "depthwise"}, {"type": "average_pool"}]
PLAIN += [{"type": "dense", "neurons": 6}]
BRANCHED = [FIRST, {"type": "residual", "channels": 4}, {"type": "max_pool"}]
BRANCHED += [{"type": "fire", "squeeze": 2, "expand1": 3, "expand3": 3}, {"type": "average_pool"}]
IMAGES = [
    (PLAIN, "binary", "int4_learned", "batch"),
    (PLAIN, "int4_channel", "binary_learned", "shift"),
    (BRANCHED, "binary", "quinary", "batch"),
    (BRANCHED, "twn_channel", "int5", "batch"),
    (BRANCHED, "quinary_channel", "binary_stochastic", "batch"),
    (BRANCHED, "log2", "int3", "shift"),
    (BRANCHED, "dorefa1", "binary", "batch"),
]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", n_train=60, n_test=60)


def trained(digits: Dataset, network: dict[str, Any]) -> Network:
    """A network of that table after a few steps, none of its parameters where it began."""
    table = {
        "data": {"name": "digits"},
        "network": {"input_quantiser": "int4", **network},
        "training": {"epochs": 1, "learning_rate": 0.1},
    }
    torch.manual_seed(1)
    made = build_network(parse_config(table, where="test").network, digits.shape, 10)
    optimiser = torch.optim.SGD(made.parameters(), lr=0.02)
    x = torch.tensor(digits.to_unit(made.arrange(digits.train_images)))
    for _ in range(8):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(made(x), torch.tensor(digits.train_labels)).backward()
        optimiser.step()
        made.clip_parameters()
    return made


def by_qonnx(model: onnx.ModelProto, inputs: np.ndarray) -> dict[str, np.ndarray]:
    wrapped = ModelWrapper(model)
    del wrapped.graph.value_info[:]  # shapes of a batch of 1
    wrapped.set_tensor_shape("input", list(inputs.shape))
    wrapped.set_tensor_shape("scores", [len(inputs), 10])
    return execute_onnx(
        wrapped.transform(InferShapes()), {"input": inputs}, return_full_exec_context=True
    )


def check(digits: Dataset, folder: Path, network: dict[str, Any]) -> None:
    made = trained(digits, network)
    vectors, model = make_vectors(made, digits), to_qonnx(made)
    tensors = by_qonnx(model, vectors["inputs"])
    np.testing.assert_allclose(tensors["scores"], vectors["outputs"], rtol=1e-4, atol=1e-4)
    for key in vectors:
        name = key.removeprefix("activations/")
        if name != key and not name.endswith("/scale"):
            levels = tensors[name] / vectors[f"{key}/scale"]
            levels = np.moveaxis(levels, 1, -1)
            np.testing.assert_allclose(levels, levels.round(), atol=1e-4)
            assert np.array_equal(levels.round(), vectors[key]), name
    if "float" in (network["weight_quantiser"], network["activation_quantiser"]):
        return  # Hardware takes integers alone.
    np.savez(folder / "vectors.npz", **vectors)
    onnx.save(model, folder / "model.onnx")
    imported = import_qonnx(folder / "model.onnx")
    given = exported_vectors(folder / "vectors.npz", imported.input_shape)
    check_software(imported, folder / "model.onnx", given)


def table_of(weights: str, activations: str, norm: str) -> dict[str, Any]:
    return {
        "weight_quantiser": weights,
        "activation_quantiser": activations,
        "normalisation": norm,
    }


def test_every_method_is_among_them() -> None:
    assert {weights for weights, _, _ in ONCE} == set(EXPORTED)
    assert {activations for _, activations, _ in ONCE} == set(ACTIVATION_NAMES)


@pytest.mark.parametrize(
    ("weights", "activations", "norm"),
    [
        pytest.param(*case, marks=[pytest.mark.nightly] if i % 2 else [])
        for i, case in enumerate(ONCE)
    ],
)
def test_each_method(
    digits: Dataset, tmp_path: Path, weights: str, activations: str, norm: str
) -> None:
    check(digits, tmp_path, {"hidden": [12, 12], **table_of(weights, activations, norm)})


@pytest.mark.nightly
@pytest.mark.parametrize(("weights", "activations", "norm"), CROSSED)
def test_methods_crossed(
    digits: Dataset, tmp_path: Path, weights: str, activations: str, norm: str
) -> None:
    check(digits, tmp_path, {"hidden": [12, 12], **table_of(weights, activations, norm)})


@pytest.mark.nightly
@pytest.mark.parametrize(("layers", "weights", "activations", "norm"), IMAGES)
def test_on_images(
    digits: Dataset,
    tmp_path: Path,
    layers: list[dict[str, Any]],
    weights: str,
    activations: str,
    norm: str,
) -> None:
    network = {"kind": "convolutional", "layers": layers, **table_of(weights, activations, norm)}
    check(digits, tmp_path, network)
