"""A picture of the accelerator's pipeline as SVG: a box per block, an arrow per stream.

Colours and fonts come from the page by class: `box`, `hot` (the bottleneck), `bar`, `busy`,
`arrow`, and for text `name`, `small`, `tag`. What colour says, text says as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element, SubElement, tostring

from .blocks import Block, Stream, ports

BOX_WIDTH, BOX_HEIGHT = 198, 110
GAP_X, GAP_Y = 92, 44
MARGIN = 6
LABEL_ROOM = 40
"""What a label beside a downward arrow may need to the right of the boxes."""
NAME_CHARACTERS, TEXT_CHARACTERS = 20, 28
"""What fits a box; longer texts are cut, and stand whole in the box's tooltip."""


@dataclass(frozen=True)
class Box:
    """What a box says: a block or a port of the accelerator."""

    name: str
    task: str
    folding: str
    cycles: int


def pipeline_svg(blocks: tuple[Block, ...], interval: int, port_bits: int, columns: int = 4) -> str:
    """The pipeline as an SVG element, `columns` boxes in a row, in stream order.

    Bars show how much of `interval` (cycles per frame) a block is busy; a block that is busy in
    all of them is marked as the bottleneck.
    """
    first, last = ports(blocks)
    boxes = [
        Box("input port", f"{first.n} × {first.type}", f"{port_bits}-bit AXI4-Stream", first.beats),
        *(_box_of(block) for block in blocks),
        Box("output port", f"{last.n} × {last.type}", f"{port_bits}-bit AXI4-Stream", last.beats),
    ]
    streams = [first, *(block.sink for block in blocks)]
    n_rows = -(-len(boxes) // columns)
    width = 2 * MARGIN + columns * BOX_WIDTH + (columns - 1) * GAP_X
    width += LABEL_ROOM if columns == 1 else 0
    height = 2 * MARGIN + n_rows * BOX_HEIGHT + (n_rows - 1) * GAP_Y
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {height}",
            "width": str(width),
            "height": str(height),
            "role": "img",
            "class": "pipeline",
        },
    )
    SubElement(svg, "title").text = f"Pipeline of {len(blocks)} blocks, {interval} cycles per frame"
    places = [_place(index, columns) for index in range(len(boxes))]
    for stream, (start, end) in zip(streams, pairwise(places), strict=True):
        _draw_arrow(svg, stream, start, end)
    for box, place in zip(boxes, places, strict=True):
        _draw_box(svg, box, place, interval)
    return tostring(svg, encoding="unicode")


def _box_of(block: Block) -> Box:
    values, source, sink = block.parameters, block.source, block.sink
    match block.module:
        case "mvu":
            task = f"matrix-vector, {source.n} → {sink.n}"
            folding = f"PE {values['PE']} × SIMD {values['SIMD']}"
        case "lane_splitter" | "lane_joiner":
            task = block.module.replace("_", " ")
            folding = f"{source.lanes} → {sink.lanes} lanes"
        case _:
            task = block.module.replace("_", " ")
            folding = f"{source.lanes} of {source.n} a cycle"
    return Box(block.name, task, folding, block.cycles)


def _place(index: int, columns: int) -> tuple[int, int]:
    """The left upper corner of the box of that index."""
    row, column = divmod(index, columns)
    return MARGIN + column * (BOX_WIDTH + GAP_X), MARGIN + row * (BOX_HEIGHT + GAP_Y)


def _draw_box(svg: Element, box: Box, place: tuple[int, int], interval: int) -> None:
    x, y = place
    is_bottleneck = box.cycles >= interval
    share = min(1.0, box.cycles / interval)
    group = SubElement(svg, "g", {"class": "hot"} if is_bottleneck else {})
    SubElement(group, "title").text = f"{box.name}: {box.task}, {box.folding}, {box.cycles} cycles"
    size = {"width": str(BOX_WIDTH), "height": str(BOX_HEIGHT), "rx": "4"}
    SubElement(group, "rect", {"x": str(x), "y": str(y), **size, "class": "box"})
    left, right = x + 12, x + BOX_WIDTH - 12
    _text(group, left, y + 21, _cut(box.name, NAME_CHARACTERS), "name")
    _text(group, left, y + 39, _cut(box.task, TEXT_CHARACTERS), "small")
    _text(group, left, y + 55, _cut(box.folding, TEXT_CHARACTERS), "small")
    _text(group, left, y + 75, _count(box.cycles, "cycle"), "small")
    _text(group, right, y + 75, f"{100 * share:.0f} %", "small", "end")
    track = right - left
    for length, kind in ((track, "bar"), (track * share, "busy")):
        SubElement(
            group,
            "rect",
            {
                "x": str(left),
                "y": str(y + 82),
                "width": f"{length:.1f}",
                "height": "5",
                "class": kind,
            },
        )
    if is_bottleneck:
        _text(group, left, y + 100, "bottleneck", "tag")


def _draw_arrow(svg: Element, stream: Stream, start: tuple[int, int], end: tuple[int, int]) -> None:
    """From a box to the next, which is beside it or begins the next row."""
    width, beats = f"{stream.width:,} bit/beat", _count(stream.beats, "beat")
    (x0, y0), (x1, y1) = start, end
    if y0 == y1:
        tip, y = x1 - 2, y0 + BOX_HEIGHT // 2
        _line(svg, [(x0 + BOX_WIDTH + 2, y), (tip - 6, y)])
        _head(svg, [(tip, y), (tip - 8, y - 4), (tip - 8, y + 4)])
        middle = x0 + BOX_WIDTH + GAP_X // 2
        _text(svg, middle, y - 7, width, "small", "middle")
        _text(svg, middle, y + 17, beats, "small", "middle")
        return
    top, tip, middle = y0 + BOX_HEIGHT + 2, y1 - 2, y0 + BOX_HEIGHT + GAP_Y // 2
    from_x, to_x = x0 + BOX_WIDTH // 2, x1 + BOX_WIDTH // 2
    if x0 == x1:  # one column: arrows stand on the left, their labels beside them
        from_x = to_x = x0 + 24
        _line(svg, [(from_x, top), (to_x, tip - 6)])
        _text(svg, to_x + 12, middle + 4, f"{width}, {beats}", "small")
    else:
        _line(svg, [(from_x, top), (from_x, middle), (to_x, middle), (to_x, tip - 6)])
        _text(svg, (from_x + to_x) // 2, middle - 6, f"{width}, {beats}", "small", "middle")
    _head(svg, [(to_x, tip), (to_x - 4, tip - 8), (to_x + 4, tip - 8)])


def _line(svg: Element, points: Sequence[tuple[int, int]]) -> None:
    path = " ".join(f"{x},{y}" for x, y in points)
    SubElement(svg, "polyline", {"points": path, "class": "arrow"})


def _head(svg: Element, points: Sequence[tuple[int, int]]) -> None:
    path = " ".join(f"{x},{y}" for x, y in points)
    SubElement(svg, "polygon", {"points": path, "class": "arrowhead"})


def _text(parent: Element, x: int, y: int, text: str, kind: str, anchor: str = "start") -> None:
    attributes = {"x": str(x), "y": str(y), "class": kind, "text-anchor": anchor}
    SubElement(parent, "text", attributes).text = text


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
