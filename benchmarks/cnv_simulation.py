"""How fast the cycle-accurate RTL of CNV simulates on one core.

Usage: python -m benchmarks.cnv_simulation [RUN] [--frames N] [--interval CYCLES] [--repeats R]
                                           [--cifar] [--defaults]

Without RUN the network is CNV w1a1 for 32 x 32 x 3 images with random weights, which takes as many
cycles as a trained one; RUN is an exported run directory of any network. Random images stream
through the RTL, or with `--cifar` test images of the data set cifar10_jpeg. Timed is the simulation
alone, nothing recorded; the classes are compared with the golden model's. `--defaults` also times
the same model as `verilator --build` makes it: neither
Verilator's nor the compiler's flags of ours, nor counts of ones by the processor.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.record import print_header
from deploy.store import Store
from hw_build import verilator
from hw_build.blocks import Block
from hw_build.emit import TOP, emit
from hw_build.folding_search import choose_folding
from hw_build.golden import execute
from hw_build.graph import (
    BIPOLAR,
    ArgMax,
    Flatten,
    Graph,
    Input,
    IntType,
    MatVec,
    MaxPool,
    Threshold,
    Window,
)
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.simulator import Simulator
from training.cifar10 import load_cifar10_jpeg

SEED = 1
CONVOLUTIONS = ((64, False), (64, True), (128, False), (128, True), (256, False), (256, False))
"""Channels of each 3 x 3 convolution, and whether a 2 x 2 max pool follows."""

HIDDEN = (512, 512)
N_CLASSES = 10


def random_cnv(rng: np.random.Generator) -> Graph:
    """CNV w1a1 with random weights, and thresholds within the range of what they compare."""
    layers: list = [Input("input", (32, 32, 3), IntType(8, signed=False))]

    def matrix(name: str, source: str, rows: int, columns: int) -> str:
        weights = rng.integers(0, 2, (rows, columns)) * 2 - 1
        layers.append(MatVec(name, source, weights))
        sums = Graph(tuple(layers)).infer()[name]
        middle, spread = (sums.lo + sums.hi) // 2, np.maximum(1, (sums.hi - sums.lo) // 16)
        thresholds = middle + rng.integers(-spread, spread + 1)
        layers.append(Threshold(f"{name}_act", name, thresholds[:, None], -1, 2, BIPOLAR))
        return f"{name}_act"

    source, n_channels = "input", 3
    for i, (n_outputs, pooled) in enumerate(CONVOLUTIONS):
        layers.append(Window(f"conv{i}_window", source, (3, 3)))
        source = matrix(f"conv{i}", f"conv{i}_window", n_outputs, 9 * n_channels)
        n_channels = n_outputs
        if pooled:
            layers.append(Window(f"pool{i}_window", source, (2, 2), (2, 2)))
            layers.append(MaxPool(f"pool{i}", f"pool{i}_window", 4))
            source = f"pool{i}"
    layers.append(Flatten("flatten", source))
    source, n_inputs = "flatten", n_channels
    for i, n_outputs in enumerate(HIDDEN):
        source = matrix(f"fc{i}", source, n_outputs, n_inputs)
        n_inputs = n_outputs
    scores = rng.integers(0, 2, (N_CLASSES, n_inputs)) * 2 - 1
    layers += [MatVec("scores", source, scores), ArgMax("class", "scores")]
    return Graph(tuple(layers))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--interval", type=int, default=34_141, help="cycles a frame at most")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cifar", action="store_true", help="images of cifar10_jpeg")
    parser.add_argument("--defaults", action="store_true")
    options = parser.parse_args()
    print_header("simulated; CPU seconds of one thread, median of the repeats")
    print(f"with     {', '.join(verilator.tool_versions().values())}")

    rng = np.random.default_rng(SEED)
    graph = import_qonnx(options.run / "model.onnx").graph if options.run else random_cnv(rng)
    blocks = lower(graph, choose_folding(graph, options.interval))
    source = graph.input
    if options.cifar:
        images = cifar_images(source, options.frames)
    else:
        images = rng.integers(source.type.lo, source.type.hi + 1, (options.frames, *source.shape))
        if source.type.bipolar:
            images = images | 1
    expected = execute(graph, images, keep=[graph.output.name])[graph.output.name]
    with tempfile.TemporaryDirectory() as scratch:
        rtl = Path(scratch, "rtl")
        rtl.mkdir()
        emit(blocks, rtl)
        started = time.perf_counter()
        store = Store(Path(scratch, "store"))  # an empty one, so that the build is timed
        libraries = {"ours": verilator.build_model(rtl, blocks, store=store)}
        print(f"model    built in {time.perf_counter() - started:.1f} s")
        if options.defaults:
            libraries["defaults"] = _default_model(rtl, blocks, Path(scratch))
        models = {n: Simulator(path, blocks, graph, rtl) for n, path in libraries.items()}
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(options.repeats):  # in turns, so that a busy machine is one for all
            for name, model in models.items():
                started = time.process_time()
                result = model.run(images)
                seconds[name].append(time.process_time() - started)
                wrong = int((result.layers[graph.output.name] != expected).any(axis=1).sum())
                if wrong:
                    raise SystemExit(f"{wrong} of {len(images)} frames unlike the golden model")
        for model in models.values():
            model.close()
    print(f"frames   {len(images)}, {result.interval:.0f} cycles each, as the golden model's")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:8} {result.cycles} cycles in {median:.3f} s, "
            f"{result.cycles / median / 1e6:.2f} Mcycles/s, {len(images) / median:.1f} frames/s"
        )
    if options.defaults:
        ratio = statistics.median(seconds["defaults"]) / statistics.median(seconds["ours"])
        print(f"ours is {ratio:.1f} times as fast as Verilator's defaults")


def cifar_images(source: Input, n: int) -> np.ndarray:
    """The first `n` test images, as bytes (n, 32, 32, 3)."""
    if (source.shape, source.type) != ((32, 32, 3), IntType(8, signed=False)):
        raise SystemExit(f"--cifar is for inputs of 32 x 32 x 3 bytes, not {source}")
    images = load_cifar10_jpeg(None, print, n_train=1, n_test=n).test_images
    return images.reshape(-1, *source.shape)


def _default_model(rtl: Path, blocks: tuple[Block, ...], scratch: Path) -> Path:
    """The same library by the flags that `verilator --build` would use: -Os, no -march."""
    harness = scratch / "harness"
    shutil.copytree(verilator.HARNESS_FOLDER, harness)
    (harness / "prelude.h").write_text("")
    with mock.patch.multiple(
        verilator,
        VERILATOR_FLAGS=("--cc", "-Wno-fatal", "-Wno-lint", "--top-module", TOP),
        CXX_FLAGS=("-std=c++17", "-fPIC", "-w"),
        FAST=("-Os",),
        HARNESS_FOLDER=harness,
    ):
        return verilator.build_model(rtl, blocks, store=Store(scratch / "store"))


if __name__ == "__main__":
    main()
