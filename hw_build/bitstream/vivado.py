"""Vivado: found here or in a container, its version read, one script run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.errors import MachineError

PLACES = ("auto", "local", "docker", "none")
"""Where Vivado may run: here if it is found (auto), here, in a container, nowhere."""

IMAGE = "narrowgauge:build"
INSTALLATION = "XILINX_VIVADO"
"""The variable that Vivado's settings64.sh sets to its folder."""

SECONDS_TO_END = 10.0
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
        prefix = _container(self.installation, folder) if self.place == "docker" else []
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


def run_script(vivado: Vivado, script: str, log: str, folder: Path) -> int:
    """Runs one script and returns the exit code, negative if a signal ended it.

    Whatever ends us by an exception ends Vivado and its children too.
    """
    command = vivado.command(script, log, folder)
    with (
        open(folder / f"{log}.out", "wb") as out,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            return process.wait()
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the process and its children to end (docker passes that on), then makes them."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _program() -> Path | None:
    """`vivado` of $XILINX_VIVADO, or on the PATH."""
    chosen = os.environ.get(INSTALLATION)
    found = shutil.which("vivado", path=str(Path(chosen) / "bin")) if chosen else None
    found = found or shutil.which("vivado")
    return Path(found).absolute() if found else None


def _version(vivado: Vivado) -> str:
    prefix = _container(vivado.installation, None) if vivado.place == "docker" else []
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


def _container(installation: Path, folder: Path | None) -> list[str]:
    """A container that sees Vivado and licence files read-only, and writes as this user."""
    arguments = ["docker", "run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}"]
    arguments += ["--volume", f"{installation}:{installation}:ro"]
    arguments += ["--env", f"{INSTALLATION}={installation}", "--env", "HOME=/tmp"]
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
