"""Optimisers against plain arithmetic, rates over time, and TTQ from its gradient to its export."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy.errors import UserError
from training import evaluate, export, loop, train
from training.config import Config, TrainingConfig, load_config, parse_config
from training.networks import build_network
from training.optimisers import ShiftAdaMax, optimiser_of, rate_at, set_rate
from training.qonnx_export import to_qonnx
from training.trained_run import TrainedRun
from training.weight_methods import ttq


def config_of(weights: str = "binary", **training: Any) -> Config:
    table = {
        "data": {"name": "digits"},
        "network": {
            "hidden": [16],
            "input_quantiser": "int4",
            "weight_quantiser": weights,
            "activation_quantiser": "int2",
            "dropout": 0.0,
        },
        "training": {"epochs": 12, "batch_size": 100, "learning_rate": 0.02, **training},
    }
    return parse_config(table, where="test")


def power(z: float) -> float:
    return math.copysign(2.0 ** round(math.log2(abs(z))), z)


def test_shift_adamax_by_its_formula() -> None:
    parameter = torch.nn.Parameter(torch.tensor([0.5, -0.25, 1.0]))
    optimiser = ShiftAdaMax([parameter], lr=0.01)
    gradients = [[0.3, -2.0, 0.0], [0.1, 1.5, 0.0], [-0.7, 0.01, 0.0]]
    w, m, v = [0.5, -0.25, 1.0], [0.0] * 3, [0.0] * 3
    for t, g in enumerate(gradients, start=1):
        parameter.grad = torch.tensor(g)
        optimiser.step()
        rate = power(0.01 / (1 - 0.875**t))
        for i in range(2):
            m[i] = 0.875 * m[i] + 0.125 * g[i]
            v[i] = max((1 - 2**-10) * v[i], abs(g[i]))
            w[i] -= rate * m[i] / power(v[i])
    assert np.allclose(parameter.detach().numpy(), w, atol=1e-6)
    assert parameter[2] == 1.0  # Never a gradient: never a step.


@pytest.mark.parametrize("rate", [1e-4, 0.003, 2.0**-10, 0.7])
def test_every_factor_of_shift_adamax_is_a_power_of_two(rate: float) -> None:
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(1000))
    optimiser = ShiftAdaMax([parameter], lr=rate)
    for _ in range(3):
        parameter.data.zero_()
        parameter.grad = torch.randn(1000)
        optimiser.step()
        # From 0 the parameter is minus the step, exactly: the mean times a power of two.
        factors = -parameter.detach().numpy() / optimiser.state[parameter]["mean"].numpy()
        assert (np.frexp(factors)[0] == 0.5).all()
        assert len(np.unique(factors)) > 3


def test_rates() -> None:
    training = TrainingConfig(epochs=1, learning_rate=0.4)
    assert [rate_at(training, done) for done in (0.0, 0.5, 1.0)] == pytest.approx([0.4, 0.2, 0.0])
    training = TrainingConfig(epochs=1, learning_rate=0.4, schedule="exponential")
    assert [rate_at(training, done) for done in (0.0, 0.5, 1.0)] == pytest.approx([0.4, 4e-3, 4e-5])


def test_the_rates_of_the_shipped_bnns_are_the_papers() -> None:
    configs = Path(__file__).parents[1] / "training" / "configs"
    training = load_config(configs / "bnn4096_w1a1.toml").training
    assert [rate_at(training, done) for done in (0.0, 1.0)] == pytest.approx([3e-3, 3e-7])
    training = load_config(configs / "bnn2048_w1a1.toml").training
    rates = [power(rate_at(training, epoch / training.epochs)) for epoch in range(0, 133, 10)]
    assert rates == [2.0 ** -(10 + shift) for shift in range(14)]


def test_glorot_scaled_rates() -> None:
    config = config_of(glorot_scaled_rates=True)
    network = build_network(config.network, (8, 8, 1), 10)
    optimiser = optimiser_of(network, config.training)
    set_rate(optimiser, 0.01)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert rates[id(network.hidden[0].linear.weight)] == pytest.approx(
        0.01 / math.sqrt(1.5 / (64 + 16))
    )
    assert rates[id(network.output.linear.weight)] == pytest.approx(
        0.01 / math.sqrt(1.5 / (16 + 10))
    )
    assert rates[id(network.hidden[0].norm.weight)] == 0.01
    assert len(rates) == len(list(network.parameters()))


@pytest.mark.parametrize(
    "training",
    [
        pytest.param({"optimiser": "sgd", "learning_rate": 0.3}, marks=pytest.mark.nightly),
        pytest.param({"optimiser": "shift_adamax"}, marks=pytest.mark.nightly),
        {"optimiser": "shift_adamax", "glorot_scaled_rates": True, "learning_rate": 0.003},
        pytest.param({"schedule": "exponential"}, marks=pytest.mark.nightly),
    ],
)
def test_it_learns(tmp_path: Path, training: dict[str, Any]) -> None:
    stage = train.train_run(config_of(**training), tmp_path)
    lines = [json.loads(line) for line in (stage / loop.METRICS).read_text().splitlines()]
    assert lines[-1]["train_loss"] < 0.8 * lines[0]["train_loss"]
    assert json.loads((stage / train.SUMMARY).read_text())["test_accuracy"] > 0.4  # By chance 0.1.


def test_ttq_and_its_gradient() -> None:
    w = torch.tensor([[2.0, -0.05], [-0.2, 0.11]], requires_grad=True)
    positive = torch.tensor(0.7, requires_grad=True)
    negative = torch.tensor(0.3, requires_grad=True)
    y = ttq(w, positive, negative)  # D = 0.1
    assert torch.equal(y, torch.tensor([[0.7, 0.0], [-0.3, 0.7]]))
    y.backward(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    assert torch.allclose(w.grad, torch.tensor([[0.7, 2.0], [0.9, 3.5]]))
    assert positive.grad == 6.0
    assert negative.grad == -3.0


def test_ttq_trains_and_is_refused_at_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = train.train_run(config_of("ttq"), tmp_path)
    summary = json.loads((stage / train.SUMMARY).read_text())
    assert summary["test_accuracy"] > 0.6
    assert summary["size"]["weight_bits"] == 2
    from safetensors.torch import load_file

    weights = load_file(stage / train.WEIGHTS)
    scales = [value for key, value in weights.items() if key.endswith(("positive", "negative"))]
    assert len(scales) == 4
    assert all(0.0 < scale != 1.0 for scale in scales)
    for command in (export.main, lambda run: evaluate.main([*run, "--exact"])):
        assert command([str(tmp_path)]) == 2
        assert re.search(r"(?s)TTQ.*can't be exported.*hidden\.0.*twn", capsys.readouterr().err)
    assert not (tmp_path / export.STAGE).exists()
    network, _ = TrainedRun.read(tmp_path).load()
    with pytest.raises(UserError, match="TTQ"):
        to_qonnx(network)
