"""Matrix products in bfloat16: what they round, what stays exact, and where they end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from training import loop
from training.config import parse_config
from training.datasets import load_dataset
from training.networks import build_network
from training.precision import matmul_precision

QUANTISERS = ("input_quantiser", "weight_quantiser", "activation_quantiser")
PRECISIONS = ("float32", "bfloat16")
HAS_AMX = "amx_bf16" in Path("/proc/cpuinfo").read_text()


def _products(x: torch.Tensor, weight: torch.Tensor, kernel: torch.Tensor) -> list[torch.Tensor]:
    images = x.reshape(-1, 4, 16, 16)
    return [functional.linear(x, weight), functional.conv2d(images, kernel)]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_levels_are_multiplied_exactly(precision: str) -> None:
    generator = torch.Generator().manual_seed(1)

    def levels(*shape: int) -> torch.Tensor:
        return torch.randint(-128, 128, shape, generator=generator).to(torch.float32)

    x, weight, kernel = levels(64, 1024), levels(96, 1024).sign(), levels(8, 4, 3, 3).sign()
    expected = [
        part.to(torch.float32) for part in _products(x.double(), weight.double(), kernel.double())
    ]
    with matmul_precision(precision):
        found = _products(x, weight, kernel)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_factors_are_rounded_where_the_processor_can(precision: str) -> None:
    generator = torch.Generator().manual_seed(2)

    def integers(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(-high, high + 1, shape, generator=generator).to(torch.float32)

    # Integers of 10 bits: bfloat16 holds 8 of them, and float32 every sum, in whatever order.
    x, weight, kernel = integers(1023, 64, 1024), integers(1, 96, 1024), integers(1, 8, 4, 3, 3)
    exact = _products(x, weight, kernel)
    rounded = _products(x.to(torch.bfloat16).to(torch.float32), weight, kernel)
    with matmul_precision(precision):
        found = _products(x, weight, kernel)
    for one, as_is, less in zip(found, exact, rounded, strict=True):
        assert not torch.equal(as_is, less)
        if precision == "float32":
            assert torch.equal(one, as_is)
        else:  # other processors than AMX's may round, or not
            assert torch.equal(one, less) or (not HAS_AMX and torch.equal(one, as_is))


def test_epochs_are_trained_so_and_evaluation_is_in_float32() -> None:
    table = {
        "data": {"name": "digits"},
        "network": {"hidden": [16], **dict.fromkeys(QUANTISERS, "binary")},
        "training": {"epochs": 1, "learning_rate": 0.02, "matmul_precision": "bfloat16"},
    }
    config = parse_config(table, where="here")
    dataset = load_dataset("digits")
    network = build_network(config.network, dataset.shape, len(dataset.class_names))
    seen = set()
    network.output.register_forward_hook(
        lambda *_: seen.add((network.training, torch.get_float32_matmul_precision()))
    )
    samples = loop.train_samples(dataset, network)
    loop.train(network, samples, config.training, None)
    loop.accuracy(network, loop.evaluation_samples(dataset, network))
    assert seen == {(True, "medium"), (False, "highest")}
