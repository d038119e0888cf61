"""A whole convolutional accelerator after Yosys: CNV w1a1 for 32 x 32 x 3 images, 2,929 frames/s.

Usage: python -m benchmarks.cnv_synthesis [RUN] [--interval CYCLES] [--clock-luts N] [--seeds N]

RUN is an exported run directory; without it, weights and thresholds are random. Every block is
synthesised by itself. Beside its LUTs stand its deepest path and the clock that nextpnr reaches
for the same RTL on an ECP5, the best of the seeds 1 to N, for blocks of `--clock-luts` or less.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.cnv_simulation import SEED, random_cnv
from benchmarks.record import print_header
from benchmarks.synthesis_table import print_synthesis
from hw_build.ecp5 import KIND as CLOCK_KIND
from hw_build.fifo_sizing import size_fifos
from hw_build.fifos import with_fifos
from hw_build.folding_search import choose_folding
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.timing import predict
from hw_build.yosys import nextpnr_ecp5_version, yosys_version

MOST_LUTS, MOST_BRAM36 = 20_000, 140
"""What the accelerator may take: the block RAMs are those of a Zynq-7020."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--interval", type=int, default=34_141, help="cycles a frame, at most")
    parser.add_argument("--clock-luts", type=int, default=150, help="0: no clocks, which are slow")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    print_header(f"synthesised (not placed); clock: {CLOCK_KIND}")
    print(f"with     {yosys_version()}; {nextpnr_ecp5_version()}")
    if options.run is None:
        graph = random_cnv(np.random.default_rng(SEED))
    else:
        graph = import_qonnx(options.run / "model.onnx", "class").graph
    print(f"network  {'CNV w1a1, random weights' if options.run is None else options.run}")
    bare = lower(graph, choose_folding(graph, options.interval))
    blocks = with_fifos(bare, size_fifos(bare))
    interval = predict(blocks).interval
    print(f"cycles   {interval} a frame, {1e8 / interval:,.0f} frames/s at 100 MHz, if it closes")
    total = print_synthesis(blocks, options.seeds, options.clock_luts)
    met = "met" if total.lut <= MOST_LUTS and total.bram36 <= MOST_BRAM36 else "MISSED"
    print(f"target   at most {MOST_LUTS} LUT and {MOST_BRAM36} block RAMs: {met}")


if __name__ == "__main__":
    main()
