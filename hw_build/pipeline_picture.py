"""A picture of the accelerator's dataflow as SVG: a box per block, an arrow per stream.

Colours and fonts come from `templates/pipeline.css` by class: `box`, `hot` (the bottleneck),
`minor` (converters, forks, FIFOs), `bar`, `busy`, `arrow`, and for text `name`, `small`, `tag`.
What colour says, text says as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from .blocks import Block, Stream, ports
from .picture_layout import BOX_WIDTH, Edge, Point, Wire, arrange

HEIGHT, MINOR_HEIGHT, TAG_HEIGHT = 96, 44, 18
NAME_CHARACTERS, TEXT_CHARACTERS = 22, 30
"""What fits a box; longer texts are cut, and stand whole in the box's tooltip."""
COLUMN_HEIGHT, MOST_COLUMNS = 640, 4
MINOR = {"lane_splitter", "lane_joiner", "deep_fifo", "stream_fork"}
STYLE = Path(__file__).parent / "templates" / "pipeline.css"


@dataclass(frozen=True)
class Box:
    """What a box says: a block or a port of the accelerator. A small one has no `task`."""

    name: str
    task: str
    folding: str
    cycles: int
    is_bottleneck: bool

    @property
    def height(self) -> int:
        if not self.task and not self.is_bottleneck:
            return MINOR_HEIGHT
        return HEIGHT + TAG_HEIGHT * self.is_bottleneck

    @property
    def text(self) -> str:
        """All of it in one line."""
        what = ", ".join(filter(None, (self.task, self.folding)))
        return f"{self.name}: {what}, {_count(self.cycles, 'cycle')}"


def pipeline_svg(
    blocks: tuple[Block, ...],
    interval: float,
    port_bits: int,
    n_columns: int | None = None,
    *,
    styled: bool = False,
) -> str:
    """The dataflow as an SVG element, in `n_columns` columns, or as many as look well side by side.

    Bars show how much of `interval` (cycles per frame) a block is busy; a block that is busy in
    all of them is marked as the bottleneck. An arrow says the bits of a beat and the beats of a
    frame. A `styled` picture is whole in a file of its own.
    """
    first, last = ports(blocks)
    port = f"{port_bits}-bit AXI4-Stream"
    boxes = [
        Box("input port", _frame(first), port, first.beats, first.beats >= interval),
        *(_box_of(block, interval) for block in blocks),
        Box("output port", _frame(last), port, last.beats, last.beats >= interval),
    ]
    streams = _edges(blocks, first, last)
    heights = [box.height for box in boxes]
    if n_columns is None:
        n_columns = min(MOST_COLUMNS, -(-sum(height + 30 for height in heights) // COLUMN_HEIGHT))
    layout = arrange(heights, [edge for edge, _ in streams], n_columns)
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {layout.width} {layout.height}",
            "width": str(layout.width),
            "height": str(layout.height),
            "role": "img",
            "class": "pipeline",
        },
    )
    title = f"Dataflow of {len(blocks)} blocks, {interval:,} cycles per frame"
    SubElement(svg, "title").text = title
    if styled:
        SubElement(svg, "style").text = STYLE.read_text(encoding="utf-8")
    for ((start, end), stream), wire in zip(streams, layout.wires, strict=True):
        _draw_wire(svg, stream, wire, f"{boxes[start].name} to {boxes[end].name}")
    for box, corner in zip(boxes, layout.corners, strict=True):
        _draw_box(svg, box, corner, interval)
    return tostring(svg, encoding="unicode")


def _edges(blocks: tuple[Block, ...], first: Stream, last: Stream) -> list[tuple[Edge, Stream]]:
    """The stream between each two boxes: box 0 is the input port, the last one the output port."""
    maker = {first.name: 0}
    edges: list[tuple[Edge, Stream]] = []
    for index, block in enumerate(blocks, 1):
        for stream in block.sources:
            edges.append(((maker[stream.name], index), stream))
        maker |= {stream.name: index for stream in block.sinks}
    edges.append(((maker[last.name], len(blocks) + 1), last))
    return edges


