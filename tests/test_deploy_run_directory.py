"""Run directories: what is skipped and why not, and that a kill at any moment costs one stage."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import durable, sealed
from deploy.errors import MachineError, UserError
from deploy.run_directory import RunDirectory, write_atomically

ROOT = Path(__file__).resolve().parent.parent


class Recorder:
    """A body that counts its runs, with what the run directory said."""

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self.files = files or {"w.mem": "0101", "deep/er/notes.txt": "hello"}
        self.runs = 0
        self.said: list[str] = []

    def body(self, folder: Path) -> None:
        self.runs += 1
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def run(self, run: RunDirectory, **changes: object) -> Path:
        arguments: dict = {"config": {"pe": 4, "layers": [{"simd": 2}]}, "inputs": {}, "tools": {}}
        arguments = {"body": self.body, "say": self.said.append, **arguments, **changes}
        return run.run_stage("02_rtl", **arguments)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_a_stage_runs_once_and_is_then_skipped(run: RunDirectory, recorder: Recorder) -> None:
    folder = recorder.run(run)
    assert recorder.run(run) == folder == run.path / "02_rtl"
    assert recorder.runs == 1
    assert recorder.said == [
        "02_rtl: runs: no earlier result",
        "02_rtl: skipped, nothing it depends on has changed",
    ]
    assert (folder / "deep/er/notes.txt").read_text() == "hello"
    assert {p.name for p in run.path.iterdir()} == {"02_rtl", ".lock"}


def test_the_manifest_records_how_it_was_made(
    run: RunDirectory, recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"abc")
    inputs = {"model.onnx": tmp_path / "model.onnx"}
    recorder.run(run, inputs=inputs, tools={"verilator": "5.48"}, seed=7, config={"t": (1, 2)})
    manifest = run.manifest("02_rtl")
    sha_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert manifest["inputs"]["model.onnx"]["sha256"] == sha_of_abc
    assert manifest["outputs"]["w.mem"]["bytes"] == 4
    assert len(manifest["outputs"]) == 2
    assert manifest["config"] == {"t": [1, 2]}
    assert manifest["tools"] == {"verilator": "5.48"}
    assert (manifest["seed"], manifest["schema"], manifest["command"]) == (7, 1, sys.argv)
    assert manifest["seconds"] >= 0
    assert manifest["created"].endswith("+00:00")
    assert "commit" in manifest
    recorder.run(run, inputs=inputs, tools={"verilator": "5.48"}, seed=7, config={"t": [1, 2]})
    assert recorder.runs == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"config": {"pe": 8, "layers": [{"simd": 2}]}}, "config changed: pe"),
        ({"config": {"pe": 4, "layers": [{"simd": 3}]}}, "config changed: layers.0.simd"),
        ({"config": {"pe": 4, "layers": [], "x": 1}}, "config changed: layers, x"),
        ({"config": {"pe": True, "layers": [{"simd": 2}]}}, "config changed: pe"),
        ({"tools": {"verilator": "5.48"}}, "tool verilator 5.46 -> 5.48"),
        ({"tools": {}}, "tool verilator 5.46 -> none"),
        ({"seed": 2}, "seed 1 -> 2"),
        ({"inputs": {}}, "input model.onnx is gone"),
        ({"seed": None, "tools": {"a": "1"}}, "tool a none -> 1; tool verilator 5.46 -> none; "),
    ],
)
def test_each_change_runs_the_stage_again_and_is_named(
    run: RunDirectory, recorder: Recorder, tmp_path: Path, changes: dict, line: str
) -> None:
    (tmp_path / "model.onnx").write_text("x")
    first = {"tools": {"verilator": "5.46"}, "seed": 1}
    first["inputs"] = {"model.onnx": tmp_path / "model.onnx"}
    recorder.run(run, **first)
    recorder.run(run, **{**first, **changes})
    assert recorder.runs == 2
    assert recorder.said[-1].startswith(f"02_rtl: runs: {line}")


def test_inputs_are_their_content_not_their_name_or_time(
    run: RunDirectory, recorder: Recorder, tmp_path: Path
) -> None:
    file, folder = tmp_path / "a.npz", tmp_path / "rtl"
    file.write_text("1")
    folder.mkdir()
    (folder / "top.sv").write_text("module")
    inputs = {"a": file, "rtl": folder}
    recorder.run(run, inputs=inputs)
    os.utime(file, (0, 0))
    moved = file.rename(tmp_path / "b.npz")
    recorder.run(run, inputs={"a": moved, "rtl": folder})
    assert recorder.runs == 1
    (folder / "top.sv").write_text("Module")
    recorder.run(run, inputs={"a": moved, "rtl": folder})
    assert recorder.said[-1] == "02_rtl: runs: input rtl changed"
    with pytest.raises(UserError, match="an input of stage 02_rtl is missing: a"):
        recorder.run(run, inputs={"a": file})


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize(
    ("name", "harm", "line"),
    [
        ("w.mem", flip, "output w.mem is damaged"),
        ("deep/er/notes.txt", lambda p: p.write_text(""), "output deep/er/notes.txt is damaged"),
        ("w.mem", Path.unlink, "output w.mem is missing"),
        ("manifest.json", Path.unlink, "its manifest.json can't be read"),
        ("manifest.json", lambda p: p.write_text("{"), "its manifest.json can't be read"),
        ("manifest.json", lambda p: p.write_text('{"schema": 0}'), "its manifest.json can't be"),
    ],
)
def test_damage_is_found_named_and_repaired(
    run: RunDirectory, recorder: Recorder, name: str, harm: Callable[[Path], None], line: str
) -> None:
    folder = recorder.run(run)
    harm(folder / name)
    assert run.status()[0].state == "damaged"
    assert run.status()[0].note.startswith(line)
    with pytest.raises(UserError, match=rf"(?s)no whole stage 02_rtl.*{line}.*run: make rtl"):
        run.stage("02_rtl", made_by="make rtl")
    recorder.run(run)
    assert recorder.said[-1].startswith(f"02_rtl: runs: {line}")
    assert run.stage("02_rtl", made_by="make rtl") == folder
    assert (folder / "w.mem").read_text() == "0101"


def test_a_missing_stage_names_the_command_that_makes_it(run: RunDirectory) -> None:
    with pytest.raises(UserError, match=r"(?s)no such stage.*python -m training\.train"):
        run.stage("01_train", made_by="python -m training.train CONFIG")
    with pytest.raises(UserError, match="no such run directory"):
        run.status()


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_a_failed_body_leaves_the_earlier_result_and_nothing_else(
    run: RunDirectory, recorder: Recorder, error: BaseException
) -> None:
    recorder.run(run)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("written")
        raise error

    with pytest.raises(type(error)):
        recorder.run(run, body=fail, seed=5)
    assert {p.name for p in run.path.iterdir()} == {"02_rtl", ".lock"}
    assert [s.state for s in run.status()] == ["whole"]
    recorder.run(run)
    assert recorder.runs == 1


def test_a_resumable_body_finds_its_files_again_if_the_key_is_the_same(run: RunDirectory) -> None:
    recorder = Recorder()
    found: list[list[str]] = []

    def body(folder: Path) -> None:
        found.append(sorted(p.name for p in folder.iterdir()))
        (folder / f"epoch{len(found)}").write_text("weights")
        if len(found) < 4:
            raise KeyboardInterrupt

    def go(seed: int) -> None:
        recorder.run(run, body=body, resumable=True, seed=seed)

    for seed in (1, 1, 2):
        with pytest.raises(KeyboardInterrupt):
            go(seed)
    assert run.status()[0].state == "partial"
    go(2)
    assert found == [[], ["epoch1"], [], ["epoch3"]]
    assert [line.split(":")[1] for line in recorder.said] == [
        " runs",
        " goes on",
        " runs",
        " goes on",
    ]
    assert sorted(run.manifest("02_rtl")["outputs"]) == ["epoch3", "epoch4"]
    assert {p.name for p in run.path.iterdir()} == {"02_rtl", ".lock"}


def test_a_body_may_not_write_the_manifest(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json"):
        Recorder({"manifest.json": "{}"}).run(run)
    with pytest.raises(ValueError, match="no name for a stage"):
        run.run_stage("rtl", config={}, inputs={}, tools={}, body=lambda _: None)


# ---- products at the top


def test_publish_shows_a_file_at_the_top(run: RunDirectory, recorder: Recorder) -> None:
    folder = recorder.run(run)
    target = run.publish("02_rtl/w.mem")
    assert target == run.path / "w.mem"
    assert target.read_text() == "0101"
    assert run.publish(folder / "w.mem") == target
    recorder.files["w.mem"] = "1111"
    recorder.run(run, seed=1)
    assert target.read_text() == "0101"  # until it is published
    assert run.publish(folder / "w.mem").read_text() == "1111"
    with pytest.raises(UserError, match=r"(?s)no such file to publish.*absent"):
        run.publish("02_rtl/absent")
    assert {p.name for p in run.path.iterdir()} == {"02_rtl", ".lock", "w.mem"}


def test_publish_copies_where_it_cannot_link(
    run: RunDirectory, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "cross-device link")

    recorder.run(run)
    monkeypatch.setattr(os, "link", refuse)
    assert run.publish("02_rtl/w.mem").read_text() == "0101"
    assert run.publish("02_rtl/w.mem").stat().st_nlink == 1


def test_write_atomically_replaces_or_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.json"
    write_atomically(target, "old")
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="the disk is full"):
        write_atomically(target, "newer")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


# ---- the machine's errors


def test_a_full_disk_in_the_body_is_the_machines_error(
    run: RunDirectory, recorder: Recorder
) -> None:
    def fill(folder: Path) -> None:
        (folder / "big").write_bytes(bytes(2_500_000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        MachineError, match=r"(?s)the disk is full.*MB free, 2\.5 MB written"
    ) as caught:
        recorder.run(run, body=fill)
    assert str(run.path) in str(caught.value)
    assert caught.value.exit_code == 3
    assert not (run.path / ".02_rtl.partial").exists()


def test_a_full_disk_behind_a_librarys_own_error_is_recognised(
    run: RunDirectory, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise RuntimeError("file write failed")

    with pytest.raises(RuntimeError, match="file write failed"):
        recorder.run(run, body=fail)
    usage = shutil.disk_usage(run.path)._replace(free=4096)
    monkeypatch.setattr(durable.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MachineError, match="the disk is full"):
        recorder.run(run, body=fail)


def test_a_full_disk_while_sealing_leaves_the_earlier_result(
    run: RunDirectory, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.run(run)

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "fsync", full)
        with pytest.raises(MachineError, match="the disk is full"):
            recorder.run(run, seed=3)
    assert recorder.run(run)
    assert recorder.said[-1] == "02_rtl: skipped, nothing it depends on has changed"


def test_missing_permission_names_the_file(run: RunDirectory, recorder: Recorder) -> None:
    def forbidden(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / "x.bit"))

    with pytest.raises(MachineError, match=r"(?s)no permission.*x\.bit"):
        recorder.run(run, body=forbidden)


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(UserError, match="a run directory is a folder"):
        RunDirectory(tmp_path / "config.toml")


# ---- other processes


def test_two_processes_do_not_write_one_run(run: RunDirectory, recorder: Recorder) -> None:
    code = (
        "import sys, time; from deploy.run_directory import RunDirectory\n"
        "with RunDirectory(sys.argv[1]).lock():\n"
        "    print('locked', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=rf"(?s)another process.*pid {other.pid}: -c"):
            recorder.run(run)
    finally:
        other.kill()
        other.communicate()
    with run.lock():
        recorder.run(run)  # a dead process holds no lock, and our own does not stand in our way
    assert recorder.runs == 1


# A run of three stages, each with some files that follow from the stage before. With a second
# argument k, the process is killed just before the k-th call that touches the disk's order.
PIPELINE = """
import json, os, shutil, signal, sys
from pathlib import Path
from deploy import durable, sealed
from deploy.run_directory import RunDirectory

