"""How far estimated LUTs, registers and block RAMs are from what Yosys makes of the same blocks.

Usage: python -m benchmarks.estimate_error [--networks N] [--each N] [--seed S] [--seconds T]
    [--blocks]

The sample is seeded random networks of two layers (every weight kind, 1 to 8 bit activations,
random foldings, scores or class or quantised outputs), and as many random blocks of each kind that
convolutional networks have as `--each` says. Errors are (estimated - synthesised) / synthesised, of
blocks of `LEAST_LUTS` or more; the small ones count in the sums and are named if they are far off.
Results of Yosys are kept in the store: a second run is quick. Seeds of 100 and more were used to
fit the formulas.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.random_blocks import KINDS as IMAGE_KINDS
from benchmarks.random_blocks import random_block
from benchmarks.record import print_header
from deploy.store import Store
from hw_build.blocks import Block
from hw_build.emit import RTL_FOLDER, emit
from hw_build.estimate import block_resources
from hw_build.folding import Folding
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold
from hw_build.lowering import lower
from hw_build.resources import Resources
from hw_build.synthesis import Synthesised, synthesise, synthesise_block, with_port_blocks
from hw_build.yosys import yosys_version

ACTS = (
    *(BIPOLAR, BIPOLAR, IntType(2, False), IntType(2, True), IntType(3, True)),
    *(IntType(4, False), IntType(8, False), IntType(8, True)),
)
KINDS = ("binary", "binary", "ternary", "quinary", "int3", "int4", "int8")
MOST_PRODUCTS = 600
"""One-bit products of a layer in a cycle, at most: what keeps Yosys to seconds a block."""
MOST_WORDS = 1024
"""Words of a weight memory, at most, for the same reason."""


LEAST_LUTS = 30
"""Blocks smaller than this have no relative error to speak of."""

Sample = tuple[Block, Resources, Synthesised]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--each", type=int, default=15, help="random blocks of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=900.0, help="no new block after that")
    parser.add_argument("--blocks", action="store_true", help="a line for each block")
    options = parser.parse_args()
    print_header("estimated, against synthesised (not placed)")
    print(f"with     {yosys_version()}")
    until = time.monotonic() + options.seconds
    pairs = list(image_sample(options.seed, options.each, until))
    pairs += sample(options.seed, options.networks, until)
    if options.blocks:
        for block, estimate, found in pairs:
            print(
                f"{block.module:18}{estimate.lut:8.0f}{found.lut:8}{estimate.ff:8.0f}{found.ff:8}"
                f"{estimate.bram36:8}{found.bram36:8}"
            )
    print(f"{'block':18}{'number':>7}{'LUT: median':>13}{'worst':>8}{'sum':>8}{'FF: median':>12}")
    for module in (*dict.fromkeys(map(_kind, (block for block, _, _ in pairs))), "all"):
        rows = [(e, f) for b, e, f in pairs if module in (_kind(b), "all")]
        lut = [(e.lut - f.lut) / f.lut for e, f in rows if f.lut >= LEAST_LUTS]
        ff = [(e.ff - f.ff) / f.ff for e, f in rows if f.ff >= LEAST_LUTS]
        total = sum(e.lut for e, _ in rows) / max(1, sum(f.lut for _, f in rows)) - 1
        worst = max(lut, key=abs, default=0.0)
        print(
            f"{module:18}{len(rows):7}{_median(lut):12.1%}{worst:+9.0%}{total:+8.1%}{_median(ff):11.1%}"
        )
    small = [(e.lut - f.lut, f.lut) for _, e, f in pairs if 0 < f.lut < LEAST_LUTS]
    far = [(error, lut) for error, lut in small if abs(error) > 0.3 * lut]
    errors = [(e.lut - f.lut) / f.lut for _, e, f in pairs if f.lut]
    print(f"all blocks    median {_median(errors):.1%}, small ones included")
    print(
        f"small blocks  {len(small)} of less than {LEAST_LUTS} LUTs, {len(far)} of them more than"
        f" 30 % off, by up to {max((abs(error) for error, _ in far), default=0):.0f} LUTs"
    )
    wrong = sum(e.bram36 != f.bram36 for _, e, f in pairs)
    print(f"block RAM     {wrong} of {len(pairs)} blocks unlike the estimate")


def _kind(block: Block) -> str:
    return "mvu, depthwise" if block.parameters.get("DEPTHWISE") else block.module


def _median(errors: list[float]) -> float:
    return statistics.median(abs(error) for error in errors) if errors else 0.0


def image_sample(seed: int, each: int, until: float) -> Iterator[Sample]:
    """Random blocks of every kind, with their estimated and their synthesised resources."""
    blocks = [
        random_block(np.random.default_rng([seed, number, i]), kind)
        for number in range(each)
        for i, kind in enumerate(IMAGE_KINDS)
    ]
    store = Store()

    def found(block: Block) -> Synthesised | None:
        if time.monotonic() > until:
            return None
        return synthesise_block(RTL_FOLDER, block, "xc7", store)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for block, result in zip(blocks, pool.map(found, blocks), strict=True):
            if result is not None:
                yield block, block_resources(block), result


def sample(seed: int, networks: int, until: float) -> Iterator[Sample]:
    """Blocks of random networks, likewise."""
    for number in range(networks):
        if time.monotonic() > until:
            return
        graph, folding = random_network(np.random.default_rng([seed, number]), number)
        blocks = lower(graph, folding)
        with tempfile.TemporaryDirectory() as scratch:
            emit(blocks, Path(scratch))
            found = synthesise(Path(scratch), blocks)
        for block in with_port_blocks(blocks):
            yield block, block_resources(block), found[block.name]


def random_network(rng: np.random.Generator, number: int) -> tuple[Graph, dict[str, Folding]]:
    """Two layers of 8 to 200 neurons that end in scores, in a class, or in quantised values."""
    sizes = [int(n) for n in rng.integers(8, 200, 3)]
    if number % 3 == 1:
        sizes[2] = int(rng.integers(2, 20))  # of an arg max
    acts = [ACTS[i] for i in rng.integers(len(ACTS), size=3)]
    layers: list = [Input("input", (sizes[0],), acts[0])]
    folding = {}
    for i in range(2):
        weights = _weights(rng, KINDS[rng.integers(len(KINDS))], (sizes[i + 1], sizes[i]))
        matvec = MatVec(f"fc{i}", layers[-1].name, weights)
        folding[matvec.name] = _folding(rng, matvec, acts[i])
        layers.append(matvec)
        if i == 0 or number % 3 == 2:
            layers.append(_threshold(rng, Graph(tuple(layers)), acts[i + 1]))
    if number % 3 == 1:
        layers.append(ArgMax("class", layers[-1].name))
    return Graph(tuple(layers)), folding


def _weights(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    levels = {"binary": [-1, 1], "ternary": [-1, 0, 1], "quinary": [-2, -1, 0, 1, 2]}
    if kind in levels:
        return rng.choice(levels[kind], shape).astype(np.int64)
    half = 1 << (int(kind.removeprefix("int")) - 1)
    return rng.integers(-half, half, shape)


def _folding(rng: np.random.Generator, matvec: MatVec, act: IntType) -> Folding:
    rows, columns = matvec.weights.shape
    products = int(MOST_PRODUCTS ** rng.uniform(0.4, 1.0)) / (matvec.weight_bits * act.bits)
    products = max(products, rows * columns / MOST_WORDS)
    simd = int(np.clip(2 ** rng.uniform(0, 7), 1, min(columns, max(1, products))))
    return Folding(int(np.clip(products / simd, 1, rows)), simd)


def _threshold(rng: np.random.Generator, graph: Graph, kind: IntType) -> Threshold:
    matvec = graph.output
    info = graph.infer()[matvec.name]
    base = -1 if kind.bipolar else kind.lo + int(kind.signed)
    step = 2 if kind.bipolar else 1
    kind_levels = min((kind.hi - base) // step, 15)
    middle, spread = (info.lo + info.hi) / 2, (info.hi - info.lo) * 0.12
    table = middle[:, None] + rng.normal(size=(info.n_channels, kind_levels)) * spread[:, None]
    table = np.sort(np.rint(table).astype(np.int64), axis=1)
    return Threshold(f"{matvec.name}_act", matvec.name, table, base, step, kind)


if __name__ == "__main__":
    main()
