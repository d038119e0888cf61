"""Sweeps: which points there are, that one that fails loses no other, and going on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import distributed
import pytest
from rich.console import Console
from slurm_stand_in import stand_in_for_slurm

from deploy import child
from deploy.errors import UserError
from deploy.run_directory import RunDirectory
from training import sweep, sweep_point, train
from training.history import read_metrics
from training.sweep_config import Point, load_sweep
from training.sweep_progress import sweep_progress

ROOT = Path(__file__).parents[1]
CONFIG = """
[data]
name = "digits"
[network]
hidden = [8]
input_quantiser = "float"
weight_quantiser = "binary"
activation_quantiser = "float"
[training]
epochs = 2
batch_size = 100
learning_rate = 0.02
"""


def write_sweep(folder: Path, text: str) -> Path:
    (folder / "small.toml").write_text(CONFIG)
    path = folder / "sweep.toml"
    path.write_text('configs = ["small.toml"]\n' + text)
    return path


def test_points_are_all_combinations(tmp_path: Path) -> None:
    text = """
    seeds = [4, 5]
    [overrides]
    "network.weight_quantiser" = ["binary", "twn"]
    "network.hidden" = [[8], [16, 8]]
    "training.epochs" = [7]
    """
    _, points = load_sweep(write_sweep(tmp_path, text))
    assert [point.name for point in points] == [
        f"small_{weights}_{hidden}_s{seed}"
        for weights in ("binary", "twn")
        for hidden in ("8", "16-8")
        for seed in (4, 5)
    ]
    last = points[-1].config
    assert (last.network.weight_quantiser, last.network.hidden) == ("twn", (16, 8))
    assert (last.training.seed, last.training.epochs) == (5, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = [1]", "did you mean 'seeds'"),
        ("seeds = []", "at least 1 item"),
        ("seeds = [1, 1]", "same name"),
        ('[overrides]\n"epochs" = [1]', "a table and a key"),
        ('[overrides]\n"training.epoch" = [1]', "did you mean 'epochs'"),
        ('[overrides]\n"network.weight_quantiser" = ["binary", "tern"]', "tern"),
    ],
)
def test_a_wrong_sweep_trains_nothing(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert sweep.main([str(write_sweep(tmp_path, text)), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_one_that_fails_loses_no_other_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NARROWGAUGE_DATA", raising=False)
    path = write_sweep(tmp_path, '[overrides]\n"data.name" = ["unsw_nb15", "digits"]')
    out = tmp_path / "out"
    assert sweep.main([str(path), "--out", str(out), "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "error: small_unsw_nb15_s1 failed\n" in printed.err
    assert "  found:    exit code 2: the data set unsw_nb15 is not" in printed.err
    assert "| small_digits |" in printed.out
    record = json.loads((out / sweep.RECORD).read_text())
    assert {name: entry["state"] for name, entry in record.items()} == {
        "small_unsw_nb15_s1": "failed",
        "small_digits_s1": "whole",
    }
    log = (out / "small_unsw_nb15_s1" / sweep_point.LOG).read_text()
    assert log.count("error: ") == 1  # A user's mistake is not tried again.

    weights = out / "small_digits_s1" / train.STAGE / train.WEIGHTS
    trained = weights.stat().st_mtime_ns
    path.write_text(path.read_text().replace("unsw_nb15", "digits").replace(', "digits"', ""))
    # Its name has no varied value now: a new point, beside one that is left as it is.
    _, points = load_sweep(path)
    assert [point.name for point in points] == ["small_s1"]
    (out / "small_digits_s1").rename(out / "small_s1")
    assert sweep.main([str(path), "--out", str(out)]) == 0
    assert "1 points, 1 of them whole already" in capsys.readouterr().out
    assert sweep.main([str(path), "--out", str(out), "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert points == {"small_s1": {"run": str(out / "small_s1"), "failed": ""}}
    assert (out / "small_s1" / train.STAGE / train.WEIGHTS).stat().st_mtime_ns == trained


def test_a_point_of_another_config_is_never_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write_sweep(tmp_path, ""), tmp_path / "out"
    assert sweep.main([str(path), "--out", str(out)]) == 0
    before = {file: file.read_bytes() for file in out.rglob("*.*") if file.is_file()}
    (tmp_path / "small.toml").write_text(CONFIG.replace("epochs = 2", "epochs = 3"))
    assert sweep.main([str(path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "small_s1: training.epochs" in error
    assert "--overwrite" in error
    assert {file: file.read_bytes() for file in out.rglob("*.*") if file.is_file()} == before
    assert sweep.main([str(path), "--out", str(out), "--overwrite"]) == 0
    assert len(read_metrics(out / "small_s1" / train.STAGE)) == 3


def job_of(tmp_path: Path, retries: int, epochs: int) -> sweep_point.Job:
    text = f'retries = {retries}\n[overrides]\n"training.epochs" = [{epochs}]'
    _, (point,) = load_sweep(write_sweep(tmp_path, text))
    return sweep._prepare(tmp_path, point, None, retries, False, "test")


def kill_the_first(run: Path) -> None:
    metrics = run / f".{train.STAGE}.partial" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        time.sleep(0.002)
    (process,) = child._running
    process.send_signal(signal.SIGKILL)


@pytest.mark.nightly
@pytest.mark.parametrize("retries", [0, 1])
def test_a_point_that_is_killed_is_tried_again(tmp_path: Path, retries: int) -> None:
    job = job_of(tmp_path, retries, epochs=40)
    killer = threading.Thread(target=kill_the_first, args=(Path(job.run),), daemon=True)
    killer.start()
    why = sweep_point.train_point(job)
    log = (Path(job.run) / sweep_point.LOG).read_text()
    if retries:
        assert why == ""
        assert "01_train: goes on" in log
    else:
        assert why.startswith("signal 9: ")
        assert not (Path(job.run) / train.STAGE).exists()


@pytest.fixture
def dask_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[distributed.LocalCluster]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        yield cluster


def start(text: str, tmp_path: Path, *options: str) -> tuple[subprocess.Popen[bytes], Path]:
    """A sweep in a process of its own, and the metrics of its first point, which have begun."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "training.sweep", str(write_sweep(tmp_path, text))]
    # A shell's background jobs, and so these tests there, ignore interrupts: not this one.
    hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen([*command, "--out", str(out), *options], cwd=ROOT, preexec_fn=hear)
    metrics = out / "small_s1" / f".{train.STAGE}.partial" / "metrics.jsonl"
    while not metrics.exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process, metrics


