"""LUTs per multiply-accumulate and cycle of one matrix-vector unit, after Yosys.

Usage: python -m benchmarks.lut_per_mac [--pe N] [--simd N] [--no-clock]

The unit is whole: input buffer, weights, dot products, accumulators, thresholds, control, with
random weights. "Without weights" is the same RTL with BLOCK_MEMORY = 1: the weights then lie in
block RAM and take no LUT. "Depth" is the number of words of the weight memory. Beside each count
stand the deepest path and the clock that nextpnr reaches for the same RTL on an ECP5.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.record import print_header
from deploy.store import Store
from hw_build.blocks import Block
from hw_build.ecp5 import KIND as CLOCK_KIND
from hw_build.ecp5 import clock_of_block
from hw_build.emit import emit
from hw_build.folding import Folding
from hw_build.graph import BIPOLAR, Graph, Input, IntType, MatVec, Threshold
from hw_build.lowering import lower
from hw_build.synthesis import synthesise_block
from hw_build.yosys import nextpnr_ecp5_version, yosys_version

SEED = 1
INT2 = IntType(2, signed=True)
UNITS = (
    # kind of weights, inputs, folds in and out
    ("binary", BIPOLAR, 4, 2),
    ("binary", BIPOLAR, 8, 6),
    ("binary", BIPOLAR, 8, 8),
    ("ternary", BIPOLAR, 4, 2),
    ("ternary", INT2, 4, 2),
    ("quinary", INT2, 4, 2),
)
TARGETS = {"without weights": 1.8, "depth 8": 2.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pe", type=int, default=16)
    parser.add_argument("--simd", type=int, default=64)
    parser.add_argument("--no-clock", action="store_true", help="skip nextpnr, which takes minutes")
    options = parser.parse_args()
    print_header(f"synthesised (not placed); clock: {CLOCK_KIND}, seed {SEED}")
    print(f"with     {yosys_version()}; {nextpnr_ecp5_version()}")
    macs = options.pe * options.simd
    print(f"unit     {options.simd} x {options.pe}, {macs} MAC a cycle; one threshold a channel")
    print(
        f"{'weights x inputs':20}{'weights in':>18}{'LUT':>7}{'LUT/MAC':>9}{'FF':>7}"
        f"{'BRAM36':>8}{'depth':>7}{'clock':>12}"
    )
    for kind, act, fold_in, fold_out in UNITS:
        block = unit_block(kind, act, Folding(options.pe, options.simd), fold_in, fold_out)
        words = fold_in * fold_out
        for memory, label in ((0, f"depth {words}"), (1, "without weights")):
            if memory and words != 8:
                continue
            report(
                replace(block, parameters={**block.parameters, "BLOCK_MEMORY": memory}),
                f"{kind} x {act}",
                label,
                macs,
                clocked=not options.no_clock,
            )


def report(block: Block, name: str, label: str, macs: int, clocked: bool) -> None:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        emit((block,), Path(scratch))
        found = synthesise_block(Path(scratch), block, "xc7", Store())
        clock = "-"
        if clocked:
            clock = f"{clock_of_block(Path(scratch), block, SEED).clock_mhz:.0f} MHz"
    target = TARGETS.get(label) if name.startswith("binary") else None
    verdict = ""
    if target is not None:
        verdict = f"  {'meets' if found.lut / macs <= target else 'MISSES'} {target}"
    print(
        f"{name:20}{label:>18}{found.lut:7}{found.lut / macs:9.2f}{found.ff:7}{found.bram36:8}"
        f"{found.depth:7}{clock:>12}{verdict}",
        flush=True,
    )


def unit_block(kind: str, act: IntType, fold: Folding, fold_in: int, fold_out: int) -> Block:
    """A matrix-vector unit with random weights and one threshold a channel, drawn with seed 0."""
    rng = np.random.default_rng(0)
    shape = (fold.pe * fold_out, fold.simd * fold_in)
    levels = {"binary": [-1, 1], "ternary": [-1, 0, 1], "quinary": [-2, -1, 0, 1, 2]}
    weights = rng.choice(levels[kind], shape).astype(np.int64)
    source = Input("input", (shape[1],), act)
    matvec = MatVec("fc", "input", weights)
    info = matvec.infer(source.infer())
    middle = (info.lo + info.hi)[:, None] // 2 + rng.integers(-3, 4, (shape[0], 1))
    threshold = Threshold("fc_act", "fc", middle, -1, 2, BIPOLAR)
    blocks = lower(Graph((source, matvec, threshold)), {"fc": fold})
    return next(block for block in blocks if block.module == "mvu")


if __name__ == "__main__":
    main()
