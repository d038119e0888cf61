"""Bitstreams of several runs at once, by stand-ins for Vivado, here and on a Dask cluster."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import distributed
import pytest
from rich.console import Console
from slurm_stand_in import stand_in_for_slurm
from test_hw_build_bitstream_kills import lives, until
from vivado_behind_ssh import PLACE, There, there
from vivado_builds import HERE, fake_vivado, needs_tcl, scripts_of, write_network

from deploy.bundle import Bundle
from deploy.run_directory import RunDirectory, sha256_of
from hw_build import builds, flow
from hw_build.bitstream.plan import STEPS
from hw_build.build_run import LOG, options_of

ROOT = HERE.parent
NAMES = [step.script for step in STEPS]

pytestmark = needs_tcl
assert there  # the fixture


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `fast` and `slow`, of one network at 100 and at 50 MHz."""
    folder = tmp_path_factory.mktemp("runs")
    command = ["run", str(write_network(folder)), "--no-synthesis", "--vivado", "none"]
    fast, slow = folder / "fast", folder / "slow"
    assert flow.main([*command, "--out", str(fast)]) == 0
    shutil.copytree(fast, slow)
    folding = ["--folding", str(fast / "05_folding" / "folding.json"), "--clock-mhz", "50"]
    assert flow.main([*command, *folding, "--out", str(slow)]) == 0
    return folder


