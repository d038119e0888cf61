"""Sizes of networks against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from training.config import parse_config
from training.network_size import NetworkSize, size_of
from training.networks import build_network


def network_of(shape: tuple[int, ...], **network: Any) -> torch.nn.Module:
    table = {
        "data": {"name": "digits"},
        "network": {"input_quantiser": "int8"} | network,
        "training": {"epochs": 1, "learning_rate": 0.1},
    }
    return build_network(parse_config(table, where="test").network, shape, n_classes=10)


@pytest.mark.parametrize(
    ("weights", "bits", "activations", "activation_bits"),
    [
        ("float", 32, "float", 32),
        ("binary", 1, "int2", 2),
        ("twn_channel", 2, "binary_stochastic", 1),
        ("quinary", 3, "quinary", 3),
        ("dorefa3", 4, "dorefa3", 3),
        ("int5", 5, "int6", 6),
    ],
)
def test_fully_connected(weights: str, bits: int, activations: str, activation_bits: int) -> None:
    network = network_of(
        (4, 4, 1), hidden=[8], weight_quantiser=weights, activation_quantiser=activations
    )
    n = 16 * 8 + 8 * 10
    assert size_of(network) == NetworkSize(n, bits, n * bits, 16 * 8 + 8 * activation_bits, n)
    assert network.training


def test_convolutional() -> None:
    layers = [
        {"type": "convolution", "channels": 6, "kernel": 3, "padding": 1},  # 8 x 8 x 6
        {"type": "max_pool", "size": 2},  # 4 x 4 x 6
        {"type": "depthwise", "kernel": 3},  # 2 x 2 x 6
        {"type": "fire", "squeeze": 2, "expand1": 3, "expand3": 4},  # 2 x 2 x 7
        {"type": "residual", "channels": 7},
        {"type": "average_pool"},  # 7
        {"type": "dense", "neurons": 5},
    ]
    network = network_of(
        (8, 8, 3),
        kind="convolutional",
        layers=layers,
        weight_quantiser="int2",
        activation_quantiser="int4",
    )
    per_layer = [  # weights, positions
        (6 * 3 * 9, 64),
        (6 * 9, 4),
        (2 * 6, 4),
        (3 * 2, 4),
        (4 * 2 * 9, 4),
        (7 * 7 * 9, 4),
        (7 * 7 * 9, 4),
        (5 * 7, 1),
        (10 * 5, 1),
    ]
    n = sum(n_weights for n_weights, _ in per_layer)
    # Input in 8 bits; 4 bits each: convolutions, fire's three, residual's two and its sum, ...
    n_activations = 64 * 6 + 4 * 6 + 4 * (2 + 3 + 4) + 4 * (7 + 7 + 7) + 7 + 5
    assert size_of(network) == NetworkSize(
        n_weights=n,
        weight_bits=2,
        weight_memory_bits=2 * n,
        activation_memory_bits=8 * 64 * 3 + 4 * n_activations,
        macs=sum(n_weights * positions for n_weights, positions in per_layer),
    )