os.fsync = lambda _: None  # costs time, and a kill can't see what it does
if len(sys.argv) > 2:
    countdown = int(sys.argv[2])
    def fatal(function):
        def wrapper(*args, **kwargs):
            global countdown
            countdown -= 1
            if countdown < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapper
    for module, name in [(os, "rename"), (os, "replace"), (os, "fsync"), (os, "mkdir"),
                         (os, "unlink"), (shutil, "rmtree")]:
        setattr(module, name, fatal(getattr(module, name)))

run = RunDirectory(sys.argv[1])
scale = json.loads(Path(sys.argv[1] + ".scale").read_text())
source, done = None, []
for number in (1, 2, 3):
    name = f"0{number}_stage"
    def body(folder):
        done.append(name)
        start = int((source / "5.txt").read_text()) if source else scale
        for i in range(6):
            (folder / f"{i}.txt").write_text(str(start + i))
    inputs = {"before": source / "5.txt"} if source else {}
    source = run.run_stage(name, config={"scale": scale} if number == 1 else {}, inputs=inputs,
                           tools={}, body=body, resumable=number == 2, say=lambda _: None)
    run.publish(source / "5.txt")
print(json.dumps(done))
"""


def pipeline(run: RunDirectory, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PIPELINE, str(run.path), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(run: RunDirectory, scale: int) -> list[str]:
    """Let the pipeline end; check all that it should have left; return the stages that ran."""
    process = pipeline(run)
    done, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [(s.name, s.state) for s in run.status()] == [
        (f"0{n}_stage", "whole") for n in (1, 2, 3)
    ]
    assert (run.path / "5.txt").read_text() == str(scale + 15)
    expected = {".lock", "5.txt", "01_stage", "02_stage", "03_stage"}
    assert {p.name for p in run.path.iterdir()} == expected
    return json.loads(done)


def set_scale(run: RunDirectory, scale: int) -> None:
    run.path.with_name(run.path.name + ".scale").write_text(str(scale))


def count_whole(run: RunDirectory) -> int:
    """How many stages of the whole pipeline a kill has left whole and up to date, at least."""
    return sum(s.state == "whole" for s in run.status()) if run.path.is_dir() else 0


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_kill_before_any_disk_operation_costs_at_most_one_stage(
    run: RunDirectory, stride: int
) -> None:
    """First runs, killed at one of their disk operations after another."""
    whole_before_kill = []
    for step in range(0, 400, stride):
        shutil.rmtree(run.path, ignore_errors=True)
        set_scale(run, step)
        process = pipeline(run, str(step))
        process.communicate(timeout=60)
        whole = count_whole(run)
        whole_before_kill.append(whole)
        assert len(finish(run, step)) <= 3 - whole
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert set(whole_before_kill) == {0, 1, 2, 3}


def test_kills_while_replacing_earlier_results(run: RunDirectory) -> None:
    """Runs over an older result, killed at random moments, until the clock has seen them all."""
    set_scale(run, 0)
    assert len(finish(run, 0)) == 3
    assert finish(run, 0) == []
    rng = random.Random(1)
    for scale in range(1, 6):
        set_scale(run, scale)
        for _ in range(2):
            process = pipeline(run, str(rng.randrange(70)))
            time.sleep(rng.uniform(0.02, 0.2))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert (run.path / "5.txt").read_text().isdigit()
            for number in (1, 2, 3):  # what has its name is whole, whether old or new
                folder = run.path / f"0{number}_stage"
                assert not folder.exists() or not sealed.find_damage(folder)
        finish(run, scale)