@pytest.fixture
def runs(two_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    shutil.copytree(two_runs, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return fake_vivado(tmp_path, monkeypatch)


def plant(fault: str, tmp_path: Path) -> None:
    """That fault is the fast run's alone."""
    program = tmp_path / "Vivado" / "bin" / "vivado"
    plain = program.read_text().splitlines()
    program.write_text(
        f"{plain[0]}\ngrep -qs 'FREQMHZ 100' 2_design.tcl && export FAKE_VIVADO_FAULT={fault}\n"
        f"{plain[-1]}\n"
    )


def answers(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, dict], str]:
    printed = capsys.readouterr()
    return {Path(one["run"]).name: one for one in json.loads(printed.out)["builds"]}, printed.err


def test_one_that_fails_loses_no_other(
    runs: Path, fake, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(runs / "fast" / "06_rtl")
    assert flow.main(["build", "fast", "slow", "nothing", "--workers", "2", "--json"]) == 1
    told, shown = answers(capsys)
    assert "an input of stage 09_bitstream is missing" in told["fast"]["failed"]
    assert "the run has no whole stage 12_report" in told["nothing"]["failed"]
    assert told["slow"]["failed"] == ""
    assert told["slow"]["bitstream"]["accelerator"]["lut"] == 9712
    assert "error: fast failed" in shown
    assert "2/2  " in shown
    assert "slow\twhole\t50\t105.5\t" in shown
    assert not (runs / "nothing").exists()
    assert scripts_of(fake()) == NAMES
    assert Bundle.read(runs / "slow" / "bundle.zip").has_bitstream
    report = json.loads((runs / "slow" / "report.json").read_text())
    assert report["bitstream"] == told["slow"]["bitstream"]


def test_a_network_that_is_gone_stops_no_build(runs: Path, fake) -> None:
    """A run has all that its bundle needs: its network may lie elsewhere by now."""
    model = options_of(RunDirectory(runs / "fast")).model
    digest = sha256_of(model)
    away = model.rename(model.with_suffix(".away"))
    try:
        assert flow.main(["build", "fast"]) == 0
    finally:
        away.rename(model)
    bundle = Bundle.read(runs / "fast" / "bundle.zip")
    assert bundle.has_bitstream
    assert bundle.manifest.hashes["model"] == digest


@pytest.mark.nightly
def test_one_that_is_killed_goes_on(
    runs: Path, tmp_path: Path, fake, capsys: pytest.CaptureFixture[str]
) -> None:
    plant("killed", tmp_path)
    command = ["build", "fast", "slow", "--json"]
    assert flow.main(command) == 1
    told, _ = answers(capsys)
    assert "Vivado was killed" in told["fast"]["failed"]
    assert told["slow"]["failed"] == ""
    assert len(scripts_of(fake())) == 10

    plant("", tmp_path)
    assert flow.main(command) == 0
    assert scripts_of(fake())[10:] == NAMES[3:]
    printed = (runs / "fast" / LOG).read_text()
    assert "step 1 of 6, packaging the IP: done before" in printed
    assert "09_bitstream: skipped" in (runs / "slow" / LOG).read_text()


@pytest.mark.nightly
def test_on_a_dask_cluster_one_that_is_too_slow_loses_no_other(
    runs: Path, tmp_path: Path, fake, capsys: pytest.CaptureFixture[str]
) -> None:
    plant("timing", tmp_path)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as all:
        command = ["build", "fast", "slow", "--json", "--dask", all.scheduler_address]
        assert flow.main(command) == 1
    told, _ = answers(capsys)
    assert "the design is too slow for its clock" in told["fast"]["failed"]
    assert told["slow"]["failed"] == ""
    assert Bundle.read(runs / "slow" / "bundle.zip").has_bitstream


@pytest.mark.nightly
def test_on_slurm(
    runs: Path,
    tmp_path: Path,
    fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = stand_in_for_slurm(tmp_path, monkeypatch)
    assert flow.main(["build", "fast", "slow", "--json", "--dask", str(path)]) == 0
    told, _ = answers(capsys)
    assert all(one["failed"] == "" for one in told.values())
    script = (tmp_path / "job.sh").read_text()
    assert "#SBATCH -p long" in script
    assert "#SBATCH -t 01:00:00" in script
    jobs = (tmp_path / "pids").read_text().split()
    assert set(jobs) == set((tmp_path / "cancelled").read_text().split())


@pytest.mark.nightly
def test_behind_ssh(
    runs: Path, there: There, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flow.main(["build", "fast", "slow", "--workers", "2", "--vivado", PLACE, "--json"]) == 0
    told, _ = answers(capsys)
    assert all(one["bitstream"]["vivado"] == "2022.2" for one in told.values())
    assert sorted(there.scripts()) == sorted([*NAMES, *NAMES])
    assert there.folders() == []  # what is whole here is left nowhere else


@pytest.mark.nightly
@pytest.mark.parametrize("where", ["here", "cluster"])
def test_an_interrupt_ends_vivado(where: str, runs: Path, tmp_path: Path, fake) -> None:
    plant("hangs", tmp_path)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as all:
        options = ["--dask", all.scheduler_address] if where == "cluster" else []
        # A shell's background jobs, and so these tests there, ignore interrupts: not this one.
        hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(
            [sys.executable, "-m", "hw_build.flow", "build", "fast", *options], preexec_fn=hear
        )
        mark = runs / "fast" / ".09_bitstream.partial" / "work" / "hangs.pid"
        until(lambda: mark.is_file() and mark.read_text())
        vivado = int(mark.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        until(lambda: not lives(vivado))


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (["--vivado", "none"], 2, "a build needs a Vivado"),
        (["--vivado", "elsewhere"], 2, "no place where Vivado may run"),
        (["--workers", "0"], 2, "no workers"),
        (["--dask", "nonsense:"], 3, "no Dask scheduler answers"),
        (["--dask", "slurm.yaml"], 3, "no SLURM on this machine"),
        ([], 3, "Vivado is not found"),
    ],
)
def test_what_is_missing_is_said_before_anything_runs(
    options: list[str],
    code: int,
    complaint: str,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    assert flow.main(["build", "fast", *options]) == code
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("jobqueue: [", "no configuration of dask-jobqueue"),
        ("jobqueue: {pbs: {}}", "no configuration of dask-jobqueue"),
        ("jobqueue: {slurm: {q: 1}}", "no configuration of dask-jobqueue"),
        ("jobqueue: {slurm: {queue: short, cores: 1, memory: 1GB}}", "invalid partition"),
    ],
)
def test_what_slurm_or_its_file_has_wrong_is_named(
    text: str,
    complaint: str,
    runs: Path,
    tmp_path: Path,
    fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = stand_in_for_slurm(tmp_path, monkeypatch)
    path.write_text(text)
    assert flow.main(["build", "fast", "--dask", str(path)]) == 2
    assert complaint in capsys.readouterr().err


def test_the_view_of_a_terminal(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("  Vivado 2022.2, step 3 of 6, synthesis: about 5 min to go\n")
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=300, color_system=None)
    with builds._progress(3, console) as view:
        view.running([tmp_path, tmp_path / "waiting"])
        view.ended(tmp_path, "")
    shown = screen.getvalue()
    assert "synthesis: about 5 min to go" in shown
    assert "2/6" in shown
    assert "1/3" in shown
    assert "waiting" not in shown
