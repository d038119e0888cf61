"""Runs beside each other: compare.html for people, compare.csv and compare.json for programs.

All three hold the same figures, read from each run's report.json; docs/report.md says what they
mean. A figure that a run does not have is empty in CSV and null in JSON.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from deploy.errors import UserError

from .report import SCHEMA as REPORT_SCHEMA
from .report_page import is_exact, template

SCHEMA = 1
"""Raised by one whenever a reader of compare.json would misread it."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A figure of a run. `better` is 'more' or 'less' where that can be said, else None."""

    key: str
    title: str
    unit: str
    kind: str
    better: str | None
    value: Callable[[Json], Any]

    @property
    def facts(self) -> Json:
        """All but how it is computed."""
        return {name: value for name, value in vars(self).items() if name != "value"}


def _cells(kind: str, cell: str) -> Callable[[Json], float | None]:
    return lambda r: r["resources"][kind][cell] if r["resources"][kind] else None


def _weights(record: Json) -> str:
    # a sum pool's weights are all one: nothing that was trained
    layers = [x for x in record["layers"] if x["shape"] and x["operator"] != "sum pool"]
    kinds = [f"{x['weight_kind']} {x['weight_bits']}" for x in layers]
    written = record["config"].get("writable") or record["config"].get("onto")
    return ", ".join(
        [*(f"{kind} bit" for kind in dict.fromkeys(kinds)), *(["writable"] if written else [])]
    )


def _sum(key: str) -> Callable[[Json], int]:
    return lambda r: sum(layer[key] for layer in r["layers"])


COLUMNS = (
    Column("name", "run", "", "", None, lambda r: r["name"]),
    Column("accuracy", "accuracy", "share", "simulated", "more", lambda r: r["accuracy"]),
    Column(
        "frames_per_second",
        "frames/s",
        "1/s",
        "simulated cycles at the clock",
        "more",
        lambda r: r["frames_per_second"],
    ),
    Column("lut_estimated", "LUT", "", "estimated", "less", _cells("estimated", "lut")),
    Column("lut_synthesised", "LUT", "", "synthesised", "less", _cells("synthesised", "lut")),
    Column("weights", "weights", "", "counted", None, _weights),
    Column("exact", "executors", "", "gates", None, lambda r: _exact(r)),
    Column(
        "latency_us",
        "latency, µs",
        "µs",
        "simulated cycles at the clock",
        "less",
        lambda r: r["latency_cycles"]["simulated"] / r["clock_mhz"],
    ),
    Column("clock_mhz", "clock, MHz", "MHz", "asked for", None, lambda r: r["clock_mhz"]),
    Column("board", "board", "", "", None, lambda r: r["board"]["name"]),
    Column("ff_estimated", "FF", "", "estimated", "less", _cells("estimated", "ff")),
    Column("ff_synthesised", "FF", "", "synthesised", "less", _cells("synthesised", "ff")),
    Column("bram36_estimated", "BRAM36", "", "estimated", "less", _cells("estimated", "bram36")),
    Column(
        "bram36_synthesised", "BRAM36", "", "synthesised", "less", _cells("synthesised", "bram36")
    ),
    Column("dsp_estimated", "DSP", "", "estimated", "less", _cells("estimated", "dsp")),
    Column("macs", "multiply-adds a frame", "", "counted", "less", _sum("macs")),
    Column("memory_bits", "memory, bits", "bit", "counted", "less", _sum("memory_bits")),
    Column("path", "report", "", "", None, lambda r: r["path"]),
)


def compare(runs: Sequence[Path], warn: Callable[[str], None] = lambda line: None) -> Json:
    """The content of compare.json: `schema`, `columns`, and a row for each of the runs, in order.

    What has no report that this version reads is left out, and `warn` takes a line on it. A folder
    that is named twice has one row; runs of the same name have their paths for a name.

    Raises:
        UserError: no run is left; names what the first one lacks, and the command.
    """
    records, refused = [], []
    for run in {run.resolve(): run for run in runs}.values():
        try:
            records.append({**_report_of(run), "path": str(run)})
        except UserError as error:
            refused.append(error)
    if not records:
        raise refused[0]
    for error in refused:
        warn(f"left out: {error.where}: {error.what} ({error.found})")
    names = Counter(record["name"] for record in records)
    for record in records:
        if names[record["name"]] > 1:
            record["name"] = record["path"]
    rows = [{column.key: column.value(record) for column in COLUMNS} for record in records]
    return {"schema": SCHEMA, "columns": [column.facts for column in COLUMNS], "runs": rows}


def write_comparison(
    runs: Sequence[Path], out: Path, warn: Callable[[str], None] = lambda line: None
) -> tuple[Path, ...]:
    """Writes `out`, an .html file, and its .csv and .json beside it; returns the three paths.

    `runs` and `warn` are those of `compare`.
    """
    if out.suffix != ".html":
        raise UserError("the comparison is a page", where=f"--out {out}", expected="a name.html")
    compared = compare(runs, warn)
    paths = tuple(out.with_suffix(suffix) for suffix in (".html", ".csv", ".json"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        paths[0].write_text(comparison_page(compared, out.parent), encoding="utf-8")
        with paths[1].open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [column.key for column in COLUMNS])
            writer.writeheader()
            writer.writerows(compared["runs"])
        paths[2].write_text(json_text(compared), encoding="utf-8")
    except OSError as error:
        raise UserError(
            "the comparison can't be written", where=f"--out {out}", found=str(error)
        ) from error
    return paths


def json_text(content: Json) -> str:
    """As compare.json and `--json` give it."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def comparison_page(compared: Json, folder: Path) -> str:
    """The page of compare.json's content, to lie in `folder`: whole in itself, nothing fetched.

    It links to the reports of its runs, by paths relative to the folder.
    """
    # in a script element only "<" could end it early
    data = Markup(json.dumps(compared, allow_nan=False).replace("<", "\\u003c"))
    columns = [column for column in compared["columns"] if column["key"] != "path"]
    return template("compare.html").render(
        data=data,
        columns=columns,
        runs=compared["runs"],
        n=len(compared["runs"]),
        links=[_link(Path(run["path"]), folder) for run in compared["runs"]],
    )


def _link(run: Path, folder: Path) -> str:
    return quote(os.path.relpath((run / "report.html").resolve(), folder.resolve()))


def _exact(record: Json) -> str:
    return "bit-exact" if is_exact(record["gates"]) else "not bit-exact"


def _report_of(run: Path) -> Json:
    path = run / "report.json"
    fix = f"python -m hw_build.flow run {run}"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("the run has no report", where=str(path), found=str(error), fix=fix) from (
            error
        )
    except ValueError as error:
        raise UserError("the report is damaged", where=str(path), found=str(error), fix=fix) from (
            error
        )
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != REPORT_SCHEMA:
        raise UserError(
            "a report of another version",
            where=str(path),
            found=f"schema {schema}",
            expected=f"schema {REPORT_SCHEMA}",
            fix=fix,
        )
    return record