def assert_at_rest(metrics: Path) -> None:
    with RunDirectory(metrics.parents[1]).lock():  # Nobody writes it any more.
        n_epochs = metrics.read_text().count("\n")
        time.sleep(0.5)
        assert metrics.read_text().count("\n") == n_epochs


@pytest.mark.nightly
def test_an_interrupt_ends_all_points(tmp_path: Path) -> None:
    text = 'seeds = [1, 2, 3]\n[overrides]\n"training.epochs" = [100000]'
    process, metrics = start(text, tmp_path, "--workers", "1")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert_at_rest(metrics)
    assert not (tmp_path / "out" / "small_s2" / sweep_point.LOG).exists()


@pytest.mark.nightly
def test_an_interrupt_ends_the_points_of_a_cluster(
    tmp_path: Path, dask_cluster: distributed.LocalCluster
) -> None:
    text = 'seeds = [1, 2, 3]\n[overrides]\n"training.epochs" = [100000]'
    process, metrics = start(text, tmp_path, "--dask", dask_cluster.scheduler_address)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert_at_rest(metrics)
    assert not (tmp_path / "out" / "small_s2" / sweep_point.LOG).exists()


@pytest.mark.nightly
def test_a_point_outlives_its_worker(
    tmp_path: Path, dask_cluster: distributed.LocalCluster
) -> None:
    """The worker is killed with its point under way; another one goes on with that point."""
    text = 'seeds = [1]\n[overrides]\n"training.epochs" = [60]'
    process, _ = start(text, tmp_path, "--dask", dask_cluster.scheduler_address)
    (worker,) = dask_cluster.workers.values()
    os.kill(worker.pid, signal.SIGKILL)
    assert process.wait(timeout=300) == 0
    log = (tmp_path / "out" / "small_s1" / sweep_point.LOG).read_text()
    assert "01_train: goes on: the last run was interrupted in it" in log
    assert "another process" not in log
    lines = read_metrics(tmp_path / "out" / "small_s1" / train.STAGE)
    assert [line["epoch"] for line in lines] == list(range(1, 61))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return stand_in_for_slurm(tmp_path, monkeypatch)


