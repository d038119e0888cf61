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
from pathlib import Path

from deploy.bundle import Bundle, is_executable
from deploy.errors import MachineError, UserError

HOME = "narrowgauge"
"""Below the user's home on the board: a folder for each bundle."""

RESULTS = ("measurements.jsonl", "output.npy")
MOST_RESULT_BYTES = 1 << 30
_TIMEOUT_S = 3600

LAUNCHER = """\
set -e
cd "$HOME/{folder}"
start='for f in /etc/profile.d/pynq_venv.sh /etc/profile.d/xrt_setup.sh; do
  if [ -r $f ]; then . $f; fi
done
if [ -z "$XILINX_XRT" ] && [ -d /usr/include/xrt ]; then export XILINX_XRT=/usr; fi
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
            shutil.copyfile(bundle.path, local / "bundle.zip")
            self._send(local, folder)
        self._shell(f"touch {folder}/whole")
        return folder

    def command(self, bundle: Bundle, arguments: list[str], given: Path | None) -> int:
        """Runs `python -m deploy` there with the arguments of this command; its exit code."""
        folder = folder_of(bundle)
        if given is not None:
            if not given.is_file():
                raise UserError("the inputs can't be read", where=str(given))
            with tempfile.TemporaryDirectory(prefix="narrowgauge-") as name:
                shutil.copyfile(given, Path(name) / "input.npy")
                self._send(Path(name), folder)
        there = remote_arguments(arguments, str(bundle.path), None if given is None else str(given))
        script = LAUNCHER.format(folder=folder, arguments=shlex.join(there))
        command = [*self._ssh, "--", self._host, f"sh -c {shlex.quote(script)}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=_TIMEOUT_S)
        return done.returncode

    def pull(self, bundle: Bundle, out: Path) -> list[Path]:
        """Fetches the results that are there into `out`; an empty list if there are none.

        Raises:
            MachineError: what comes back is no archive of results.
        """
        folder = folder_of(bundle)
        listing = " ".join(RESULTS)
        script = (
            f"cd {folder} && for f in {listing}; do test -e $f && echo $f; done | tar cf - -T -"
        )
        data = self._shell(script).stdout
        out.mkdir(parents=True, exist_ok=True)
        written = []
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    if member.name not in RESULTS or member.size > MOST_RESULT_BYTES or not file:
                        raise tarfile.TarError(f"unexpected member {member.name!r}")
                    path = out / member.name
                    path.write_bytes(file.read())
                    written.append(path)
        except tarfile.TarError as error:
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
            self._checked(["rsync", "-rt", "-e", shell, f"{local}/", target], None)
            return
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in sorted(local.rglob("*")):
                archive.add(path, str(path.relative_to(local)), recursive=False)
        self._shell(f"tar xf - -C {folder} --no-same-owner", file.getvalue())

    def _shell(self, script: str, data: bytes | None = None) -> subprocess.CompletedProcess:
        return self._checked([*self._ssh, "--", self._host, script], data)

    def _checked(self, command: list[str], data: bytes | None) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command, input=data or b"", capture_output=True, check=False, timeout=_TIMEOUT_S
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


def remote_arguments(arguments: list[str], bundle: str, given: str | None) -> list[str]:
    """This command's arguments as the board's own: no host, the files by their names there.

    What vouched for the bundle here does so there: --run becomes --trust.
    """
    dropped = {"--host", "--ssh", "--run", "--log", "--out"}
    there: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument in dropped:
            skip = not skip and argument in dropped
        elif argument.split("=")[0] not in dropped and argument != "--trust":
            there.append({bundle: "bundle.zip", given: "input.npy"}.get(argument, argument))
    there.append("--trust")
    if there[0] == "run":
        there += ["--out", "output.npy"]
    return there
