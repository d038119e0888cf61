"""How fast the golden model runs, and how long QONNX takes to become RTL.

Usage: python -m benchmarks.software_speed RUN [--target-fps N]

RUN is an exported run directory. Golden model: images per CPU second on one thread, all layers
computed and the output kept. Compilation: import, folding, lowering and emission of the same file,
each timed once.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.record import print_header
from hw_build.emit import emit
from hw_build.folding_search import choose_folding
from hw_build.golden import execute
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.timing import predict
from hw_build.vectors import exported_vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--target-fps", type=float, default=100_000)
    options = parser.parse_args()
    print_header("measured on this machine's processor")
    clock = time.perf_counter
    marks = [clock()]
    imported = import_qonnx(options.run / "model.onnx")
    marks.append(clock())
    folding = choose_folding(imported.graph, int(1e8 / options.target_fps))
    marks.append(clock())
    blocks = lower(imported.graph, folding)
    with tempfile.TemporaryDirectory() as scratch:
        emit(blocks, Path(scratch))
        marks.append(clock())
    steps = [b - a for a, b in itertools.pairwise(marks)]
    print(
        f"compile  {sum(steps):.2f} s from QONNX to RTL: import {steps[0]:.2f}, "
        f"folding {steps[1]:.2f}, memories and emission {steps[2]:.2f}; "
        f"{predict(blocks).interval} cycles a frame"
    )
    vectors = exported_vectors(options.run / "vectors.npz")
    inputs = imported.quantiser(vectors.inputs)
    name, times = imported.graph.output.name, []
    for _ in range(6):
        started = time.process_time()
        execute(imported.graph, inputs, keep=[name])
        times.append(time.process_time() - started)
    seconds = statistics.median(times[1:])
    print(f"golden   {len(inputs) / seconds:,.0f} images per CPU second, {len(inputs)} images")


if __name__ == "__main__":
    main()
