"""Bitstreams built behind a real ssh server on loopback, by the stand-in for Vivado there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from test_hw_build_bitstream_kills import hanging_build, lives, until
from vivado_behind_ssh import PLACE, There, there
from vivado_builds import make_accelerator, needs_tcl

from deploy.errors import MachineError, NarrowgaugeError, UserError
from hw_build.bitstream.execute import build
from hw_build.bitstream.places import find_vivado, remove_folder
from hw_build.bitstream.plan import RESULTS, STEPS, Plan, make_plan
from hw_build.bitstream.vivado import Vivado
from hw_build.blocks import Block
from hw_build.boards import BOARDS

NAMES = [step.script for step in STEPS]

pytestmark = needs_tcl
assert there  # the fixture


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Block, ...]]:
    return make_accelerator(tmp_path_factory.mktemp("rtl"))


@pytest.fixture
def plan(accelerator: tuple[Path, tuple[Block, ...]]) -> Plan:
    return make_plan(*accelerator, BOARDS["pynq_z2"], 100.0)


def built(plan: Plan, work: Path, said: list[str] | None = None) -> Path:
    found = find_vivado(PLACE)
    assert found is not None
    return build(plan, found, work, say=(said if said is not None else []).append)


def explained(plan: Plan, work: Path, said: list[str] | None = None) -> NarrowgaugeError:
    with pytest.raises(NarrowgaugeError) as caught:
        built(plan, work, said)
    return caught.value


def test_a_build_there_is_whole_here_and_is_not_made_twice(
    there: There, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    there.profile(fault="critical")
    folder = built(plan, tmp_path / "work", said)
    assert there.scripts() == NAMES
    (place,) = there.folders()
    assert place.name == f"{plan.digest[:32]}-2022.2"
    for name in RESULTS:
        assert (folder / name).read_bytes() == (place / name).read_bytes()
    summary = json.loads((folder / "bitstream.json").read_text())
    assert summary["accelerator"]["lut"] == 9712
    assert summary["critical_warnings"][0]["identity"] == "Common 17-1000"
    assert "something to look at" in "\n".join(said)
    assert f"step 6 of 6, {STEPS[5].title}" in said[-1]

    # the next one, from wherever, and by the same Vivado here, finds it
    assert built(plan, tmp_path / "elsewhere") == folder
    here = Vivado("local", tmp_path, "/no/vivado", "2022.2")
    assert build(plan, here, tmp_path / "here") == folder
    assert there.scripts() == NAMES

    # another one says how long it will take, of what took some time here
    said.clear()
    history = tmp_path / "store" / "seconds.json"
    seconds = json.loads(history.read_text())["pynq_z2"]
    assert all(set(steps) == {step.name for step in STEPS} for steps in seconds.values())
    history.write_text(
        json.dumps({"pynq_z2": {n: dict.fromkeys(s, 600) for n, s in seconds.items()}})
    )
    other = Plan(plan.board, 50.0, plan.files, plan.instances, plan.lut)
    there.profile(fault="licence")
    explained(other, tmp_path / "work", said)
    assert said[0].endswith("about 60 min to go")

    found = find_vivado(PLACE)
    assert found is not None
    remove_folder(plan, found, tmp_path / "work")
    assert len(there.folders()) == 1
    remove_folder(plan, found, tmp_path / "work")


@pytest.mark.parametrize(
    ("fault", "kind", "complaint"),
    [
        ("timing", UserError, "too slow for its clock"),
        pytest.param("licence", MachineError, "no licence for", marks=pytest.mark.nightly),
        pytest.param("killed", MachineError, "Vivado was killed", marks=pytest.mark.nightly),
    ],
)
def test_a_failure_there_is_explained_here_and_the_build_goes_on(
    fault: str, kind: type, complaint: str, there: There, plan: Plan, tmp_path: Path
) -> None:
    there.profile(fault=fault)
    error = explained(plan, tmp_path / "work")
    assert isinstance(error, kind)
    assert complaint in str(error)
    n_tried = len(there.scripts())
    there.profile()
    if fault != "timing":  # whose routing is whole, and stays too slow
        built(plan, tmp_path / "elsewhere")
        assert there.scripts()[n_tried:] == NAMES[n_tried - 1 :]


def test_a_connection_that_is_cut_ends_vivado_there_and_the_build_goes_on(
    there: There, plan: Plan, tmp_path: Path
) -> None:
    there.profile(fault="hangs")
    seen: list[int] = []

    def cut() -> None:
        until(lambda: there.hanging())
        seen.append(int(there.hanging()))
        os.kill(child(os.getpid(), "ssh"), signal.SIGKILL)

    cutter = threading.Thread(target=cut)
    cutter.start()
    error = explained(plan, tmp_path / "work")
    cutter.join()
    assert "the connection to the host broke" in str(error)
    assert "placement" in error.where
    until(lambda: not lives(seen[0]))
    there.profile()
    built(plan, tmp_path / "work")
    assert there.scripts() == [*NAMES[:4], *NAMES[3:]]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.nightly),
        pytest.param(signal.SIGKILL, marks=pytest.mark.nightly),
    ],
)
def test_whatever_ends_us_ends_vivado_there(
    number: int, there: There, plan: Plan, tmp_path: Path
) -> None:
    there.profile(fault="hangs")
    with hanging_build(plan, PLACE, tmp_path / "work", there.hanging) as (process, vivado):
        process.send_signal(number)
        process.wait(20)
        until(lambda: not lives(vivado))
        if number == signal.SIGTERM:
            assert process.returncode == 128 + number
    there.profile()
    built(plan, tmp_path / "work")
    assert there.scripts() == [*NAMES[:4], *NAMES[3:]]


def test_a_vivado_that_works_there_keeps_others_out(
    there: There, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.profile(fault="hangs")
    with hanging_build(plan, PLACE, tmp_path / "work", there.hanging) as (_, vivado):
        monkeypatch.setenv("NARROWGAUGE_STORE", str(tmp_path / "of somebody else"))
        error = explained(plan, tmp_path / "elsewhere")
        group = os.getpgid(vivado)
        assert "still works there" in str(error)
        assert f"kill -KILL -- -{group};" in error.fix
        found = find_vivado(PLACE)
        assert found is not None
        remove_folder(plan, found, tmp_path / "elsewhere")
        assert len(there.folders()) == 1
        assert lives(vivado)


def test_no_vivado_there_says_how_to_name_it(there: There) -> None:
    there.profile("PATH=/usr/bin:/bin")
    with pytest.raises(MachineError, match="Vivado is not found on the host") as caught:
        find_vivado(PLACE)
    assert "export XILINX_VIVADO=" in caught.value.fix
    there.profile("PATH=/usr/bin:/bin", f"export XILINX_VIVADO={there.vivado.parents[1]}")
    found = find_vivado(PLACE)
    assert found is not None
    assert found.program == str(there.vivado)
    there.vivado.write_text("#!/bin/sh\necho no licence for this day; exit 1\n")
    with pytest.raises(MachineError, match=r"does not start[\s\S]*no licence for this day"):
        find_vivado(PLACE)


def test_a_host_that_lacks_a_tool_says_which(there: There, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "bash").symlink_to("/bin/bash")
    there.profile(f"PATH={few}:{there.vivado.parent}; set --")
    with pytest.raises(MachineError, match=r"no flock, no python3 \(3.7 or later\)"):
        find_vivado(PLACE)


def test_no_host_no_ssh_and_a_full_disk_are_one_message_each(
    there: There, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no name of a host"):
        find_vivado("ssh:-oProxyCommand=evil")
    found = find_vivado(PLACE)
    assert found is not None
    full = tmp_path / "host" / "tar"  # nor is there an rsync
    full.write_text("#!/bin/sh\necho tar: write error: No space left on device >&2; exit 2\n")
    full.chmod(0o755)
    monkeypatch.setattr("deploy.ssh.Host.send", lambda host, *_: host.shell(str(full)))
    with pytest.raises(MachineError, match="the disk is full there"):
        build(plan, found, tmp_path / "work")
    there.host.server.kill()
    with pytest.raises(MachineError, match="the host can't be reached"):
        find_vivado(PLACE)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(MachineError, match=r"no ssh[\s\S]*apt-get install openssh-client"):
        find_vivado(PLACE)


def child(pid: int, name: str) -> int:
    """The process of this name that `pid` has started."""
    listing = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    (found,) = [line.split()[0] for line in listing.stdout.splitlines() if line.split()[1] == name]
    return int(found)
