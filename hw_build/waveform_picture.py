"""A stretch of streams as a waveform: an SVG of their own, for a notebook or any page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from .activity import Lane

CYCLE, ROW, NAMES, TOP = 26, 26, 190, 24
STYLE = """
.waveform { background: #fff; font: 12px system-ui, sans-serif; }
.waveform .edge { fill: none; stroke: #1f5f99; stroke-width: 1.5; }
.waveform .grid { stroke: #e3e6ea; }
.waveform .beat { fill: #dceefb; stroke: #1f5f99; }
.waveform .waits { fill: #fbdcd6; stroke: #b3400a; }
.waveform .word { font: 9px ui-monospace, monospace; text-anchor: middle; }
.waveform .tick { fill: #565d66; text-anchor: middle; }
"""


@dataclass(frozen=True, eq=False)
class Recorded:
    """A stream as it was simulated: its lane, and the data of its beats, uint32 (beats, words).

    The lowest word comes first.
    """

    lane: Lane
    beats: np.ndarray


def waveform_svg(streams: Sequence[Recorded], first: int, n_cycles: int) -> str:
    """tvalid, tready while valid, and tdata of each stream, from cycle `first` on.

    A box of tdata reaches from the cycle in which a beat is offered to that in which it is taken;
    one that waits is red. Its words in hexadecimal stand in it where there is room, and always in
    its title.
    """
    height = TOP + len(streams) * 3 * ROW + 8
    size = {"width": str(NAMES + n_cycles * CYCLE), "height": str(height)}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "waveform", **size})
    SubElement(svg, "style").text = STYLE
    for i in range(n_cycles):
        x = NAMES + i * CYCLE
        line = {"x1": str(x), "x2": str(x), "y1": str(TOP), "y2": str(height), "class": "grid"}
        SubElement(svg, "line", line)
        if i % 4 == 0:
            _text(svg, x + CYCLE / 2, TOP - 8, str(first + i), "tick")
    cycles = np.arange(first, first + n_cycles)
    for n, stream in enumerate(streams):
        lane, top = stream.lane, TOP + n * 3 * ROW
        inside = (lane.offered[:, None] <= cycles) & (cycles <= lane.passed[:, None])
        moves = np.isin(cycles, lane.passed)
        for k, (signal, high) in enumerate((("tvalid", inside.any(axis=0)), ("taken", moves))):
            _text(svg, 0, top + k * ROW + 18, f"{lane.stream.name}.{signal}", "name")
            _levels(svg, high, top + k * ROW)
        _text(svg, 0, top + 2 * ROW + 18, f"{lane.stream.name}.tdata", "name")
        for beat in np.flatnonzero(inside.any(axis=1)):
            _beat(svg, stream, int(beat), first, n_cycles, top + 2 * ROW)
    return tostring(svg, encoding="unicode")


def _levels(svg: Element, high: np.ndarray, top: int) -> None:
    """A line that is up in the cycles that are true."""
    ys = [top + (5 if up else ROW - 5) for up in high]
    points = [f"{NAMES + (i + end) * CYCLE},{y}" for i, y in enumerate(ys) for end in (0, 1)]
    SubElement(svg, "polyline", {"points": " ".join(points), "class": "edge"})


def _beat(svg: Element, stream: Recorded, beat: int, first: int, n_cycles: int, top: int) -> None:
    """The box of a beat's data, cut where the picture ends."""
    lane = stream.lane
    left = max(int(lane.offered[beat]) - first, 0)
    right = min(int(lane.passed[beat]) - first + 1, n_cycles)
    word = "".join(f"{int(part):08x}" for part in stream.beats[beat][::-1])
    digits = -(-lane.stream.width // 4)
    word = word[-digits:]
    box = {"x": str(NAMES + left * CYCLE), "y": str(top + 3), "width": str((right - left) * CYCLE)}
    box |= {"height": str(ROW - 6), "class": "waits" if lane.waits[beat] else "beat"}
    title = f"beat {beat} of frame {int(lane.frame[beat])}, taken in cycle {int(lane.passed[beat])}"
    SubElement(SubElement(svg, "rect", box), "title").text = f"{title}: {word}"
    most = max(1, (right - left) * CYCLE // 6)
    shown = word if len(word) <= most else f"{word[: max(1, most - 1)]}…"
    _text(svg, NAMES + (left + right) / 2 * CYCLE, top + 17, shown, "word")


def _text(svg: Element, x: float, y: float, text: str, kind: str) -> None:
    SubElement(svg, "text", {"x": f"{x:g}", "y": f"{y:g}", "class": kind}).text = text
