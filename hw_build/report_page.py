"""The report as a page: one HTML file with its style and pictures inside, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

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
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "off_by": off_by}
    template = environment.get_template("report.html")
    return template.render(
        r=record,
        picture={name: Markup(svg) for name, svg in pictures.items()},
        executors=EXECUTORS,
        is_exact=is_exact(record["gates"]),
        most_vectors=max((gate["vectors"] for gate in record["gates"]), default=0),
        tables=resource_tables(record),
    )


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


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separators; whole numbers without a fraction; a dash for None."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value == int(value) else f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share of 0 to 1 in percent; a dash for None."""
    return ABSENT if share is None else f"{100 * share:.{digits}f} %"


def off_by(estimate: float | None, reference: float | None) -> str:
    """How far an estimate lies from its reference, in percent of the reference, with its sign."""
    if estimate is None or reference is None or not reference:
        return ABSENT
    deviation = 100 * (estimate - reference) / reference
    return "0 %" if not deviation else f"{deviation:+.1f} %".replace("-", "−")
