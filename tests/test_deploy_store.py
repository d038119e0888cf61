"""The store: found whole or made, by one process at a time, and never half."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.errors import MachineError
from deploy.store import Store, default_root

ROOT = Path(__file__).resolve().parent.parent


class Maker:
    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, folder: Path) -> None:
        self.runs += 1
        (folder / "obj").mkdir()
        (folder / "obj/model.so").write_text("code")


def test_an_entry_is_made_once_per_key(tmp_path: Path) -> None:
    store, make = Store(tmp_path), Maker()
    first = store.get_or_make("verilated", {"cpu": "x", "sources": ["a", "b"]}, make)
    assert store.get_or_make("verilated", {"sources": ["a", "b"], "cpu": "x"}, make) == first
    assert (
        Store(tmp_path).get_or_make("verilated", {"sources": ("a", "b"), "cpu": "x"}, make) == first
    )
    assert make.runs == 1
    assert (first / "obj/model.so").read_text() == "code"
    others = [("verilated", {"cpu": "y", "sources": ["a", "b"]}), ("yosys", {"cpu": "x"})]
    assert len({first} | {store.get_or_make(kind, parts, make) for kind, parts in others}) == 3


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    store, make = Store(tmp_path), Maker()
    entry = store.get_or_make("verilated", {}, make)
    (entry / "obj/model.so").write_text("rot!")
    assert store.get_or_make("verilated", {}, make) == entry
    assert (entry / "obj/model.so").read_text() == "code"
    (entry / "obj/model.so").unlink()
    store.get_or_make("verilated", {}, make)
    (entry / "manifest.json").unlink()
    store.get_or_make("verilated", {}, make)
    assert make.runs == 4
    assert [p.name for p in entry.parent.iterdir()] == [entry.name]


def test_a_failed_maker_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("g++ failed")

    with pytest.raises(RuntimeError, match=r"g\+\+ failed"):
        store.get_or_make("verilated", {}, fail)
    assert list((tmp_path / "verilated").iterdir()) == []

    def fill(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MachineError, match="the disk is full"):
        store.get_or_make("verilated", {}, fill)
    make = Maker()
    store.get_or_make("verilated", {}, make)
    assert make.runs == 1


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("NARROWGAUGE_STORE", "/big/disk")
    assert default_root() == Path("/big/disk")
    monkeypatch.delenv("NARROWGAUGE_STORE")
    assert default_root() == Path("/caches/narrowgauge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Store().root == Path("/nowhere/.cache/narrowgauge")


# Appends a line to a log when it makes the entry, and takes its time over it.
MAKER = """
import os, sys, time
from pathlib import Path
from deploy.store import Store

def make(folder):
    with open(sys.argv[2], "a") as log:
        log.write(f"{os.getpid()}\\n")
    for i in range(20):
        (folder / f"{i}.o").write_text(str(i) * 1000)
        time.sleep(0.01)

entry = Store(Path(sys.argv[1])).get_or_make("verilated", {"n": 20}, make)
assert all((entry / f"{i}.o").read_text() == str(i) * 1000 for i in range(20))
"""


def start(tmp_path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", MAKER, str(tmp_path / "store"), str(tmp_path / "log")]
    return subprocess.Popen(command, cwd=ROOT)


def test_of_racing_processes_one_makes_and_the_others_wait(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(4)]
    assert [p.wait(timeout=60) for p in processes] == [0, 0, 0, 0]
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_killed_maker_stands_in_nobodys_way(tmp_path: Path) -> None:
    first = start(tmp_path)
    while not (tmp_path / "log").exists():
        time.sleep(0.01)
    second = start(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert second.wait(timeout=60) == 0
    makers = (tmp_path / "log").read_text().split()
    assert makers == [str(first.pid), str(second.pid)]
    entries = list((tmp_path / "store/verilated").iterdir())
    assert len(entries) == 1
