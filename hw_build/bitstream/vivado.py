"""Vivado: found here or in a container, its version read, one script run."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.errors import MachineError

from . import leash
from .leash import end_container

PLACES = ("auto", "local", "docker", "none")
"""Where Vivado may run: here if it is found (auto), here, in a container, nowhere."""

IMAGE = "narrowgauge:build"
INSTALLATION = "XILINX_VIVADO"
"""The variable that Vivado's settings64.sh sets to its folder."""

COMPANIONS = ("XILINX_VITIS", "XILINX_HLS")
"""Those of Vitis, which containers see as well."""

CONTAINER = ".container"
"""Ends the name of the file that takes a container's id, beside the log."""
LICENCES = ("XILINXD_LICENSE_FILE", "LM_LICENSE_FILE")


@dataclass(frozen=True)
class Vivado:
    """A Vivado that answers.

    Args:
        place: "local" or "docker".
        installation: its folder.
        program: the path of `vivado`.
        version: such as "2022.2".
    """

    place: str
    installation: Path
    program: str
    version: str

    def command(self, script: str, log: str, folder: Path) -> list[str]:
        """The argument list that runs `script` in `folder`; all names are relative to it."""
        options = ["-mode", "batch", "-nojournal", "-notrace", "-log", log, "-source", script]
        prefix: list[str] = []
        if self.place == "docker":
            prefix = _container(self.installation, folder, f"{log}{CONTAINER}")
        return [*prefix, self.program, *options]


def find_vivado(place: str) -> Vivado | None:
    """Vivado at `place`, one of PLACES; None if it is not asked for, or not found by "auto".

    Raises:
        MachineError: it was asked for and is missing, or doesn't tell its version.
    """
    if place == "none":
        return None
    program = _program()
    if program is None:
        if place == "auto":
            return None
        raise MachineError(
            "Vivado is not found",
            found=f"no vivado on the PATH, and none below ${INSTALLATION}",
            expected="Vivado 2020.2 or later, as installed on this machine",
            fix="source VIVADO/settings64.sh, or build everything else: --vivado none",
        )
    if place == "docker" and shutil.which("docker") is None:
        raise MachineError(
            "docker is not found",
            found="no docker on the PATH",
            fix="install it, or build without a container: --vivado local",
        )
    where = "docker" if place == "docker" else "local"
    unknown = Vivado(where, program.parents[1], str(program), version="")
    return replace(unknown, version=_version(unknown))


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
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            group = lock.read()
            raise MachineError(
                "a Vivado of an earlier run still works here",
                where=str(work),
                found=f"process group {group or 'not known yet'}",
                fix=f"wait for it, or end it: kill -KILL -- -{group or 'GROUP'}; "
                "then the same command goes on",
            ) from None
        for id_file in work.glob(f"*{CONTAINER}"):  # docker inherits no lock
            end_container(id_file)
        yield lock.fileno()


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


def _program() -> Path | None:
    """`vivado` of $XILINX_VIVADO, or on the PATH."""
    chosen = os.environ.get(INSTALLATION)
    found = shutil.which("vivado", path=str(Path(chosen) / "bin")) if chosen else None
    found = found or shutil.which("vivado")
    return Path(found).absolute() if found else None


def _version(vivado: Vivado) -> str:
    prefix = _container(vivado.installation) if vivado.place == "docker" else []
    done = subprocess.run(
        [*prefix, vivado.program, "-version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    found = re.search(r"[Vv]ivado v(\d{4}\.\d+(?:\.\d+)?)", done.stdout)
    if done.returncode != 0 or not found:
        raise MachineError(
            "Vivado does not start",
            where=vivado.program + (" in docker" if prefix else ""),
            found=f"exit code {done.returncode}: {done.stdout.strip()[-300:] or 'no output'}",
            fix="make docker-image" if prefix else "run `vivado -version` yourself",
        )
    return found[1]


def _container(installation: Path, folder: Path | None = None, id_file: str = "") -> list[str]:
    """A container that sees Vivado and licence files read-only, and writes as this user.

    --init: Vivado as the first process of a container would not hear of signals.
    """
    arguments = ["docker", "run", "--rm", "--init", "--user", f"{os.getuid()}:{os.getgid()}"]
    arguments += [leash.CID_OPTION, id_file] if id_file else []
    folders = {name: os.environ[name] for name in COMPANIONS if os.environ.get(name)}
    for name, path in {INSTALLATION: str(installation), **folders}.items():
        arguments += ["--volume", f"{path}:{path}:ro", "--env", f"{name}={path}"]
    arguments += ["--env", "HOME=/tmp"]
    for name in LICENCES:
        value = os.environ.get(name)
        if value is None:
            continue
        arguments += ["--env", f"{name}={value}"]
        for part in value.split(":"):
            if "@" not in part and Path(part).is_absolute() and Path(part).exists():
                arguments += ["--volume", f"{part}:{part}:ro"]
    if any(name in os.environ for name in LICENCES):
        arguments += ["--network", "host"]  # licences are bound to this machine's address
    if folder is not None:
        arguments += ["--volume", f"{folder.absolute()}:/build", "--workdir", "/build"]
    return [*arguments, IMAGE]
