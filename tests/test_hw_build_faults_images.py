"""Fault injection in an accelerator of images, in which every module of the RTL occurs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_networks import random_inputs, random_thresholds, random_weights

from benchmarks.branch_mutants import BRANCH_MUTANTS
from benchmarks.fault_injection import sized, small_folding
from benchmarks.faults import MUTANTS, Bench, escaped
from benchmarks.image_mutants import IMAGE_MUTANTS
from benchmarks.memory_faults import sample_memory_faults
from benchmarks.mutants import COMPRESSED
from benchmarks.register_mutants import REGISTER_MUTANTS
from hw_build.emit import MODULES, TOP
from hw_build.folding import Folding
from hw_build.graph import (
    Add,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    IntType,
    MatVec,
    MaxPool,
    Pad,
    TopK,
    Upsample,
    Window,
)

UINT2 = IntType(2, signed=False)
N_INPUTS = 120
TRIED_MUTANTS = (
    "next window a word further",
    "next beat kept from the first sink",
    "latency of the last frame",
)


def network(rng: np.random.Generator) -> Graph:
    """Branches that are added, and others that are joined; both kinds of windows; the best two."""
    graph = Graph((Input("input", (6, 5, 2), UINT2),))

    def add(layer: object) -> str:
        nonlocal graph
        graph = Graph((*graph.layers, layer))
        return layer.name

    def threshold(name: str, source: str) -> str:
        return add(random_thresholds(rng, name, source, graph, UINT2))

    def weights(rows: int, columns: int) -> np.ndarray:
        return random_weights(rng, "ternary", rows, columns)

    x = add(Window("window0", add(Pad("pad0", "input", 1, 1, 1, 1, 0)), (3, 3)))
    x = threshold("act0", add(MatVec("conv0", x, weights(4, 18))))
    y = add(Window("window1", add(Pad("pad1", x, 1, 0, 1, 2, 1)), (3, 3)))
    y = threshold("act1", add(Depthwise("depthwise", y, weights(4, 9))))
    x = threshold("act2", add(Add("add", x, y, (1, 2))))
    y = threshold("act3", add(MatVec("conv3", add(Window("window3", x, (2, 2))), weights(4, 16))))
    x = add(MaxPool("pool", add(Window("window4", x, (2, 2))), 4))
    x = add(Upsample("upsample", add(Concat("concat", (x, y))), (2, 2)))
    x = add(Window("window5", x, (2, 2), (4, 3)))
    x = threshold("act5", add(MatVec("conv5", x, weights(4, 32))))
    x = add(Flatten("flatten", x))
    n = graph.infer()[x].n_channels
    add(TopK("best", add(MatVec("scores", x, weights(7, n))), 2))
    return graph


FOLDING = {
    "conv0": Folding(2, 18),
    "depthwise": Folding(2, 1),
    "add": Folding(2, 1),
    "act2": Folding(2, 1),
    "conv3": Folding(2, 16),
    "pool": Folding(2, 1),
    "concat": Folding(2, 1),
    "upsample": Folding(2, 1),
    "conv5": Folding(2, 8),
    "scores": Folding(3, 5),
}


def new_bench(folder: Path, *, compress: bool = False) -> Bench:
    rng = np.random.default_rng(3)
    graph = network(rng)
    blocks = sized(graph, small_folding(graph) if compress else FOLDING)
    return Bench(graph, blocks, random_inputs(rng, graph, N_INPUTS), folder, compress=compress)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return new_bench(tmp_path_factory.mktemp("bench"))


def test_every_module_is_tried(bench: Bench) -> None:
    """But the index of one score, what writes memories, and what stands in for the compressors."""
    tried = {mutant.module for mutant in bench.applicable(MUTANTS)}
    assert tried == {*MODULES, TOP} - {*COMPRESSED, "arg_max", "memory_writer"}


@pytest.mark.parametrize("name", TRIED_MUTANTS)
def test_a_changed_rtl_is_caught(name: str, bench: Bench) -> None:
    (mutant,) = (m for m in bench.applicable(MUTANTS) if m.name == name)
    verdict = bench.try_mutant(mutant)
    assert verdict.shows
    assert not escaped([verdict])


def test_bits_of_image_layers_are_caught(bench: Bench) -> None:
    faults = sample_memory_faults(bench.blocks, 30, seed=0)
    verdicts = [bench.try_memory_fault(fault) for fault in faults]
    assert escaped(verdicts) == []
    assert sum(v.shows for v in verdicts) > 15
    assert not [v.name for v in verdicts if v.shows and v.dead_because]


@pytest.mark.nightly
def test_every_mutant_that_shows_is_caught(bench: Bench) -> None:
    tried = bench.applicable((*IMAGE_MUTANTS, *BRANCH_MUTANTS, *REGISTER_MUTANTS))
    verdicts = [bench.try_mutant(mutant) for mutant in tried]
    assert [v.name for v in escaped(verdicts)] == []
    shown = [v.name.partition(".sv")[0] for v in verdicts if v.shows]
    assert {*shown} == {mutant.module for mutant in tried}
    assert len(shown) > len(tried) * 4 // 5
