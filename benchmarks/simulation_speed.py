"""How fast the cycle-accurate RTL simulates, on one core, against other executors of the network.

Usage: python -m benchmarks.simulation_speed RUN [--target-fps N] [--repeats R]

RUN is an exported run directory; its whole test set streams through the RTL. Timed is the call
that turns an array of integers into an array of results, model build excluded (and printed). The
rivals run in the same process on the same inputs: qonnx's execution of the same file at batch 1,000
and, on 100 inputs, at batch 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from benchmarks.record import print_header
from deploy.store import Store
from hw_build.boards import BOARDS
from hw_build.emit import emit
from hw_build.folding_search import choose_folding
from hw_build.golden import execute
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.simulator import Simulator
from hw_build.vectors import exported_vectors
from hw_build.verilator import build_model, find_verilator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--target-fps", type=float, default=1_430_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print_header("simulated; CPU seconds of one thread, median of the repeats")
    print(f"with     {find_verilator().version}")

    imported = import_qonnx(options.run / "model.onnx")
    vectors = exported_vectors(options.run / "vectors.npz")
    inputs = imported.quantiser(vectors.inputs[: vectors.n_own])
    board = BOARDS["pynq_z2"]
    interval = int(board.clock_mhz * 1e6 / options.target_fps)
    blocks = lower(imported.graph, choose_folding(imported.graph, interval))
    expected = execute(imported.graph, inputs, keep=[imported.graph.output.name])
    with tempfile.TemporaryDirectory() as scratch:
        rtl = Path(scratch, "rtl")
        rtl.mkdir()
        emit(blocks, rtl)
        started = time.perf_counter()
        library = build_model(rtl, blocks, store=Store(Path(scratch, "store")))
        built = time.perf_counter() - started
        with Simulator(library, blocks, imported.graph, rtl) as model:
            seconds, result = _timed(lambda: model.run(inputs), options.repeats)
    name = imported.graph.output.name
    wrong = int((result.layers[name] != expected[name]).any(axis=1).sum())
    n = len(inputs)
    print(f"model    built in {built:.1f} s, {result.interval:.0f} cycles a frame")
    print(
        f"RTL      {n} images in {seconds:.3f} s, {n / seconds:,.0f} images/s, "
        f"{result.cycles / seconds / 1e6:.1f} Mcycles/s, {wrong} unlike the golden model"
    )
    for batch, count, repeats in ((1_000, n, 3), (1, 100, 1)):
        rate = _qonnx_rate(options.run / "model.onnx", vectors.inputs[:count], batch, repeats)
        print(
            f"qonnx    batch {batch}: {rate:,.0f} images/s; the RTL simulates at "
            f"{n / seconds / rate:.2f} times that"
        )


def _qonnx_rate(path: Path, inputs: np.ndarray, batch: int, repeats: int) -> float:
    """Images a CPU second of qonnx's own execution."""
    model = ModelWrapper(str(path))
    name, output = model.graph.input[0].name, model.graph.output[0].name
    model.graph.ClearField("value_info")  # written for a batch of one
    for tensor in (name, output):
        model.set_tensor_shape(tensor, [batch, *model.get_tensor_shape(tensor)[1:]])
    model = model.transform(InferShapes())

    def run() -> None:
        for start in range(0, len(inputs) - batch + 1, batch):
            execute_onnx(model, {name: inputs[start : start + batch].astype(np.float32)})

    seconds, _ = _timed(run, repeats)
    return len(inputs) // batch * batch / seconds


def _timed(call, repeats: int):
    """Median CPU seconds of `repeats` calls after a first one, and the last result."""
    result, times = call(), []
    for _ in range(repeats):
        started = time.process_time()
        result = call()
        times.append(time.process_time() - started)
    return statistics.median(times), result


if __name__ == "__main__":
    main()
