"""The folder of a build on this machine: its lock, its files, its scripts run one by one."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.durable import write_atomically
from deploy.errors import MachineError

from . import leash
from .leash import end_container
from .plan import Plan, Step
from .vivado import CONTAINER, Vivado

_TO_END_S = 3.0  # after signal 9 to its flow, Vivado is ended by what is left of it: see leash


@dataclass(frozen=True)
class LocalFolder:
    """A build's folder on this machine, as `BuildFolder` says it."""

    vivado: Vivado
    path: Path
    lock: int

    def lacks(self, *names: str) -> list[str]:
        return [name for name in names if not (self.path / name).is_file()]

    def run(self, step: Step) -> int:
        return run_script(self.vivado, step.script, step.log, self.path, self.lock)

    def bring(self, *names: str) -> None:
        """They are here."""

    def mark(self, name: str) -> None:
        write_atomically(self.path / name, "")


@contextmanager
def open_local(
    plan: Plan, vivado: Vivado, work: Path, more: Mapping[str, Path]
) -> Iterator[LocalFolder]:
    """`work` with the plan's files; what another plan or Vivado left there is removed first."""
    with sole_builder(work) as lock:
        mark, text = work / "plan", f"{plan.digest} {vivado.version}\n"
        if work.exists() and (not mark.is_file() or mark.read_text() != text):
            shutil.rmtree(work)
        plan.write(work, more)
        write_atomically(mark, text)
        yield LocalFolder(vivado, work, lock)


def lock_of(work: Path) -> Path:
    """The file whose lock `sole_builder` holds: beside the folder, which may be made anew."""
    return work.with_name(f"{work.name}.lock")


@contextmanager
def sole_builder(work: Path) -> Iterator[int]:
    """Holds the lock of the folder `work`, and gives its file's number for `run_script`.

    Vivado inherits the lock: what outlives its flow keeps the next one out of `work`.

    Raises:
        MachineError: a Vivado of an earlier run still works there.
    """
    path = lock_of(work)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as lock:
        if not _locked_soon(lock.fileno()):
            lock.seek(0)
            group = lock.read()
            raise MachineError(
                "a Vivado of an earlier run still works here",
                where=str(work),
                found=f"process group {group or 'not known yet'}",
                fix=f"wait for it, or end it: kill -KILL -- -{group or 'GROUP'}; "
                "then the same command goes on",
            )
        for id_file in work.glob(f"*{CONTAINER}"):  # docker inherits no lock
            end_container(id_file)
        yield lock.fileno()


def _locked_soon(lock: int) -> bool:
    """Takes the lock; False if it is held for longer than a Vivado that was killed takes to end."""
    until = time.monotonic() + _TO_END_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        else:
            return True


def run_script(vivado: Vivado, script: str, log: str, folder: Path, lock: int) -> int:
    """Runs one script and returns the exit code, 128 and more if a signal ended it.

    Whatever ends us, be it signal 9, ends Vivado, its children and its container too.

    Args:
        lock: what `sole_builder` gives.
    """
    container = folder / f"{log}{CONTAINER}"
    with (
        open(folder / f"{log}.out", "wb") as out,
        subprocess.Popen(
            [sys.executable, "-I", leash.__file__, *vivado.command(script, log, folder)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
        ) as process,
    ):
        os.ftruncate(lock, 0)
        os.write(lock, str(process.pid).encode())
        try:
            return process.wait()
        except BaseException:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            raise
        finally:
            container.unlink(missing_ok=True)
