"""The shipped convolutional networks, whole, from PyTorch to RTL: every integer, every cycle.

Weights are drawn, and the statistics and norms of batch normalisation as well: each channel is
alive, and training would change nothing in what is compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hw_build.emit import emit
from hw_build.executors import check_software, scores_layer
from hw_build.fifo_sizing import size_fifos
from hw_build.fifos import with_fifos
from hw_build.folding_target import folding_for_rate
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.rtl_gate import check_batch, check_cycles
from hw_build.simulator import Simulator, Stalls
from hw_build.vectors import Vectors
from hw_build.verilator import build_model
from training.config import load_config
from training.network import Network
from training.networks import build_network
from training.qonnx_export import to_qonnx

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3)}

SMALL = [
    path.stem
    for path in sorted(CONFIGS.glob("digits_*_w*a*.toml"))
    if load_config(path).network.kind == "convolutional"
]
LARGE = ("lenet5_w1a1",)


def untrained(name: str) -> tuple[Network, np.ndarray]:
    """The network of a config, and 1,000 random inputs, or 100 of a large one: (N, C, H, W)."""
    torch.manual_seed(0)
    config = load_config(CONFIGS / f"{name}.toml")
    shape = SHAPES[config.data.name]
    network = build_network(config.network, shape, 10)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1000 if name in SMALL else 100, int(np.prod(shape))), np.uint8)
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


@pytest.mark.nightly
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_every_integer_of_every_stream(name: str, tmp_path: Path) -> None:
    """Small ones at 2,000 cycles a frame; large ones slower, as their model builds sooner then."""
    network, inputs = untrained(name)
    path, rtl = tmp_path / "model.onnx", tmp_path / "rtl"
    path.write_bytes(to_qonnx(network).SerializeToString())
    imported = import_qonnx(path)
    graph = imported.graph
    checked = check_software(imported, path, Vectors(inputs, len(inputs), "random images"))

    bare = lower(graph, folding_for_rate(graph, 2_000 if name in SMALL else 300_000, 64))
    blocks = with_fifos(bare, size_fifos(bare))
    rtl.mkdir()
    emit(blocks, rtl)
    with Simulator(build_model(rtl, blocks), blocks, graph, rtl) as model:
        whole = check_batch(model, graph, blocks, checked.integers, scores_layer(graph))
        check_cycles(blocks, whole.first)
        some = checked.integers[: 100 if name in SMALL else 10]
        check_batch(model, graph, blocks, some, scores_layer(graph), stalls=Stalls(0.5, 0.5, 1))
    assert whole.passed.vectors == len(inputs)
    assert len(np.unique(whole.integers)) > 2
