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


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Netron was asked to show, in its place."""
    asked: list[str] = []
    netron = SimpleNamespace(start=asked.append, wait=lambda: None)
    monkeypatch.setitem(sys.modules, "netron", netron)
    return asked


def test_netron_shows_the_file_that_the_run_was_made_from(
    run: Run, tmp_path: Path, shown: list[str], capsys: pytest.CaptureFixture
) -> None:
    def made_from(model: Path) -> None:
        def body(folder: Path) -> None:
            graph_file.save(run.imported, folder)

        run.stage_of("03_graph", body, {"model": model})

    own, foreign = run.path / "model.onnx", tmp_path / "foreign.onnx"
    for model in (own, foreign):
        model.write_text(model.name)
        made_from(model)
        assert flow.main(["show", str(run.path), "--netron"]) == 0
    assert shown == [str(own), str(foreign)]
    foreign.write_text("another")
    assert flow.main(["show", str(run.path), "--netron"]) == 2
    assert "has changed since the run was made from it" in capsys.readouterr().err
    foreign.unlink()
    assert flow.main(["show", str(run.path), "--netron"]) == 2
    assert f"where:    {foreign}" in capsys.readouterr().err
    assert len(shown) == 2


def test_netron_shows_finns_graph(
    run: Run, shown: list[str], capsys: pytest.CaptureFixture
) -> None:
    command = ["show", str(run.path), "--netron", "finn"]
    assert flow.main(command) == 2
    assert f"python -m hw_build.flow finn {run.path}" in capsys.readouterr().err
    run.stage("09_finn", {"final.onnx": "a graph"})
    assert flow.main(command) == 0
    assert shown == [str(run.path / "09_finn" / "final.onnx")]


def test_status_for_programs(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert flow.main(["status", str(run.path), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    states = {stage["name"]: stage["state"] for stage in stages}
    assert states["05_folding"] == "whole"
    assert set(stages[0]) == {"name", "state", "seconds", "created", "bytes", "note"}
