"""push, run, measure and pull through a real ssh client and server on loopback."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from debian_packages import NoMirror, unpacked
from pynq_environments import ROOT, environment_of
from ssh_hosts import Host, serving
from test_deploy_records import record
from toy_bundle import toy, toy_files, write_toy

from deploy.bundle import Bundle
from deploy.commands import main, parsed, remote_arguments
from deploy.errors import MachineError, NarrowgaugeError
from deploy.records import append
from deploy.remote import LAUNCHER, LOG, OUTPUT, Remote, folder_of

RSYNC = ("rsync", "libpopt0", "libxxhash0")

EXECUTOR = """\
import os, sys
from deploy.executors import serve
from toy_bundle import ToyExecutor
serve(ToyExecutor(), sys.stdin.buffer, sys.stdout.buffer)
"""


def rsync() -> Path:
    """The machine's rsync, or Debian's unpacked; NoMirror where there is neither."""
    installed = shutil.which("rsync")
    if installed is not None:
        return Path(installed)
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "")
    folder = unpacked("rsync", RSYNC, architecture, with_dependencies=False)
    libraries = ":".join(str(path) for path in sorted(folder.glob("usr/lib/*-linux-gnu")))
    script = folder / "rsync"
    script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {folder}/usr/bin/rsync "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("ssh")
    fake = folder / "fake" / "hw_build"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("")
    (fake / "virtual_executor.py").write_text(EXECUTOR)
    pynq = environment_of("3.1.2").parent
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "python3").write_text(f'#!/bin/sh\nexec {pynq / "python"} "$@"\n')
    (bin_folder / "python3").chmod(0o755)
    with suppress(NoMirror):
        (bin_folder / "rsync").symlink_to(rsync())
    modules = f"{fake.parent}:{ROOT / 'tests'}"
    with serving(folder, f"{bin_folder}:{os.environ['PATH']}", modules) as host:
        yield host


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
    given = ["./bundle.zip", "./x.npy", "--integers", *virtual, *there]
    assert main(["run", *given, "--out", "new/scores.npy", "--json"]) == 0
    np.testing.assert_array_equal(np.load("new/scores.npy"), toy(x))
    told = json.loads(capfd.readouterr().out)
    assert told["source"] == "rtl-simulation"
    assert len(told["classes"]) == 40

    own = record("golden-model")
    append(tmp_path / "mine.jsonl", own)
    append(tmp_path / LOG, own)
    more = ("--batches", "1,9", "--log", "mine.jsonl", *virtual, *there)
    assert main(["measure", str(bundle), *more, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    before, new = map(json.loads, (tmp_path / "mine.jsonl").read_text().splitlines())
    assert before == own
    assert new["source"] == "rtl-simulation"
    assert told["record"] == new
    assert main(["report", "mine.jsonl", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"records": [own, new]}
    assert [entry["batch"] for entry in new["throughput"]] == [1, 9]
    for _ in range(2):
        assert main(["pull", str(bundle), *there, "--json"]) == 0
        told = json.loads(capfd.readouterr().out)
        assert told == {"host": board.host, "written": [LOG, OUTPUT]}
    assert main(["push", str(bundle), *there, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["folder"] == str(folder.relative_to(board.home))
    assert list(map(json.loads, (tmp_path / LOG).read_text().splitlines())) == [own, new]
    np.testing.assert_array_equal(np.load(OUTPUT), toy(x))


@pytest.mark.parametrize("way", ["rsync", "tar"])
def test_files_travel_by_rsync_or_by_tar(way, board, bundle, monkeypatch) -> None:
    try:
        program = rsync()
    except NoMirror as error:
        if way == "rsync":
            pytest.skip(f"no rsync here, nor Debian's: {error}")
        program = None
    which = shutil.which
    names = {"rsync": str(program) if way == "rsync" else None}
    monkeypatch.setattr(shutil, "which", lambda name: names.get(name, which(name)))
    if program is not None:
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    remote, sent = Remote(board.host, board.ssh), []
    checked = remote.host._checked
    spied = lambda command, *more: (sent.append(command[0]), checked(command, *more))[1]  # noqa: E731
    monkeypatch.setattr(remote.host, "_checked", spied)
    files = {**toy_files(len(way) + 9), "deploy/errors.py": bytes(range(256)) * (1 << 14)}
    large = Bundle.read(write_toy(bundle.with_name(f"{way}.zip"), files))
    folder = board.home / remote.push(large)
    assert (folder / "deploy/errors.py").read_bytes() == files["deploy/errors.py"]
    assert (folder / "bundle.zip").read_bytes() == large.path.read_bytes()
    assert ("rsync" in sent) == (way == "rsync")


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


def test_a_board_that_says_nothing_is_one_message(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("deploy.ssh.ANSWER_S", 0.3)
    silent = script(tmp_path / "silent", "exec sleep 30")
    bundle = Bundle.read(write_toy(tmp_path / "b.zip"))
    with pytest.raises(MachineError, match=r"does not answer[\s\S]*nothing within 0.3 s"):
        Remote("a@b", str(silent)).push(bundle)
    monkeypatch.setattr("deploy.remote.WORK_S", 0.3)
    with pytest.raises(MachineError, match="does not answer"):
        Remote("a@b", str(silent)).command(bundle, ["measure"], None)


def test_ssh_gives_up_on_a_board_that_goes_away(tmp_path) -> None:
    ssh = script(tmp_path / "ssh", 'echo "$@"; exit 9')
    remote = Remote("a@b", f"{ssh} -o ConnectTimeout=3")
    said = remote.host._ssh[1:]
    assert said[:2] == ["-o", "ConnectTimeout=3"]  # the first one counts
    for option in ("ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4"):
        assert option in said


@pytest.mark.parametrize("host", ["-oProxyCommand=evil", "", "a b"])
def test_a_host_is_no_option(host: str) -> None:
    with pytest.raises(NarrowgaugeError, match="no name of a host"):
        Remote(host)


def test_without_ssh_the_error_names_the_package(tmp_path) -> None:
    with pytest.raises(MachineError, match=r"no ssh[\s\S]*apt-get install openssh-client"):
        Remote("a@b", str(tmp_path / "none"))


def test_the_folder_is_named_by_content(tmp_path: Path) -> None:
    one, other = (Bundle.read(write_toy(tmp_path / f"{n}.zip", toy_files(n))) for n in (3, 4))
    assert folder_of(one) != folder_of(other)
    assert one.sha256[:32] in folder_of(one)


ARGUMENTS = {
    "run ./b.zip ./x.npy --host=a@b --run RUN --out=o --integers": (
        "run bundle.zip input.npy --trust --out output.npy --integers"
    ),
    "run b.zip b.zip --host a@b --ssh 'ssh -p 9' --trust": (
        "run bundle.zip input.npy --trust --out output.npy"
    ),
    "measure b.zip --host a@b --log l --batches 1,20 --repeats 40 --timeout-s 2": (
        "measure bundle.zip --trust --timeout-s 2.0 --repeats 40 --batches 1,20"
    ),
    "measure --host a@b --board virtual:pynq_z2 --rtl R --python p ./b.zip": (
        "measure bundle.zip --trust --board virtual:pynq_z2 --rtl R --python p --repeats 30 "
        "--batches 1,10,100,1000"
    ),
}


@pytest.mark.parametrize("given", ARGUMENTS)
def test_arguments_become_the_boards_own(given: str) -> None:
    there = remote_arguments(parsed(shlex.split(given)))
    assert shlex.join(there) == ARGUMENTS[given]
    assert parsed(there).host is None  # and it takes them


@pytest.mark.parametrize("given", ["--hos a@b", "--integer", "--tru"])
def test_an_option_is_not_abbreviated(given: str, capsys) -> None:
    with pytest.raises(SystemExit):
        parsed(["run", "b.zip", "x.npy", *given.split()])
    assert "unrecognized arguments" in capsys.readouterr().err


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("who", ["root", "sudo", "user"])
@pytest.mark.parametrize("xrt", [True, False])
def test_the_launcher_finds_root_the_environment_and_xrt(who, xrt, tmp_path) -> None:
    root, programs, home = tmp_path / "root", tmp_path / "bin", tmp_path / "home"
    for folder in (root / "etc" / "profile.d", programs, home / "here"):
        folder.mkdir(parents=True)
    if xrt:
        (root / "usr" / "include" / "xrt").mkdir(parents=True)
    (root / "etc/profile.d/pynq_venv.sh").write_text("export VENV=pynq\n")
    (root / "etc/profile.d/boardname.sh").write_text("export BOARD=Pynq-Z2\n")
    script(programs / "id", f"echo {0 if who == 'root' else 1000}")
    asks = "exit 1" if who == "user" else 'shift; SUDO=yes exec "$@"'
    script(programs / "sudo", asks)
    shown = '"$PWD|$VENV|$BOARD|$XILINX_XRT|$SUDO"; for a; do echo "$a"; done'
    script(programs / "python3", f"echo {shown}")
    done = subprocess.run(
        ["sh", "-c", LAUNCHER.format(folder="here", arguments="'a  b' c", root=root)],
        env={"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    seen, *arguments = done.stdout.splitlines()
    sudo = "yes" if who == "sudo" else ""
    assert seen == f"{home / 'here'}|pynq|Pynq-Z2|{'/usr' if xrt else ''}|{sudo}"
    assert arguments == ["-m", "deploy", "a  b", "c"]
