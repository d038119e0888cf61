"""A host behind ssh: what is run there, what goes into a folder there, what comes back.

Files travel by rsync where both ends have it, else as a tar archive through the same ssh.
"""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.errors import MachineError, UserError

HOME = "narrowgauge"
"""Below the user's home on a host: a folder for each thing that was sent."""

WHOLE = "whole"
"""Lies in such a folder once everything has arrived."""

MOST_RESULT_BYTES = 1 << 30
ANSWER_S, WORK_S = 60, 3600
"""How long a host may take for a small question, and for files or a whole command."""

_OPENSSH = ("ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4")
"""A host that goes away is noticed within a minute. Whoever gives these options has his own."""

_FULL = ("No space left on device", "Disk quota exceeded")


class Host:
    """A host.

    Args:
        name: user@host, as ssh takes it.
        ssh: the ssh command with its options, as one would type it.
        option: what the name was given with, for the error.

    Raises:
        UserError: a name that ssh would take for an option.
        MachineError: there is no ssh here.
    """

    def __init__(self, name: str, ssh: str = "ssh", option: str = "--host") -> None:
        if name.startswith("-") or not name or any(c.isspace() for c in name):
            raise UserError("no name of a host", where=option, found=repr(name))
        self.name, self._ssh = name, shlex.split(ssh)
        if not self._ssh or shutil.which(self._ssh[0]) is None:
            fix = "apt-get install openssh-client"
            raise MachineError("there is no ssh", found=ssh, fix=fix)
        if Path(self._ssh[0]).name == "ssh":
            self._ssh += [part for option in _OPENSSH for part in ("-o", option)]

    def command(self, script: str) -> list[str]:
        """The argument list that has the user's shell there run `script`."""
        return [*self._ssh, "--", self.name, script]

    def shell(self, script: str, data: bytes = b"", timeout_s: float | None = None) -> bytes:
        """What `script` prints there, given `data` as its standard input.

        Raises:
            MachineError: the host can't be reached, does not answer in time, or refuses.
        """
        return self._checked(self.command(script), data, timeout_s or ANSWER_S)

    def send(self, local: Path, folder: str) -> None:
        """Puts everything in `local` into the folder there, which exists."""
        has = self.shell("command -v rsync >/dev/null && echo yes || true").strip()
        if shutil.which("rsync") and has == b"yes":
            shell = shlex.join(self._ssh)
            target = f"{self.name}:{folder}/"
            self._checked(["rsync", "-rt", "-e", shell, f"{local}/", target], b"", WORK_S)
            return
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in sorted(local.rglob("*")):
                archive.add(path, str(path.relative_to(local)), recursive=False)
        self.shell(f"tar xf - -C {folder} --no-same-owner", file.getvalue(), WORK_S)

    def fetch(self, folder: str, names: Collection[str]) -> dict[str, bytes]:
        """The contents of those files of `names` that lie in the folder there.

        Raises:
            MachineError: what comes back is no archive of these files, or not all of it.
        """
        script = (
            f"cd {folder} && for f in {shlex.join(names)}; do test -e $f && echo $f; done "
            "| tar cf - -T -"
        )
        data = self.shell(script, timeout_s=WORK_S)
        files = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    if member.name not in names or member.size > MOST_RESULT_BYTES or not file:
                        raise tarfile.TarError(f"unexpected member {member.name!r}")
                    files[member.name] = file.read()
        except tarfile.TarError as error:
            raise MachineError(
                "what came back is not what was asked for", where=self.name, found=str(error)
            ) from error
        return files

    @contextmanager
    def in_time(self, timeout_s: float) -> Iterator[None]:
        """Turns a TimeoutExpired of the command into a MachineError."""
        try:
            yield
        except subprocess.TimeoutExpired as error:
            raise MachineError(
                "the host does not answer",
                where=self.name,
                found=f"nothing within {timeout_s:g} s",
                fix=self.fix,
            ) from error

    @property
    def fix(self) -> str:
        """What to try where the host can't be reached."""
        return f"try: {shlex.join(self._ssh)} {self.name} true"

    def _checked(self, command: list[str], data: bytes, timeout_s: float) -> bytes:
        with self.in_time(timeout_s):
            done = subprocess.run(
                command, input=data, capture_output=True, check=False, timeout=timeout_s
            )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-500:]
            full = any(text in said for text in _FULL)
            raise MachineError(
                "the disk is full there" if full else "the host can't be reached, or refuses",
                where=self.name,
                found=said or f"exit code {done.returncode}",
                fix="free some space there; the same command goes on" if full else self.fix,
            )
        return done.stdout
