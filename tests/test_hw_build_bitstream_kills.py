"""Builds that are killed: nothing is left running, and the next build goes on from there."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from vivado_builds import (
    HERE,
    docker_beside,
    explained,
    fake_vivado,
    make_accelerator,
    needs_tcl,
    run,
    scripts_of,
)

from deploy.errors import MachineError
from hw_build.bitstream.execute import build
from hw_build.bitstream.places import find_vivado
from hw_build.bitstream.plan import STEPS, Plan, make_plan
from hw_build.blocks import Block
from hw_build.boards import BOARDS

BUILDER = """
import pickle, sys
from pathlib import Path
from hw_build import flow
from hw_build.bitstream.execute import build
from hw_build.bitstream.places import find_vivado
plan, place, work = pickle.load(sys.stdin.buffer)
with flow._signals_as_exceptions():
    build(plan, find_vivado(place), work)
"""


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Block, ...]]:
    return make_accelerator(tmp_path_factory.mktemp("rtl"))


@pytest.fixture
def plan(accelerator: tuple[Path, tuple[Block, ...]]) -> Plan:
    return make_plan(*accelerator, BOARDS["pynq_z2"], 100.0)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return fake_vivado(tmp_path, monkeypatch)


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return docker_beside(tmp_path, monkeypatch)


@needs_tcl
def test_a_killed_build_goes_on_and_a_whole_one_is_not_built_again(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "killed")
    explained(plan, work)
    assert len(scripts_of(fake())) == 4
    monkeypatch.delenv("FAKE_VIVADO_FAULT")
    built = run(plan, work)
    names = [f"{step.name}.tcl" for step in STEPS]
    assert scripts_of(fake()) == [*names[:4], *names[3:]]
    assert run(plan, tmp_path / "elsewhere") == built
    assert len(scripts_of(fake())) == 7
    other = Plan(plan.board, 50.0, plan.files, plan.instances)
    assert run(other, work) != built
    assert len(scripts_of(fake())) == 13


@contextmanager
def hanging_build(
    plan: Plan, place: str, work: Path, hanging: Callable[[], str] | None = None
) -> Iterator[tuple[subprocess.Popen, int]]:
    """A process that builds, whose Vivado hangs in the placement; and that Vivado's id.

    `hanging` tells that id once it hangs, where Vivado doesn't work in `work`.
    """
    environment = {**os.environ, "FAKE_VIVADO_FAULT": "hangs", "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER], env=environment, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps((plan, place, work)))
    process.stdin.close()
    mark = work / "hangs.pid"
    found = hanging or (lambda: mark.read_text() if mark.is_file() else "")
    until(found)
    vivado = int(found())
    try:
        yield process, vivado
    finally:
        for end, number in ((process.kill, ()), (os.kill, (vivado, signal.SIGKILL))):
            with suppress(ProcessLookupError):
                end(*number)
        process.wait()


def until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("waited in vain")


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_tcl
@pytest.mark.parametrize(
    ("place", "number"),
    [("local", signal.SIGTERM), ("local", signal.SIGKILL), ("docker", signal.SIGKILL)],
)
def test_a_killed_flow_leaves_no_vivado_behind_and_goes_on(
    place: str, number: int, plan: Plan, tmp_path: Path, fake, fake_docker
) -> None:
    work = tmp_path / "stage" / "work"
    with hanging_build(plan, place, work) as (process, vivado):
        process.send_signal(number)
        assert process.wait(20) in (128 + number, -number)
        until(lambda: not lives(vivado))
    kills = [call for call in fake_docker() if call[0] == "kill"]
    assert len(kills) == (place == "docker")
    found = find_vivado(place)
    assert found is not None
    build(plan, found, work, say=[].append)
    names = [f"{step.name}.tcl" for step in STEPS]
    assert scripts_of(fake()) == [*names[:4], *names[3:]]


@needs_tcl
@pytest.mark.parametrize("place", ["local", "docker"])
def test_a_vivado_that_outlived_everything_is_met(
    place: str, plan: Plan, tmp_path: Path, fake, fake_docker
) -> None:
    work = tmp_path / "stage" / "work"
    with hanging_build(plan, place, work) as (process, vivado):
        leash = int(work.with_name("work.lock").read_text())
        process.send_signal(signal.SIGSTOP)  # so that it does not see its child die
        os.kill(leash, signal.SIGKILL)
        process.kill()
        process.wait()
        assert lives(vivado)
        if place == "local":
            with pytest.raises(MachineError, match=f"process group {leash}") as caught:
                run(plan, work)
            assert f"kill -KILL -- -{leash}" in caught.value.fix
            assert lives(vivado)
            os.killpg(leash, signal.SIGKILL)
        else:
            os.killpg(leash, signal.SIGKILL)  # docker's client dies, the container does not
            assert lives(vivado)
        found = find_vivado(place)
        assert found is not None
        build(plan, found, work, say=[].append)
        until(lambda: not lives(vivado))
    names = [f"{step.name}.tcl" for step in STEPS]
    assert scripts_of(fake()) == [*names[:4], *names[3:]]
