"""How far estimated LUTs, registers and block RAMs are from what Yosys makes of the same blocks.

Usage: python -m benchmarks.estimate_error [--networks N] [--seed S] [--blocks]

The sample is seeded random networks of two layers: every weight kind, 1 to 8 bit activations,
random foldings, scores or class or quantised outputs, so that every kind of block occurs. Errors
are (estimated - synthesised) / synthesised, of blocks of 20 LUTs or more; the small ones count in
the sums. Results of Yosys are kept in the store: a second run is quick.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.record import print_header
from hw_build.blocks import Block
from hw_build.emit import emit
from hw_build.estimate import block_resources
from hw_build.folding import Folding
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold
from hw_build.lowering import lower
from hw_build.resources import Resources
from hw_build.synthesis import Synthesised, synthesise, with_port_blocks
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blocks", action="store_true", help="a line for each block")
    options = parser.parse_args()
    print_header("estimated, against synthesised (not placed)")
    print(f"with     {yosys_version()}")
    pairs = list(sample(options.seed, options.networks))
    if options.blocks:
        for block, estimate, found in pairs:
            print(
                f"{block.module:14}{estimate.lut:8.0f}{found.lut:8}{estimate.ff:8.0f}{found.ff:8}"
            )
    print(f"{'block':14}{'number':>7}{'LUT: median':>13}{'worst':>8}{'sum':>8}{'FF: median':>12}")
    for module in (*dict.fromkeys(block.module for block, _, _ in pairs), "all"):
        rows = [(e, f) for b, e, f in pairs if module in (b.module, "all")]
        lut = [(e.lut - f.lut) / f.lut for e, f in rows if f.lut >= 20]
        ff = [(e.ff - f.ff) / f.ff for e, f in rows if f.ff >= 20]
        total = sum(e.lut for e, _ in rows) / max(1, sum(f.lut for _, f in rows)) - 1
        worst = max(lut, key=abs, default=0.0)
        print(
            f"{module:14}{len(rows):7}{_median(lut):12.1%}{worst:+9.0%}{total:+8.1%}{_median(ff):11.1%}"
        )
    wrong = sum(e.bram36 != f.bram36 for _, e, f in pairs)
    print(f"block RAM     {wrong} of {len(pairs)} blocks unlike the estimate")


def _median(errors: list[float]) -> float:
    return statistics.median(abs(error) for error in errors) if errors else 0.0


def sample(seed: int, networks: int) -> Iterator[tuple[Block, Resources, Synthesised]]:
    """Blocks of random networks, with their estimated and their synthesised resources."""
    for number in range(networks):
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
