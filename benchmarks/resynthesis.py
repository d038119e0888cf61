"""How much faster synthesis is after an edit of one layer: TFC w1a1, each of its layers by turns.

Usage: python -m benchmarks.resynthesis [RUN] [--cycles N] [--writable | --cnv]

RUN is an exported run directory; without it, weights and thresholds are random. All blocks are
synthesised once with an empty store; then, layer by layer, weights and thresholds are replaced by
others and all blocks are synthesised again: the store has every block but the one that changed. The
factor is the first time over the second; that of the mean layer is over the mean of the second
times. Both by the wall clock, where all blocks share this machine's processors and one block has
but one of them, and by processor time, which is the work and does not depend on their number.

With --writable the host can write weights and thresholds, which are then no part of what is
synthesised; with --cnv it is CNV w1a1 at 32,768 cycles a frame instead of TFC.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.cnv_simulation import SEED, random_cnv
from benchmarks.record import print_header
from benchmarks.tfc_synthesis import random_network, trained
from deploy.store import Store
from hw_build.emit import emit
from hw_build.folding import Folding
from hw_build.folding_search import choose_folding
from hw_build.graph import Graph, Layer, MatVec, Threshold
from hw_build.lowering import lower
from hw_build.synthesis import synthesise
from hw_build.writable import writable
from hw_build.yosys import yosys_version


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--cycles", type=int, help="a frame, at most (69; of CNV 34,141)")
    parser.add_argument("--writable", action="store_true", help="the host may replace weights")
    parser.add_argument("--cnv", action="store_true", help="CNV w1a1 with random weights")
    options = parser.parse_args()
    print_header("measured on this machine")
    print(f"with     {yosys_version()}")
    if options.cnv:
        graph = random_cnv(np.random.default_rng(SEED))
    else:
        graph = random_network(64) if options.run is None else trained(options.run)
    graph = writable(graph) if options.writable else graph
    folding = choose_folding(graph, options.cycles or (34_141 if options.cnv else 69))
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch) / "store")
        print("         wall clock            processor time")
        whole = seconds(graph, folding, store)
        print_row("all", whole, whole)
        print_row("nothing", seconds(graph, folding, store), whole)
        times = []
        for layer in graph:
            if isinstance(layer, MatVec):
                times.append(seconds(edited(graph, layer), folding, store))
                print_row(layer.name, times[-1], whole)
        print_row("mean", np.mean(times, axis=0), whole)


def edited(graph: Graph, layer: MatVec) -> Graph:
    """The graph with the layer's neurons, and their thresholds, in another order."""

    def edit(other: Layer) -> Layer:
        if other is layer:
            return replace(layer, weights=np.roll(layer.weights, 1, axis=0))
        if isinstance(other, Threshold) and other.source == layer.name:
            return replace(other, thresholds=np.roll(other.thresholds, 1, axis=0))
        return other

    return Graph(tuple(map(edit, graph)))


def seconds(graph: Graph, folding: dict[str, Folding], store: Store) -> np.ndarray:
    """Synthesises every block that the store lacks; how long that took, wall and processors."""
    blocks = lower(graph, folding)
    with tempfile.TemporaryDirectory() as rtl:
        emit(blocks, Path(rtl))
        started = now()
        synthesise(Path(rtl), blocks, store=store)
        return now() - started


def now() -> np.ndarray:
    """The wall clock, and the processor time of this process and of Yosys' finished ones."""
    user, system, children_user, children_system, _ = os.times()
    return np.array([time.perf_counter(), user + system + children_user + children_system])


def print_row(name: str, took: np.ndarray, whole: np.ndarray) -> None:
    columns = [f"{t:5.1f} s {w / t:6.1f} times" for t, w in zip(took, whole, strict=True)]
    print(f"{name:8} " + "    ".join(columns))


if __name__ == "__main__":
    main()
