"""push, run, measure and pull through a real ssh client and server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pynq_environments import ROOT, environment_of, ssh_environment
from toy_bundle import OUTPUT, toy, toy_files, write_toy

from deploy.__main__ import main
from deploy.bundle import Bundle
from deploy.errors import NarrowgaugeError
from deploy.remote import Remote, folder_of, remote_arguments

pytestmark = pytest.mark.skipif(
    shutil.which("ssh") is None or shutil.which("ssh-keygen") is None, reason="no ssh client"
)

EXECUTOR = """\
import os, sys
from deploy.executors import serve
from toy_bundle import ToyExecutor
serve(ToyExecutor(), sys.stdin.buffer, sys.stdout.buffer)
"""


@dataclass(frozen=True)
class Board:
    """A host with the options of ssh that reach it, and its home."""

    host: str
    ssh: str
    home: Path


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "client"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True)
    home, fake = folder / "home", folder / "fake" / "hw_build"
    home.mkdir()
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("")
    (fake / "virtual_executor.py").write_text(EXECUTOR)
    pynq = environment_of("3.1.2").parent
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "python3").write_text(f'#!/bin/sh\nexec {pynq / "python"} "$@"\n')
    (bin_folder / "python3").chmod(0o755)
    server = subprocess.Popen(
        [
            *(str(ssh_environment()), str(ROOT / "tests" / "ssh_server.py"), str(folder / "host")),
            *(str(folder / "client.pub"), str(home), f"{bin_folder}:{os.environ['PATH']}"),
            f"{fake.parent}:{ROOT / 'tests'}",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    options = f"-i {folder / 'client'} -p {port} -o StrictHostKeyChecking=no -o BatchMode=yes"
    options += f" -o UserKnownHostsFile={folder / 'known'} -o LogLevel=ERROR -F none"
    yield Board("someone@127.0.0.1", f"ssh {options}", home)
    server.kill()
    server.wait()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    code = {f"deploy/{p.name}": p.read_bytes() for p in (ROOT / "deploy").glob("*.py")}
    return write_toy(tmp_path / "bundle.zip", {**toy_files(), **code})


def test_push_run_measure_and_pull(board, bundle, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    there = ("--host", board.host, "--ssh", board.ssh, "--trust")
    assert main(["push", str(bundle), *there]) == 0
    folder = board.home / capfd.readouterr().out.strip()
    assert (folder / "deploy" / "accelerator.py").is_file()
    assert (folder / "bundle.zip").read_bytes() == bundle.read_bytes()

    x = np.random.default_rng(3).integers(-4, 4, (40, 20)).astype(np.int8)
    np.save("x.npy", x)
    virtual = ("--board", "virtual:pynq_z2", "--rtl", "RUN")
    assert main(["run", str(bundle), "x.npy", "--integers", *virtual, *there]) == 0
    np.testing.assert_array_equal(np.load("output.npy"), toy(x).astype(OUTPUT.dtype))
    assert "source        rtl-simulation" in capfd.readouterr().out

    assert main(["measure", str(bundle), "--batches", "1,9", *virtual, *there]) == 0
    record = json.loads((tmp_path / "measurements.jsonl").read_text())
    assert record["source"] == "rtl-simulation"
    (tmp_path / "again").mkdir()
    assert main(["pull", str(bundle), "--out", "again", *there]) == 0
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == [
        "measurements.jsonl",
        "output.npy",
    ]


def test_what_nobody_vouches_for_is_not_pushed(board, bundle, capfd) -> None:
    before = sorted(board.home.rglob("*"))
    code = main(["push", str(bundle), "--host", board.host, "--ssh", board.ssh])
    assert code == 2
    assert "not trusted" in capfd.readouterr().err
    assert sorted(board.home.rglob("*")) == before


def test_an_error_there_is_an_error_here(board, bundle, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((2, 20), np.int8))
    there = ("--host", board.host, "--ssh", board.ssh, "--trust")
    assert main(["run", str(bundle), "x.npy", "--integers", *there]) == 2
    assert "the bundle has no bitstream" in capfd.readouterr().err


def test_a_board_that_is_not_there_is_one_message(bundle, capfd) -> None:
    ssh = "ssh -p 1 -o BatchMode=yes -o StrictHostKeyChecking=no -F none -o ConnectTimeout=3"
    code = main(["push", str(bundle), "--host", "a@127.0.0.1", "--ssh", ssh, "--trust"])
    assert code == 3
    assert "can't be reached" in capfd.readouterr().err


@pytest.mark.parametrize("host", ["-oProxyCommand=evil", "", "a b"])
def test_a_host_is_no_option(host: str) -> None:
    with pytest.raises(NarrowgaugeError):
        Remote(host)


def test_the_folder_is_named_by_content(tmp_path: Path) -> None:
    one, other = (Bundle.read(write_toy(tmp_path / f"{n}.zip", toy_files(n))) for n in (3, 4))
    assert folder_of(one) != folder_of(other)
    assert one.sha256[:32] in folder_of(one)


def test_arguments_become_the_boards_own() -> None:
    given = ["run", "b.zip", "x.npy", "--host", "a@b", "--run", "RUN", "--out=o", "--integers"]
    assert remote_arguments(given, "b.zip", "x.npy") == [
        *("run", "bundle.zip", "input.npy", "--integers", "--trust", "--out", "output.npy")
    ]
