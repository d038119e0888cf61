"""The shipped convolutional networks, whole, from PyTorch to RTL: every integer, every cycle.

Weights are drawn, and the statistics and norms of batch normalisation as well: each channel is
alive, and training would change nothing in what is compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.untrained import CONFIGS, untrained
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
from training.qonnx_export import to_qonnx

SMALL = [
    path.stem
    for path in sorted(CONFIGS.glob("digits_*_w*a*.toml"))
    if load_config(path).network.kind == "convolutional"
]
LARGE = (
    *("lenet5_w1a1", "cnv_w1a1", "cnv_w1a2", "cnv_w2a2", "cnv_padded_w1a1", "resnet_w2a2"),
    *("depthwise_w4a4", "fire_w2a2", "conv1d_w1a1"),
)


@pytest.mark.nightly
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_every_integer_of_every_stream(name: str, tmp_path: Path) -> None:
    """Small ones at 2,000 cycles a frame; large ones slower, as their model builds sooner then."""
    network, inputs = untrained(name, 1000 if name in SMALL else 100)
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
