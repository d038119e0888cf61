"""Estimates of blocks: against Yosys, against each other, and against what can be counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_graphs import divisor_folding
from small_images import SMALL_IMAGES

from deploy.store import Store
from hw_build.dot_product_cells import dot_product_cells
from hw_build.emit import emit
from hw_build.estimate import block_resources, depthwise_resources, mvu_resources
from hw_build.folding import Folding, fused_thresholds
from hw_build.graph import (
    BIPOLAR,
    ArgMax,
    Depthwise,
    Graph,
    Input,
    IntType,
    MatVec,
    Threshold,
)
from hw_build.lowering import lower
from hw_build.resources import (
    BlockShape,
    Resources,
    block_shape,
    lanes_ram_luts,
    lut_ram_luts,
    rom_columns,
)
from hw_build.synthesis import synthesise, with_port_blocks


def network(weights: list[int], act: IntType, levels: int, sizes=(48, 24, 10)) -> Graph:
    rng = np.random.default_rng(1)
    first = MatVec("fc0", "input", rng.choice(weights, (sizes[1], sizes[0])))
    info = first.infer(Input("input", (sizes[0],), act).infer())
    table = (info.lo + info.hi)[:, None] // 2 + np.sort(rng.integers(-9, 9, (sizes[1], levels)))
    base, step, kind = (-1, 2, BIPOLAR) if levels == 1 else (0, 1, IntType(2, signed=False))
    act_layer = Threshold("fc0_act", "fc0", table, base, step, kind)
    second = MatVec("fc1", "fc0_act", rng.choice(weights, (sizes[2], sizes[1])))
    layers = (Input("input", (sizes[0],), act), first, act_layer, second, ArgMax("class", "fc1"))
    return Graph(layers)


BINARY, TERNARY, INT4 = [-1, 1], [-1, 0, 1], list(range(-8, 8))


@pytest.mark.parametrize(
    ("weights", "act", "levels", "folding"),
    [
        (BINARY, BIPOLAR, 1, {"fc0": Folding(4, 16), "fc1": Folding(2, 8)}),
        (BINARY, BIPOLAR, 1, {"fc0": Folding(4, 8), "fc1": Folding(10, 24, "logic")}),
        (TERNARY, IntType(2, signed=True), 3, {"fc0": Folding(6, 8), "fc1": Folding(5, 5)}),
        (INT4, IntType(3, signed=False), 3, {"fc0": Folding(2, 7), "fc1": Folding(1, 1)}),
    ],
    ids=["binary", "unrolled", "ternary", "int4"],
)
def test_estimates_of_a_whole_accelerator_are_near_yosys(tmp_path, weights, act, levels, folding):
    graph = network(weights, act, levels)
    blocks = lower(graph, folding)
    rtl = tmp_path / "rtl"
    rtl.mkdir()
    emit(blocks, rtl)
    found = synthesise(rtl, blocks, store=Store(Path(tmp_path / "store")))
    estimated = {block.name: block_resources(block) for block in with_port_blocks(blocks)}
    assert estimated.keys() == found.keys()
    total = sum(estimated.values(), Resources())
    assert total.lut == pytest.approx(sum(r.lut for r in found.values()), rel=0.15)
    assert total.ff == pytest.approx(sum(r.ff for r in found.values()), rel=0.15)
    assert total.bram36 == sum(r.bram36 for r in found.values())
    for name in ("fc0", "fc1"):
        assert estimated[name].lut == pytest.approx(found[name].lut, rel=0.25)


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("weights", [BINARY, TERNARY, INT4], ids=["binary", "ternary", "int4"])
def test_a_layer_and_its_block_are_estimated_alike(weights, levels):
    """What folding asks, before there is a block, is what the report tells of the block."""
    for act in (BIPOLAR, IntType(2, signed=True), IntType(4, signed=False)):
        graph = network(weights, act, levels)
        infos = graph.infer()
        for pe, simd in ((1, 1), (5, 7), (24, 48), (3, 16)):
            folding = {"fc0": Folding(pe, simd), "fc1": Folding(2, 3)}
            block = next(b for b in lower(graph, folding) if b.name == "fc0")
            asked = mvu_resources(graph["fc0"], graph["fc0_act"], infos["input"], folding["fc0"])
            told = block_resources(block)
            assert asked.bram36 == told.bram36
            # padding rows may need a bit more than the layer's own
            assert asked.lut == pytest.approx(told.lut, rel=0.12)


@pytest.mark.parametrize("family", SMALL_IMAGES)
def test_units_of_images_are_estimated_as_their_blocks(family):
    """To the last digit, as foldings of images pad nothing; many thresholds are out of reach.

    Only a block knows that different weights happen to be alike word by word.
    """
    for seed in range(4):
        rng = np.random.default_rng(seed)
        graph = SMALL_IMAGES[family](rng)
        folding = divisor_folding(rng, graph)
        infos, fused = graph.infer(), fused_thresholds(graph)
        units = [block for block in lower(graph, folding) if block.module == "mvu"]
        units = [block for block in units if len(set(block.memories[-1].words)) > 1]
        assert units
        for block in units:
            layer, fold = graph[block.name], folding[block.name]
            x = replace(infos[layer.source], type=block.source.type)
            if isinstance(layer, MatVec):
                asked = mvu_resources(layer, fused.get(layer.name), x, fold)
            elif isinstance(layer, Depthwise):
                asked = depthwise_resources(layer, fused.get(layer.name), x, fold)
            else:
                asked = depthwise_resources(None, layer, x, fold)
            told = block_resources(block)
            assert (asked.lut, asked.ff) == pytest.approx((told.lut, told.ff))
            assert asked.bram36 == told.bram36


def test_the_estimate_follows_the_threshold_and_the_input_it_is_asked_for():
    graph = network(BINARY, BIPOLAR, 1)
    fc0, act, infos = graph["fc0"], graph["fc0_act"], graph.infer()
    with_act = mvu_resources(fc0, act, infos["input"], Folding(4, 8))
    scores = mvu_resources(fc0, None, infos["input"], Folding(4, 8))
    eight_bits = Input("input", (48,), IntType(8, signed=False)).infer()
    wide = mvu_resources(fc0, act, eight_bits, Folding(4, 8))
    assert scores.ff > with_act.ff
    assert wide.lut > 2 * with_act.lut
    assert mvu_resources(fc0, act, infos["input"], Folding(4, 8)) == with_act


def test_counting_three_xnors_is_two_luts_and_no_compressor():
    cells = dot_product_cells(0, 1, 2, 1, simd=3, shift=0, width=5)
    assert (cells.counters_lut, cells.lut, cells.held_bits) == (2, 0, 2)
    # 5 columns of the last addition; the second and third number are empty
    assert cells.adder_lut == 5


def test_a_heap_loses_a_bit_for_each_lut_of_a_full_compressor():
    """18 lanes: 6 counters of 2 LUTs, then 6 bits in each of two columns: 2 compressors."""
    cells = dot_product_cells(0, 1, 2, 1, simd=18, shift=0, width=7)
    assert (cells.counters_lut, cells.lut) == (12, 6)
    assert cells.held_bits == 6


@pytest.mark.parametrize("words", [2, 4, 6, 8, 16, 64])
def test_columns_of_shallow_memories_are_few(words):
    rng = np.random.default_rng(words)
    width = 300
    counted = []
    for _ in range(30):
        columns = {column.tobytes() for column in rng.integers(0, 2, (width, words)).astype(bool)}
        address = np.arange(words)
        bits = [(address >> k) & 1 for k in range((words - 1).bit_length())]
        free = [np.zeros(words), np.ones(words), *bits, *(1 - bit for bit in bits)]
        columns -= {column.astype(bool).tobytes() for column in free}
        counted.append(len(columns))
    assert rom_columns(words, width) == pytest.approx(np.mean(counted), rel=0.03, abs=1)


def test_constants_are_wires_and_counters_are_shared():
    """64 PEs have 8 different counters of three constant weights, not 64; zeros have none."""

    def cells(pe: int, words: int, kind: int = 0, ones: tuple[float, ...] = ()):
        return dot_product_cells(kind, 1 + (kind == 1), 2, 1, 36, 0, 8, pe, words, ones)

    assert cells(64, 64).counters_lut == pytest.approx(64 * 24)
    assert cells(64, 1, ones=(0.5,)).counters_lut == pytest.approx(12 * 2 * 8, rel=0.01)
    half, none = (cells(8, 1, kind=1, ones=(share, share / 2)) for share in (0.5, 0.0))
    assert (none.counters_lut, none.lut, none.held_bits) == (0, 0, 0)
    assert 0 < half.lut < cells(8, 64, kind=1).lut
    assert half.constant_adder_lut < half.adder_lut


@pytest.mark.parametrize(
    ("words", "width", "blocks"),
    [(512, 36, 0.5), (512, 72, 1), (1024, 18, 0.5), (2048, 18, 1), (513, 72, 2), (200, 1024, 14.5)],
)
def test_block_memories_take_their_best_shape(words, width, blocks):
    assert block_shape(words, width, written=False) == BlockShape(blocks, 1)


@pytest.mark.parametrize(
    ("words", "width", "blocks", "pieces"),
    [(4096, 55, 7, 1), (3072, 73, 7, 3), (8192, 91, 22, 2), (2560, 149, 11, 5)],
)
def test_deep_written_memories_are_as_yosys_makes_them(words, width, blocks, pieces):
    """Bytes of 9 bits that are written at once, in pieces of the depth: counted in netlists."""
    assert block_shape(words, width, written=True) == BlockShape(blocks, pieces)


@pytest.mark.parametrize(("depth", "luts"), [(2, 4), (32, 4), (64, 8), (128, 24), (256, 42)])
def test_a_buffer_of_six_bits(depth, luts):
    assert lut_ram_luts(depth, 6) == luts


@pytest.mark.parametrize(
    ("words", "lanes", "bits", "cells"),
    [(2, 28, 5, 75), (8, 28, 5, 75), (8, 13, 8, 26), (4, 8, 10, 40)],
)
def test_memories_that_lanes_read_by_themselves_are_as_yosys_makes_them(words, lanes, bits, cells):
    """RAM32M of the stages of `threshold_search`, counted in netlists: of one address or three."""
    assert lanes_ram_luts(words, lanes, bits) == 4 * cells