def test_what_slurm_refuses_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slurm: Path
) -> None:
    slurm.write_text(slurm.read_text().replace("long", "short"))
    command = [str(write_sweep(tmp_path, "")), "--out", str(tmp_path / "out")]
    assert sweep.main([*command, "--dask", str(slurm)]) == 2
    assert "invalid partition specified" in capsys.readouterr().err
    assert not (tmp_path / "pids").exists()


@pytest.mark.nightly
def test_on_slurm(tmp_path: Path, capsys: pytest.CaptureFixture[str], slurm: Path) -> None:
    sweep_file = write_sweep(tmp_path, "seeds = [1, 2]")
    command = [str(sweep_file), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert sweep.main([*command, "--dask", str(slurm)]) == 0
    printed = capsys.readouterr()
    assert "2/2  small_s" in printed.err
    assert "| small |" in printed.out
    script = (tmp_path / "job.sh").read_text()
    assert "#SBATCH -p long" in script
    assert "#SBATCH -t 01:00:00" in script
    (job,) = (tmp_path / "pids").read_text().split()
    assert job in (tmp_path / "cancelled").read_text().split()


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("jobqueue: {slurm: {qeue: long}}", 2, "jobqueue.slurm.qeue"),
        ("jobqueue: {pbs: {queue: long}}", 2, "jobqueue: slurm: and its keys"),
        ("jobqueue: [", 2, "a YAML file"),
        ("jobqueue: {slurm: {cores: 1, memory: 1GB}}", 3, "no sbatch on the PATH"),
    ],
)
def test_a_slurm_that_is_not_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "slurm.yaml").write_text(text)
    command = [str(write_sweep(tmp_path, "")), "--out", str(tmp_path / "out"), "--dask"]
    assert sweep.main([*command, str(tmp_path / "slurm.yaml")]) == code
    assert message in capsys.readouterr().err


def test_the_view_of_a_terminal(tmp_path: Path) -> None:
    _, (point,) = load_sweep(write_sweep(tmp_path, ""))
    partial = tmp_path / point.name / f".{train.STAGE}.partial"
    partial.mkdir(parents=True)
    (partial / "metrics.jsonl").write_text("{}\n")
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, color_system=None)
    with sweep_progress(tmp_path, 3, 1, console) as view:
        view.running([point, Point("waiting_s1", point.config)])
        view.ended(point.name, "test accuracy 12.00 %")
    shown = screen.getvalue()
    assert "1/2" in shown  # Epochs of the point.
    assert "2/3" in shown  # Points.
    assert "waiting_s1" not in shown


def test_a_dask_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(write_sweep(tmp_path, "")), "--out", str(tmp_path / "o"), "--dask", "nonsense:"]
    assert sweep.main(command) == 3
    assert "--dask" in capsys.readouterr().err


def test_the_shipped_sweeps_are_right() -> None:
    paths = list((Path(__file__).parents[1] / "training" / "sweeps").glob("*.toml"))
    assert paths
    for path in paths:
        try:
            load_sweep(path)
        except UserError as error:
            pytest.fail(str(error))
