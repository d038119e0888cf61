"""The report as a page: one HTML file with its style and pictures inside, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from .histogram_picture import histogram_svg
from .options import DEFAULT_TARGET_FPS

TEMPLATES = Path(__file__).parent / "templates"
ABSENT = "–"

EXECUTORS = {
    "oracle": "QONNX file, float64 oracle",
    "golden": "integer graph, golden model",
    "rtl": "RTL under Verilator",
}


def page(record: dict[str, Any], pictures: Mapping[str, str]) -> str:
    """The HTML text for report.json's content; `pictures` are SVG elements, 'wide' and 'narrow'.

    Every text of the record is escaped; the pictures are put in as they are.
    """
    return template("report.html").render(
        r=record,
        picture={name: Markup(svg) for name, svg in pictures.items()},
        executors=EXECUTORS,
        is_exact=is_exact(record["gates"]),
        most_vectors=max((gate["vectors"] for gate in record["gates"]), default=0),
        notes=grouped(record["notes"]),
        tables=resource_tables(record),
        histograms=histograms(record["layers"]),
        default_target_fps=DEFAULT_TARGET_FPS,
    )


def template(name: str) -> Template:
    """A page of `templates/` with the filters that write numbers; every text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "off_by": off_by,
        "shape": shape,
        "kernel": kernel,
        "setting": setting,
    }
    return environment.get_template(name)


def histograms(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures of every layer's weights and thresholds, with what a reader needs beside them."""
    pictures = []
    for layer in layers:
        for what in ("weight", "threshold"):
            bins = layer[f"{what}_histogram"]
            if not bins or not bins["counts"]:
                continue
            note = f"{sum(bins['counts']):,} integers"
            for rest in ("never", "always"):
                if bins.get(rest):
                    note += f"; {bins[rest]:,} more are {rest} reached"
            svg = Markup(histogram_svg(bins, f"{what}s"))
            pictures.append({"layer": layer["name"], "what": f"{what}s", "note": note, "svg": svg})
    return pictures


def is_exact(gates: list[dict[str, Any]]) -> bool:
    """Whether there were gates, each with vectors and without a mismatch."""
    return bool(gates) and all(gate["vectors"] and not gate["mismatches"] for gate in gates)


def resource_tables(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the resource table: the blocks, then their sum."""
    total = {
        "name": "all blocks",
        "module": None,
        "resources": record["resources"],
        "logic_depth": record["logic_depth"],
    }
    return [*record["blocks"], total]


def grouped(notes: list[str]) -> list[str]:
    """Notes `layer: text` of the same text in one, with all their layers; others as they are."""
    layers: dict[str, list[str]] = {}
    for note in notes:
        layer, colon, text = note.partition(": ")
        if not colon or " " in layer:
            layer, text = "", note
        layers.setdefault(text, []).append(layer)
    return [f"{', '.join(names)}: {text}" if names[0] else text for text, names in layers.items()]


def setting(value: Any) -> str:
    """An option's value as people write it: no quotes, no brackets; a dash for None."""
    match value:
        case None:
            return ABSENT
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.0f}" if value == int(value) else repr(value)
        case list():
            return ", ".join(map(setting, value)) or "none"
        case dict():
            return " ".join(f"{key}={setting(each)}" for key, each in value.items())
        case _:
            return str(value)


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separators; whole numbers without a fraction; a dash for None."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value == int(value) else f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share of 0 to 1 in percent; a dash for None."""
    return ABSENT if share is None else f"{100 * share:.{digits}f} %"


def shape(sides: list[int]) -> str:
    """[8, 8, 16] as 8 × 8 × 16, which stays in one line."""
    return "\u00a0×\u00a0".join(f"{side:,}" for side in sides)


def kernel(layer: Mapping[str, Any]) -> str:
    """A layer's window: its kernel, and what of stride, dilation and padding is not the default."""
    if layer["kernel"] is None:
        return ABSENT
    text = shape(layer["kernel"])
    for what in ("stride", "dilation"):
        if set(layer[what]) != {1}:
            text += f", {what} {shape(layer[what])}"
    if layer["padding"]:
        sides = layer["padding"]  # [top, left, bottom, right]
        text += f", padding {sides[0] if len(set(sides)) == 1 else ' '.join(map(str, sides))}"
    return text


def off_by(estimate: float | None, reference: float | None) -> str:
    """How far an estimate lies from its reference, in percent of the reference, with its sign."""
    if estimate is None or reference is None or not reference:
        return ABSENT
    deviation = 100 * (estimate - reference) / reference
    return "0 %" if not deviation else f"{deviation:+.1f} %".replace("-", "−")
