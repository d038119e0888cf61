"""Vivado on this machine or in a container: found, its version read, its command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.errors import MachineError

from . import leash

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
        prefix: list[str] = []
        if self.place == "docker":
            prefix = _container(self.installation, folder, f"{log}{CONTAINER}")
        return [*prefix, self.program, *batch_options(script, log)]


def batch_options(script: str, log: str) -> list[str]:
    """What `vivado` is given to run a script and write a log."""
    return ["-mode", "batch", "-nojournal", "-notrace", "-log", log, "-source", script]


def version_in(text: str) -> str:
    """The version that `vivado -version` printed; empty if there is none."""
    found = re.search(r"[Vv]ivado v(\d{4}\.\d+(?:\.\d+)?)", text)
    return found[1] if found else ""


def find_here(place: str) -> Vivado | None:
    """Vivado at "local", "docker", or "auto": None if that doesn't find it.

    Raises:
        MachineError: it was asked for and is missing, or doesn't tell its version.
    """
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
    version = version_in(done.stdout)
    if done.returncode != 0 or not version:
        raise MachineError(
            "Vivado does not start",
            where=vivado.program + (" in docker" if prefix else ""),
            found=f"exit code {done.returncode}: {done.stdout.strip()[-300:] or 'no output'}",
            fix="make docker-image" if prefix else "run `vivado -version` yourself",
        )
    return version


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
