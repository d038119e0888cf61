"""Looking at runs from the command line: the dataflow's picture, the network in Netron, help."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from report_runs import Run, image_run

from hw_build import flow, graph_file


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = image_run(tmp_path / "demo")
    made.stage_of("03_graph", lambda folder: graph_file.save(made.imported, folder))
    return made


def test_show_draws_a_file_of_its_own(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert flow.main(["show", str(run.path)]) == 0
    out = run.path / "graph.svg"
    assert capsys.readouterr().out == f"{out}\n"
    svg = out.read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    for block in run.blocks:
        assert f">{block.name}</text>" in svg
    assert "<style>" in svg


def test_show_says_where_it_can_not_write(run: Run, capsys: pytest.CaptureFixture) -> None:
    out = run.path / "nowhere" / "x.svg"
    assert flow.main(["show", str(run.path), "--out", str(out)]) == 2
    assert f"where:    {out}" in capsys.readouterr().err


def test_show_names_the_command_that_makes_what_it_needs(
    run: Run, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(run.path / "03_graph")
    assert flow.main(["show", str(run.path)]) == 2
    assert "--until folding" in capsys.readouterr().err


def test_netron_gets_the_runs_network(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked: list[str] = []
    netron = SimpleNamespace(start=asked.append, wait=lambda: asked.append("wait"))
    monkeypatch.setitem(sys.modules, "netron", netron)
    assert flow.main(["show", str(run.path), "--netron"]) == 2
    assert "no QONNX file of its own" in capsys.readouterr().err
    (run.path / "model.onnx").touch()
    assert flow.main(["show", str(run.path), "--netron"]) == 0
    assert asked == [str(run.path / "model.onnx"), "wait"]


def test_status_for_programs(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert flow.main(["status", str(run.path), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    states = {stage["name"]: stage["state"] for stage in stages}
    assert states["05_folding"] == "whole"
    assert set(stages[0]) == {"name", "state", "seconds", "created", "bytes", "note"}
