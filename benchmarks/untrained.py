"""The shipped networks without training: weights as they are drawn, norms and statistics too.

Each channel is alive, and training would change nothing in what is compared or sized.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.config import load_config
from training.network import Network
from training.networks import build_network

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3), "unsw_nb15": (57,)}


def untrained(name: str, n_images: int) -> tuple[Network, np.ndarray]:
    """The network of a config, in evaluation mode, and random images (N, C, H, W) from 0 to 1."""
    torch.manual_seed(0)
    config = load_config(CONFIGS / f"{name}.toml")
    shape = SHAPES[config.data.name]
    network = build_network(config.network, shape, 2 if config.data.name == "unsw_nb15" else 10)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_images, int(np.prod(shape))), np.uint8)
    inputs = network.arrange(images).astype(np.float32) / np.float32(255)
    for _ in range(3):
        network(torch.tensor(inputs[:50]))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.normal_(1.0, 0.5)
                module.bias.normal_(0.0, 0.5)
    network.clip_parameters()
    return network.eval(), inputs
