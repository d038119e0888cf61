"""Activations beyond Brevitas' own: values, gradients, distribution, and QONNX."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from deploy.errors import UserError
from training.activations import quantised_activation
from training.config import parse_config
from training.datasets import load_dataset
from training.network_config import FullyConnectedConfig
from training.networks import build_network
from training.qonnx_export import to_qonnx
from training.vectors import make_vectors

X = [-3.0, -1.01, -1.0, -0.74, -0.25, 0.0, 0.2, 0.25, 0.6, 0.75, 1.0, 1.01, 1.2, 7.0]
# By hand; ties half to even: 2 * 0.25 and 2 * 0.75 to 0 and 2, 3 * 0.5 to 2.
BY_HAND = {
    "quinary": ([-2, -2, -2, -1, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2], 2, (-1.0, 1.0)),
    "dorefa1": ([0] * 8 + [1] * 6, 1, (0.0, 1.0)),
    "dorefa2": ([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3], 3, (0.0, 1.0)),
    "binary_stochastic": ([-1] * 5 + [1] * 9, 1, (-1.0, 1.0)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_values_and_gradients_are_those_written(name: str) -> None:
    levels, steps, (least, greatest) = BY_HAND[name]
    module = quantised_activation(name)
    y = module.eval()(torch.tensor(X))
    np.testing.assert_allclose(y, np.array(levels) / steps, rtol=1e-6)
    np.testing.assert_allclose(module.act_quant.scale().item(), 1 / steps, rtol=1e-6)
    x = torch.tensor(X, requires_grad=True)
    upstream = torch.arange(1.0, 1.0 + len(X))
    (module.train()(x) * upstream).sum().backward()
    inside = (x.detach() >= least) & (x.detach() <= greatest)
    torch.testing.assert_close(x.grad, upstream * inside)


LEARNED_X = [-3.0, -0.75, -0.55, -0.2, 0.0, 0.1, 0.3, 0.6, 0.76, 0.9, 1.2, 5.0]
# By hand, at a reach of 3/4: the scale, then x / scale rounded half to even, and what is clipped.
LEARNED = {
    "binary_learned": (0.75, [-1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 8, 9, 10, 11]),
    "int2_learned": (0.75, [-1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 10, 11]),
    "int3_learned": (0.25, [-3, -3, -2, -1, 0, 0, 1, 2, 3, 3, 3, 3], [0, 9, 10, 11]),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_scale_and_its_gradient(name: str) -> None:
    scale, levels, clipped = LEARNED[name]
    module = quantised_activation(name).train()
    assert module.act_quant.scale().item() == pytest.approx(scale / 0.75)
    (reach,) = module.parameters()
    reach.data.fill_(0.75)
    x = torch.tensor(LEARNED_X, requires_grad=True)
    upstream = torch.arange(1.0, 1.0 + len(LEARNED_X))
    y = module(x)
    np.testing.assert_allclose(y.detach(), np.array(levels) * scale, rtol=1e-6)
    assert torch.equal(module.eval()(x), y)
    (y * upstream).sum().backward()
    expected_x, expected_scale = [], 0.0
    for index, (value, level) in enumerate(zip(LEARNED_X, levels, strict=True)):
        of_y = 1.0 + index
        expected_x.append(0.0 if index in clipped else of_y)
        expected_scale += of_y * (level if index in clipped else level - value / scale)
    np.testing.assert_allclose(x.grad, expected_x, rtol=1e-6)
    n = max(1, 2 ** (int(module.act_quant.bit_width()) - 1) - 1)  # scale = reach / n
    assert reach.grad.item() == pytest.approx(expected_scale / n, rel=1e-5)


def test_learned_scales_stay_out_of_branches() -> None:
    table = {
        "data": {"name": "digits"},
        "network": {
            "kind": "convolutional",
            "input_quantiser": "int4",
            "weight_quantiser": "binary",
            "activation_quantiser": "int4_learned",
            "layers": [{"type": "max_pool"}, {"type": "residual", "channels": 4}],
        },
        "training": {"epochs": 1, "learning_rate": 0.1},
    }
    with pytest.raises(UserError, match=r"(?s)one scale.*network\.layers\.1, residual.*\"int4\""):
        parse_config(table, where="test")


def test_stochastic_binary_follows_its_distribution() -> None:
    torch.manual_seed(0)
    probabilities = {-1.5: 0.0, -0.5: 0.25, 0.0: 0.5, 0.8: 0.9, 2.0: 1.0}
    x = torch.tensor(list(probabilities)).repeat(40_000, 1)
    drawn = quantised_activation("binary_stochastic").train()(x)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    shares = (drawn == 1.0).double().mean(0)
    deviations = np.sqrt([p * (1 - p) / 40_000 for p in probabilities.values()])
    assert (np.abs(shares.numpy() - list(probabilities.values())) <= 5 * deviations).all()


@pytest.mark.parametrize("name", ["quinary", "dorefa2", "dorefa7", "binary_stochastic"])
def test_qonnx_computes_the_same_integers(name: str) -> None:
    digits = load_dataset("digits", n_train=50, n_test=40)
    config = FullyConnectedConfig(
        hidden=(24,), input_quantiser="int8", weight_quantiser="quinary", activation_quantiser=name
    )
    torch.manual_seed(0)
    network = build_network(config, (8, 8, 1), 10)
    for _ in range(5):
        network(torch.rand(50, 64))
    vectors = make_vectors(network, digits)
    model = ModelWrapper(to_qonnx(network))
    del model.graph.value_info[:]  # shapes of a batch of 1
    model.set_tensor_shape("input", [40, 64])
    model.set_tensor_shape("scores", [40, 10])
    given = {"input": vectors["inputs"]}
    tensors = execute_onnx(model.transform(InferShapes()), given, return_full_exec_context=True)
    for tensor in ("input_quantiser", "hidden.0.activation"):
        found = np.rint(tensors[tensor] / vectors[f"activations/{tensor}/scale"])
        assert np.array_equal(found, vectors[f"activations/{tensor}"])
    expected = {"quinary": 5, "dorefa2": 4, "dorefa7": 128, "binary_stochastic": 2}[name]
    assert 0.6 * expected < len(np.unique(vectors["activations/hidden.0.activation"])) <= expected
    np.testing.assert_allclose(tensors["scores"], vectors["outputs"], atol=1e-4)
