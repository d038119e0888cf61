"""A histogram of integers as a small SVG: a bar per bin, its ends and its peak in numbers."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

WIDTH, HEIGHT, BASE, TOP = 240, 92, 70, 18


def histogram_svg(bins: dict[str, Any], what: str) -> str:
    """`bins` as `report_layers.histogram` counts them; `what` is counted, for the title.

    Bars stand on a linear scale; a bin that is not empty shows at least a line.
    """
    first, step, counts = bins["first"], bins["step"], bins["counts"]
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "width": str(WIDTH),
            "height": str(HEIGHT),
            "role": "img",
            "class": "histogram",
        },
    )
    last = first + step * len(counts) - 1
    SubElement(svg, "title").text = f"{sum(counts):,} {what} from {first} to {last}"
    _text(svg, 0, 12, f"most in a bar: {max(counts):,}", "start")
    pitch = WIDTH / len(counts)
    for i, count in enumerate(counts):
        low, high = first + i * step, first + (i + 1) * step - 1
        height = max(1.0, (BASE - TOP) * count / max(counts)) if count else 0.0
        bar = {
            "x": f"{i * pitch + 0.5:.2f}",
            "y": f"{BASE - height:.2f}",
            "width": f"{min(pitch - 1, 40):.2f}",
            "height": f"{height:.2f}",
        }
        SubElement(SubElement(svg, "rect", bar), "title").text = (
            f"{low}: {count:,}" if low == high else f"{low} to {high}: {count:,}"
        )
    line = {"x1": "0", "x2": str(WIDTH), "y1": str(BASE), "y2": str(BASE)}
    SubElement(svg, "line", line)
    _text(svg, 0, BASE + 15, f"{first:,}".replace("-", "−"), "start")
    if len(counts) > 1:
        _text(svg, WIDTH, BASE + 15, f"{last:,}".replace("-", "−"), "end")
    return tostring(svg, encoding="unicode")


def _text(svg: Element, x: int, y: int, text: str, anchor: str) -> None:
    SubElement(svg, "text", {"x": str(x), "y": str(y), "text-anchor": anchor}).text = text
