"""A whole accelerator after Yosys: TFC w1a1, 784-64-64-64-10 with arg max, at 1.43 M frames/s.

Usage: python -m benchmarks.tfc_synthesis [RUN] [--cycles N] [--seeds N] [--no-clock]
           [--clock-luts N]
       python -m benchmarks.tfc_synthesis --neurons 256 --cycles 16 --clock-mhz 200 --no-clock

The second is SFC, 784-256-256-256-10, at 12.5 M frames/s.

With --writable, weights and thresholds are in memories that the host can write.

RUN is an exported run directory; without it, weights and thresholds are random. Every block is
synthesised by itself. Beside its LUTs stand its deepest path and the clock that nextpnr reaches
for the same RTL on an ECP5, the best of the seeds 1 to N.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.record import print_header
from benchmarks.synthesis_table import print_synthesis
from hw_build.ecp5 import KIND as CLOCK_KIND
from hw_build.folding_search import choose_folding
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, MatVec, Threshold
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.timing import predict
from hw_build.writable import writable
from hw_build.yosys import nextpnr_ecp5_version, yosys_version

TARGETS = {64: (4_200, "half of FINN's own estimate"), 256: (53_200, "what a Zynq-7020 has")}
"""By neurons of a hidden layer: LUTs at most, and why; for TFC at 69 cycles, for SFC at 16."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--cycles", type=int, default=69, help="cycles a frame, at most")
    parser.add_argument("--neurons", type=int, choices=TARGETS, default=64, help="TFC 64, SFC 256")
    parser.add_argument("--clock-mhz", type=float, default=100, help="for frames a second")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--no-clock", action="store_true", help="skip nextpnr, which takes minutes")
    parser.add_argument(
        "--clock-luts", type=float, default=math.inf, help="larger blocks are not placed"
    )
    parser.add_argument("--writable", action="store_true", help="the host may replace weights")
    options = parser.parse_args()
    print_header(f"synthesised (not placed); clock: {CLOCK_KIND}")
    print(f"with     {yosys_version()}; {nextpnr_ecp5_version()}")
    graph = random_network(options.neurons) if options.run is None else trained(options.run)
    print(f"network  {'random weights' if options.run is None else options.run}")
    if options.writable:
        graph = writable(graph)
    folding = choose_folding(graph, options.cycles)
    blocks = lower(graph, folding)
    cycles = predict(blocks).interval
    print(
        "folding  "
        + ", ".join(f"{name} {fold.pe} x {fold.simd}" for name, fold in folding.items())
        + f": {cycles} cycles a frame, {options.clock_mhz / cycles:.3f} M frames/s "
        f"at {options.clock_mhz:g} MHz"
    )
    total = print_synthesis(
        blocks, options.seeds, 0 if options.no_clock else options.clock_luts
    ).lut
    most, why = TARGETS[options.neurons]
    print(f"target   at most {most} LUT, {why}: {'met' if total <= most else 'MISSED'}")


def trained(run: Path) -> Graph:
    """The run's network, with the arg max in hardware."""
    return import_qonnx(run / "model.onnx", "class").graph


def random_network(neurons: int) -> Graph:
    """784-N-N-N-10, binary throughout, weights and thresholds drawn with seed 0."""
    rng = np.random.default_rng(0)
    sizes = (784, neurons, neurons, neurons, 10)
    layers: list = [Input("input", (sizes[0],), BIPOLAR)]
    for i, (columns, rows) in enumerate(itertools.pairwise(sizes)):
        weights = rng.choice([-1, 1], (rows, columns)).astype(np.int64)
        layers.append(MatVec(f"fc{i}", layers[-1].name, weights))
        if i < 3:
            spread = np.sqrt(columns)
            table = np.rint(rng.normal(size=(rows, 1)) * spread).astype(np.int64)
            layers.append(Threshold(f"fc{i}_act", f"fc{i}", table, -1, 2, BIPOLAR))
    layers.append(ArgMax("class", "fc3"))
    return Graph(tuple(layers))


if __name__ == "__main__":
    main()