def _box_of(block: Block, interval: float) -> Box:
    values, source, sink = block.parameters, block.source, block.sink
    task = block.module.replace("_", " ")
    pixels = f", {sink.vectors:,} vectors" if sink.vectors > 1 else ""
    match block.module:
        case "mvu":
            what = "depthwise" if values.get("DEPTHWISE") else "matrix-vector"
            task = f"{what}, {source.n} → {sink.n}"
            folding = f"PE {values['PE']} × SIMD {values['SIMD']}{pixels}"
        case "lane_splitter" | "lane_joiner":
            folding, task = f"{task}, {source.lanes} → {sink.lanes} lanes", ""
        case "deep_fifo":
            folding, task = f"FIFO of {values['DEPTH']:,} × {values['WIDTH']} bit", ""
        case "stream_fork":
            folding, task = "fork", ""
        case "window":
            stride = f", stride {values['STRIDE_H']} × {values['STRIDE_W']}"
            stride *= (values["STRIDE_H"], values["STRIDE_W"]) != (1, 1)
            task = f"window, {values['KERNEL_H']} × {values['KERNEL_W']}{stride}"
            folding = f"{source.lanes} of {source.n} a cycle"
        case "max_pool":
            task += f" of {values['N_POSITIONS']}"
            folding = f"{source.lanes} of {source.n} a cycle{pixels}"
        case _:
            folding = f"{source.lanes} of {source.n} a cycle"
    return Box(block.name, task, folding, block.cycles, block.cycles >= interval)


def _frame(stream: Stream) -> str:
    n = f"{stream.vectors} × {stream.n}" if stream.vectors > 1 else f"{stream.n}"
    return f"{n} × {stream.type}"


def _draw_box(svg: Element, box: Box, corner: Point, interval: float) -> None:
    x, y = corner
    share = min(1.0, box.cycles / interval)
    kinds = ["hot"] * box.is_bottleneck + ["minor"] * (box.height == MINOR_HEIGHT)
    group = SubElement(svg, "g", {"class": " ".join(kinds)} if kinds else {})
    SubElement(group, "title").text = box.text
    _rect(group, x, y, BOX_WIDTH, box.height, "box", rx="4")
    left, right = x + 12, x + BOX_WIDTH - 12
    _text(group, (left, y + 19), _cut(box.name, NAME_CHARACTERS), "name")
    if box.height == MINOR_HEIGHT:
        _text(group, (left, y + 35), _cut(box.folding, TEXT_CHARACTERS), "small")
        return
    lines = [line for line in (box.task, box.folding) if line]
    for line, text in enumerate(lines):
        _text(group, (left, y + 37 + 16 * line), _cut(text, TEXT_CHARACTERS), "small")
    _text(group, (left, y + 71), _count(box.cycles, "cycle"), "small")
    _text(group, (right, y + 71), f"{100 * share:.0f} %", "small", "end")
    _rect(group, left, y + 80, right - left, 5, "bar")
    _rect(group, left, y + 80, (right - left) * share, 5, "busy")
    if box.is_bottleneck:
        _text(group, (left, y + HEIGHT + 8), "bottleneck", "tag")


def _draw_wire(svg: Element, stream: Stream, wire: Wire, ends: str) -> None:
    beats = f"{stream.width:,} bit × {stream.beats:,}"
    group = SubElement(svg, "g", {"class": "stream"})
    SubElement(group, "title").text = (
        f"{ends}: {stream.name}, {stream.lanes} × {stream.type}, {stream.width:,} bits a beat, "
        f"{_count(stream.beats, 'beat')} a frame"
    )
    *points, (x, y) = wire.points
    line = " ".join(f"{a},{b}" for a, b in [*points, (x, y - 8)])
    SubElement(group, "polyline", {"points": line, "class": "arrow"})
    head = f"{x},{y - 1} {x - 4},{y - 9} {x + 4},{y - 9}"
    SubElement(group, "polygon", {"points": head, "class": "arrowhead"})
    _text(group, wire.label, beats, "small", wire.anchor)


def _rect(
    parent: Element, x: int, y: int, width: float, height: int, kind: str, **more: str
) -> None:
    size = {"width": f"{width:g}", "height": str(height)}
    SubElement(parent, "rect", {"x": str(x), "y": str(y), **size, **more, "class": kind})


def _text(parent: Element, at: Point, text: str, kind: str, anchor: str = "start") -> None:
    attributes = {"x": str(at[0]), "y": str(at[1]), "class": kind, "text-anchor": anchor}
    SubElement(parent, "text", attributes).text = text


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
