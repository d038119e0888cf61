"""A board behind ssh: a bundle goes into a folder named by its content, results come back.

pynq's own remote server is not used: it is root's, unauthenticated, and listens everywhere.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy.bundle import Bundle, is_executable
from deploy.durable import machine_errors
from deploy.errors import MachineError, UserError
from deploy.records import merge
from deploy.ssh import HOME, WHOLE, WORK_S, Host

BUNDLE, INPUT = "bundle.zip", "input.npy"
LOG, OUTPUT = "measurements.jsonl", "output.npy"
"""Names in that folder: what goes there, and what a command leaves there."""

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
    """A board.

    Args:
        host: user@board, as ssh takes it.
        ssh: the ssh command with its options, as one would type it.

    Raises:
        UserError: a host that ssh would take for an option.
        MachineError: there is no ssh here.
    """

    def __init__(self, host: str, ssh: str = "ssh") -> None:
        self.host = Host(host, ssh)

    def push(self, bundle: Bundle) -> str:
        """Puts the bundle and its driver there, unless they are; returns the folder."""
        folder = folder_of(bundle)
        if self.host.shell(f"test -e {folder}/{WHOLE} && echo yes || true").strip() == b"yes":
            return folder
        self.host.shell(f"mkdir -p {folder} && chmod 700 {folder}")
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as name:
            local = Path(name)
            code = [member for member in bundle.files if is_executable(member)]
            bundle.write(local, [member for member in code if member.startswith("deploy/")])
            shutil.copyfile(bundle.path, local / BUNDLE)
            self.host.send(local, folder)
        self.host.shell(f"touch {folder}/{WHOLE}")
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
                self.host.send(Path(name), folder)
        script = LAUNCHER.format(folder=folder, arguments=shlex.join(arguments), root="")
        command = self.host.command(f"sh -c {shlex.quote(script)}")
        with self.host.in_time(WORK_S):
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, check=False, timeout=WORK_S
            ).returncode

    def pull(self, bundle: Bundle, targets: Mapping[str, Path]) -> list[Path]:
        """Fetches those results that are there; returns where they are now.

        A log is added to the local one, where it has lines that are not yet there.

        Args:
            targets: the local path by the name there, of `LOG` and `OUTPUT`.

        Raises:
            MachineError: what comes back is not the results of a board.
        """
        written = []
        for name, content in self.host.fetch(folder_of(bundle), targets).items():
            path = targets[name]
            with machine_errors(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                if name == LOG:
                    self._merge(path, content)
                else:
                    path.write_bytes(content)
            written.append(path)
        return written

    def _merge(self, path: Path, content: bytes) -> None:
        try:
            merge(path, content)
        except UserError as error:
            raise MachineError(
                "what came back is no log of measurements", where=self.host.name, found=str(error)
            ) from error


def folder_of(bundle: Bundle) -> str:
    """The bundle's folder on a board, below the home."""
    return f"{HOME}/{bundle.sha256[:32]}"
