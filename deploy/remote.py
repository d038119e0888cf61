"""A board behind ssh: a bundle goes into a folder named by its content, results come back.

Files travel by rsync where both ends have it, else as a tar archive through the same ssh.
pynq's own remote server is not used: it is root's, unauthenticated, and listens everywhere.
"""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.bundle import Bundle, is_executable
from deploy.durable import machine_errors
from deploy.errors import MachineError, UserError
from deploy.records import merge

HOME = "narrowgauge"
"""Below the user's home on the board: a folder for each bundle."""

BUNDLE, INPUT = "bundle.zip", "input.npy"
LOG, OUTPUT = "measurements.jsonl", "output.npy"
"""Names in that folder: what goes there, and what a command leaves there."""

MOST_RESULT_BYTES = 1 << 30
ANSWER_S, WORK_S = 60, 3600
"""How long a board may take for a small question, and for files or a whole command."""

_OPENSSH = ("ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4")
"""A board that goes away is noticed within a minute. Whoever gives these options has his own."""

LAUNCHER = """\
set -e
cd "$HOME/{folder}"
start='for f in boardname pynq_venv xrt_setup; do
  if [ -r {root}/etc/profile.d/$f.sh ]; then . {root}/etc/profile.d/$f.sh; fi
done
if [ -z "$XILINX_XRT" ] && [ -d {root}/usr/include/xrt ]; then export XILINX_XRT=/usr; fi
exec python3 -m deploy "$@"'
if [ "$(id -u)" = 0 ]; then exec bash -c "$start" deploy {arguments}; fi
if sudo -n true 2>/dev/null; then exec sudo -n bash -c "$start" deploy {arguments}; fi
exec bash -c "$start" deploy {arguments}
"""
"""Root where the board gives it without asking, pynq's virtual environment, XILINX_XRT."""


class Remote:
    """A host.

    Args:
        host: user@board, as ssh takes it.
        ssh: the ssh command with its options, as one would type it.

    Raises:
        UserError: a host that ssh would take for an option.
    """

    def __init__(self, host: str, ssh: str = "ssh") -> None:
        if host.startswith("-") or not host or any(c.isspace() for c in host):
            raise UserError("no name of a host", where="--host", found=repr(host))
        self._host, self._ssh = host, shlex.split(ssh)
        if not self._ssh or shutil.which(self._ssh[0]) is None:
            fix = "apt-get install openssh-client"
            raise MachineError("there is no ssh", found=ssh, fix=fix)
        if Path(self._ssh[0]).name == "ssh":
            self._ssh += [part for option in _OPENSSH for part in ("-o", option)]

    def push(self, bundle: Bundle) -> str:
        """Puts the bundle and its driver there, unless they are; returns the folder."""
        folder = folder_of(bundle)
        if self._shell(f"test -e {folder}/whole && echo yes || true").stdout.strip() == b"yes":
            return folder
        self._shell(f"mkdir -p {folder} && chmod 700 {folder}")
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as name:
            local = Path(name)
            code = [member for member in bundle.files if is_executable(member)]
            bundle.write(local, [member for member in code if member.startswith("deploy/")])
            shutil.copyfile(bundle.path, local / BUNDLE)
            self._send(local, folder)
        self._shell(f"touch {folder}/whole")
        return folder

    def command(self, bundle: Bundle, arguments: list[str], given: Path | None) -> int:
        """Runs `python -m deploy` there, its arguments being the board's own; the exit code.

        Args:
            given: a file of inputs, which is `INPUT` there.
        """
        folder = folder_of(bundle)
        if given is not None:
            if not given.is_file():
                raise UserError("the inputs can't be read", where=str(given))
            with tempfile.TemporaryDirectory(prefix="narrowgauge-") as name:
                shutil.copyfile(given, Path(name) / INPUT)
                self._send(Path(name), folder)
        script = LAUNCHER.format(folder=folder, arguments=shlex.join(arguments), root="")
        command = [*self._ssh, "--", self._host, f"sh -c {shlex.quote(script)}"]
        with self._in_time(WORK_S):
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, check=False, timeout=WORK_S
            ).returncode

    def pull(self, bundle: Bundle, targets: Mapping[str, Path]) -> list[Path]:
        """Fetches those results that are there; returns where they are now.

        A log is added to the local one, where it has lines that are not yet there.

        Args:
            targets: the local path by the name there, of `LOG` and `OUTPUT`.

        Raises:
            MachineError: what comes back is no archive of results.
        """
        folder = folder_of(bundle)
        listing = " ".join(targets)
        script = (
            f"cd {folder} && for f in {listing}; do test -e $f && echo $f; done | tar cf - -T -"
        )
        data = self._shell(script, timeout_s=WORK_S).stdout
        written = []
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    if member.name not in targets or member.size > MOST_RESULT_BYTES or not file:
                        raise tarfile.TarError(f"unexpected member {member.name!r}")
                    path, content = targets[member.name], file.read()
                    with machine_errors(path.parent):
                        path.parent.mkdir(parents=True, exist_ok=True)
                        if member.name == LOG:
                            merge(path, content)
                        else:
                            path.write_bytes(content)
                    written.append(path)
        except (tarfile.TarError, UserError) as error:
            raise MachineError(
                "what came back is not the results of a board", where=self._host, found=str(error)
            ) from error
        return written

    def _send(self, local: Path, folder: str) -> None:
        """Everything in `local` into the remote folder."""
        has = self._shell("command -v rsync >/dev/null && echo yes || true").stdout.strip()
        if shutil.which("rsync") and has == b"yes":
            shell = shlex.join(self._ssh)
            target = f"{self._host}:{folder}/"
            self._checked(["rsync", "-rt", "-e", shell, f"{local}/", target], b"", WORK_S)
            return
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in sorted(local.rglob("*")):
                archive.add(path, str(path.relative_to(local)), recursive=False)
        self._shell(f"tar xf - -C {folder} --no-same-owner", file.getvalue(), WORK_S)

    def _shell(
        self, script: str, data: bytes = b"", timeout_s: float | None = None
    ) -> subprocess.CompletedProcess:
        command = [*self._ssh, "--", self._host, script]
        return self._checked(command, data, ANSWER_S if timeout_s is None else timeout_s)

    @contextmanager
    def _in_time(self, timeout_s: float) -> Iterator[None]:
        try:
            yield
        except subprocess.TimeoutExpired as error:
            raise MachineError(
                "the board does not answer",
                where=self._host,
                found=f"nothing within {timeout_s:g} s",
                fix=f"try: {shlex.join(self._ssh)} {self._host} true",
            ) from error

    def _checked(
        self, command: list[str], data: bytes, timeout_s: float
    ) -> subprocess.CompletedProcess:
        with self._in_time(timeout_s):
            done = subprocess.run(
                command, input=data, capture_output=True, check=False, timeout=timeout_s
            )
        if done.returncode:
            raise MachineError(
                "the board can't be reached, or refuses",
                where=self._host,
                found=done.stderr.decode("utf-8", "replace").strip()[-500:]
                or f"exit code {done.returncode}",
                fix=f"try: {shlex.join(self._ssh)} {self._host} true",
            )
        return done


def folder_of(bundle: Bundle) -> str:
    """The bundle's folder on a board, below the home."""
    return f"{HOME}/{bundle.sha256[:32]}"
