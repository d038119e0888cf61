"""Comparing runs: the same figures in all three files, and what is refused."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from report_records import FIGURES, write_reports

from hw_build import flow


def command(*arguments: object) -> int:
    return flow.main(["compare", *map(str, arguments)])


def test_page_csv_and_json_hold_the_same_figures(tmp_path: Path) -> None:
    out = tmp_path / "pages" / "compare.html"
    assert command(*write_reports(tmp_path), "--out", out) == 0
    compared = json.loads(out.with_suffix(".json").read_text())
    assert [run["name"] for run in compared["runs"]] == list(FIGURES)
    for run in compared["runs"]:
        accuracy, cycles, estimated, synthesised = FIGURES[run["name"]]
        assert (run["accuracy"], run["frames_per_second"]) == (accuracy, 1e8 / cycles)
        assert (run["lut_estimated"], run["lut_synthesised"]) == (estimated, synthesised)
        assert run["latency_us"] == 2 * cycles / 100
        assert (run["macs"], run["memory_bits"]) == (32, 48)
    with out.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    as_text = [{k: "" if v is None else str(v) for k, v in run.items()} for run in compared["runs"]]
    assert rows == as_text
    embedded = re.search(r'id="data">(.*?)</script>', out.read_text(), re.S)[1]
    assert json.loads(embedded) == compared


def test_every_figure_has_a_kind(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command(*write_reports(tmp_path), "--json") == 0
    compared = json.loads(capsys.readouterr().out)
    texts = {"name", "board", "path"}
    assert {column["key"] for column in compared["columns"] if not column["kind"]} == texts
    assert not list(tmp_path.glob("compare.*"))


def test_a_failed_gate_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    gates = [{"name": "golden = RTL", "vectors": 10, "mismatches": 1}]
    runs = write_reports(tmp_path, {"gates": gates})
    assert command(runs[0], "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["exact"] == "not bit-exact"


def test_weights_are_those_that_were_trained(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert command(write_reports(tmp_path)[0], "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["weights"] == "ternary 2 bit"


def test_runs_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    old, new = (write_reports(tmp_path / folder)[0] for folder in ("old", "new"))
    other = write_reports(tmp_path / "more")[1]
    assert command(old, new, other, other / ".." / other.name, "--json") == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["name"] for run in runs] == [str(old), str(new), "middle_w2a2"]


def test_what_has_no_report_is_left_out_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs = write_reports(tmp_path)[:2]
    (runs[0] / "report.json").write_text("{")
    (tmp_path / "empty").mkdir()
    assert command(*runs, tmp_path / "empty", "--json") == 0
    told = capsys.readouterr()
    assert [run["name"] for run in json.loads(told.out)["runs"]] == ["middle_w2a2"]
    warnings = told.err.splitlines()
    assert [line.startswith("warning: left out: ") for line in warnings] == [True, True]
    assert f"{runs[0] / 'report.json'}: the report is damaged" in warnings[0]
    assert f"{tmp_path / 'empty' / 'report.json'}: the run has no report" in warnings[1]


def test_every_run_is_linked_from_where_the_page_lies(tmp_path: Path) -> None:
    runs = write_reports(tmp_path / "my runs")
    out = tmp_path / "pages" / "compare.html"
    assert command(*runs, "--out", out) == 0
    links = re.findall(r'href="([^"]*)"', out.read_text())
    assert links == [f"../my%20runs/{run.name}/report.html" for run in runs]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>"
    runs = write_reports(tmp_path, {"name": hostile})
    out = tmp_path / "compare.html"
    assert command(*runs, "--out", out) == 0
    html = out.read_text()
    assert "<script>alert" not in html
    assert html.count("</script>") == 2  # of the data and of the program


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "the run has no report"),
        ("{", "the report is damaged"),
        ('{"schema": 1}', "found:    schema 1"),
        ("[]", "found:    schema None"),
    ],
)
def test_what_is_no_report_is_refused(
    content: str | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    assert command(tmp_path, "--out", tmp_path / "compare.html") == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert f"hw_build.flow run {tmp_path}" in error
    assert not (tmp_path / "compare.html").exists()


def test_the_page_is_html(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (run, *_) = write_reports(tmp_path)
    assert command(run, "--out", tmp_path / "compare.csv") == 2
    assert "a name.html" in capsys.readouterr().err
