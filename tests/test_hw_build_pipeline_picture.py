"""The picture of the dataflow: every block and stream in it, nothing upon anything else."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_build.blocks import Block
from hw_build.fifos import with_fifos
from hw_build.folding import Folding
from hw_build.graph import Add, Graph, Input, IntType, MatVec, Threshold, Window
from hw_build.lowering import lower
from hw_build.picture_layout import BOX_WIDTH, Layout, arrange
from hw_build.pipeline_picture import pipeline_svg

SVG = "{http://www.w3.org/2000/svg}"


def residual(name: str = "act") -> tuple[Block, ...]:
    """A convolution beside a path that skips it, with a FIFO on that path."""
    rng = np.random.default_rng(2)
    levels = np.sort(rng.integers(-9, 9, (4, 3)))
    graph = Graph(
        (
            Input("input", (4, 4, 2), IntType(2, signed=True)),
            MatVec("conv0", "input", rng.choice([-1, 1], (4, 2))),
            Threshold(name, "conv0", levels, 0, 1, IntType(2, signed=False)),
            Window("window", name, (1, 1)),
            MatVec("conv1", "window", rng.choice([-1, 1], (4, 4))),
            Threshold("act1", "conv1", levels, 0, 1, IntType(2, signed=False)),
            Add("add", "act1", name),
        )
    )
    foldings = {"conv0": Folding(2, 2), "conv1": Folding(1, 2), "add": Folding(1, 1)}
    blocks = lower(graph, foldings)
    fork = next(block for block in blocks if block.module == "stream_fork")
    return with_fifos(blocks, {fork.sinks[1].name: 40})


@pytest.mark.parametrize("n_columns", [None, 1, 2, 3])
def test_every_block_and_every_stream_is_drawn(n_columns: int | None) -> None:
    blocks = residual()
    svg = pipeline_svg(blocks, 64, 64, n_columns)
    names = re.findall(r'class="name"[^>]*>([^<]*)<', svg)
    assert names == ["input port", *(block.name for block in blocks), "output port"]
    wires = re.findall(r"<title>([^<]*) to ([^<]*): (\w+),", svg)
    made = {s.name: block.name for block in blocks for s in block.sinks}
    expected = {
        (made.get(s.name, "input port"), block.name, s.name)
        for block in blocks
        for s in block.sources
    }
    expected.add((blocks[-1].name, "output port", blocks[-1].sink.name))
    assert set(wires) == expected
    assert svg.count("<polyline") == svg.count("<polygon") == len(wires) == len(expected)
    assert "FIFO of 40 × 4 bit" in svg


def test_labels_give_bits_and_beats_of_the_stream() -> None:
    blocks = residual()
    svg = ElementTree.fromstring(pipeline_svg(blocks, 64, 64))
    seen = {}
    for group in svg.iter(f"{SVG}g"):
        if group.get("class") == "stream":
            name = group.find(f"{SVG}title").text.split(": ")[1].split(",")[0]
            seen[name] = group.find(f"{SVG}text").text
    streams = {s.name: s for block in blocks for s in (*block.sources, *block.sinks)}
    assert seen == {name: f"{s.width} bit × {s.beats}" for name, s in streams.items()}


def test_the_busiest_blocks_are_the_bottleneck() -> None:
    blocks = residual()
    slowest = max(block.cycles for block in blocks)
    n_slowest = sum(block.cycles == slowest for block in blocks)
    svg = pipeline_svg(blocks, slowest, 64)
    assert svg.count(">bottleneck</text>") == n_slowest
    assert ">bottleneck</text>" not in pipeline_svg(blocks, slowest + 1, 64)


def test_a_long_name_is_cut_in_its_box_and_whole_in_its_tooltip() -> None:
    name = "a" * 70
    svg = pipeline_svg(residual(name), 100, 64)
    assert f">{name}" not in re.sub(r"<title>[^<]*</title>", "", svg)
    assert f"<title>{name}" in svg


def test_a_picture_of_its_own_brings_its_style() -> None:
    assert "prefers-color-scheme: dark" in pipeline_svg(residual(), 100, 64, styled=True)
    assert "<style" not in pipeline_svg(residual(), 100, 64)


@st.composite
def dataflows(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]], int]:
    """Boxes in stream order, each reading one or two earlier ones, each read at most twice."""
    heights = draw(st.lists(st.sampled_from([44, 96, 114]), min_size=2, max_size=24))
    free = [0, 0]
    edges = []
    for i in range(1, len(heights)):
        n = draw(st.integers(1, 2))
        near = sorted(free, reverse=True)
        for source in draw(st.permutations(near))[:n]:
            edges.append((source, i))
            free.remove(source)
        free += [i, i]
    return heights, edges, draw(st.integers(1, 5))


def segments(layout: Layout) -> list[tuple[int, str, int, int, int]]:
    """(wire, direction, fixed coordinate, from, to) of every piece of every wire."""
    found = []
    for number, wire in enumerate(layout.wires):
        for (x0, y0), (x1, y1) in pairwise(wire.points):
            assert x0 == x1 or y0 == y1, "a slanted piece"
            if x0 == x1:
                found.append((number, "|", x0, min(y0, y1), max(y0, y1)))
            else:
                found.append((number, "-", y0, min(x0, x1), max(x0, x1)))
    return found


@settings(max_examples=150, deadline=None)
@given(dataflows())
def test_no_two_wires_share_a_line_and_none_runs_through_a_box(dataflow) -> None:
    heights, edges, n_columns = dataflow
    layout = arrange(heights, edges, n_columns)
    boxes = [
        (x, y, x + BOX_WIDTH, y + h) for (x, y), h in zip(layout.corners, heights, strict=True)
    ]
    for (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) in combinations(boxes, 2):
        assert ax1 < bx0 or bx1 < ax0 or ay1 < by0 or by1 < ay0
    assert all(right <= layout.width and low <= layout.height for _, _, right, low in boxes)
    for wire in layout.wires:
        assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in wire.points)
    for (start, end), wire in zip(edges, layout.wires, strict=True):
        (x0, y0), (x1, y1) = wire.points[0], wire.points[-1]
        assert boxes[start][0] < x0 < boxes[start][2]
        assert y0 == boxes[start][3]
        assert boxes[end][0] < x1 < boxes[end][2]
        assert y1 == boxes[end][1]
    pieces = segments(layout)
    for number, way, at, low, high in pieces:
        for x0, y0, x1, y1 in boxes:
            across, along = ((x0, x1), (y0, y1)) if way == "|" else ((y0, y1), (x0, x1))
            inside = across[0] < at < across[1] and low < along[1] and high > along[0]
            assert not inside, f"wire {number} runs through a box"
    for (a, way, at, low, high), (b, other_way, other_at, start, end) in combinations(pieces, 2):
        if a != b and way == other_way and at == other_at:
            assert high <= start or end <= low, f"wires {a} and {b} share a line"
