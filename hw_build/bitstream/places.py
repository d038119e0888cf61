"""Where Vivado may run: here, in a container, on another host; and the build's folder there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from deploy.errors import UserError

from .local_folder import lock_of, open_local
from .plan import Plan, Step
from .ssh_vivado import SshVivado, find_there, open_there, remove_there
from .vivado import Vivado, find_here

PLACES = ("auto", "local", "docker", "none")
"""Here if it is found (auto), here, in a container, nowhere."""

SSH = "ssh:"
"""Begins the place of a Vivado on another host; user@host follows, as ssh takes it."""

FORMS = "|".join((*PLACES, f"{SSH}USER@HOST"))
"""All of them, for a command's help."""

AnyVivado = Vivado | SshVivado


class BuildFolder(Protocol):
    """Where the steps of a plan run; its files lie there already."""

    def lacks(self, *names: str) -> list[str]:
        """Those of the names that no file there has."""

    def run(self, step: Step) -> int:
        """Runs the step's script; the exit code, 128 and more if a signal ended it.

        What Vivado prints goes into `work`/LOG.out as it comes. Whatever ends us ends Vivado.
        """

    def bring(self, *names: str) -> None:
        """Has these files in `work` of this machine, those of them that are there."""

    def mark(self, name: str) -> None:
        """Makes an empty file there."""


def require_place(place: str) -> None:
    """UserError unless it is one of PLACES, or SSH and a host."""
    if place not in PLACES and not place.startswith(SSH):
        raise UserError(
            "no place where Vivado may run",
            where="--vivado",
            found=repr(place),
            expected=FORMS.replace("|", ", "),
        )


def find_vivado(place: str) -> AnyVivado | None:
    """Vivado at `place`; None if it is not asked for, or not found by "auto".

    Raises:
        MachineError: it was asked for and is missing, or doesn't tell its version.
    """
    if place == "none":
        return None
    return find_there(place[len(SSH) :]) if place.startswith(SSH) else find_here(place)


def open_folder(
    plan: Plan, vivado: AnyVivado, work: Path, more: Mapping[str, Path] | None = None
) -> AbstractContextManager[BuildFolder]:
    """The folder of this plan's build, laid out; `work`, on this machine, takes what is brought.

    `more` are files by their paths in the folder, beside the plan's own.

    Raises:
        MachineError: a Vivado of an earlier run still works there; the host can't be reached.
    """
    opened = open_there if isinstance(vivado, SshVivado) else open_local
    return opened(plan, vivado, work, more or {})


def remove_folder(plan: Plan, vivado: AnyVivado, work: Path) -> None:
    """Removes what a build that is whole has left, here and where Vivado ran."""
    if isinstance(vivado, SshVivado):
        remove_there(plan, vivado)
    shutil.rmtree(work, ignore_errors=True)
    lock_of(work).unlink(missing_ok=True)
