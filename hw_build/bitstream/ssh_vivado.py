"""Vivado on another host, by ssh: found there, run in a folder that the plan's digest names.

Each step is one ssh, whose standard input is a pipe of ours. That pipe's end reaches `leash.py`
there, however it came: we were ended, ssh was, or the connection was lost; and it ends Vivado.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.durable import write_atomically
from deploy.errors import MachineError
from deploy.ssh import HOME, Host

from . import leash
from .plan import Plan, Step
from .vivado import INSTALLATION, batch_options, version_in

FOUND = "narrowgauge-vivado:"
"""Begins the line with Vivado's path: what a user's profile prints comes before it."""

LOCK = "lock"
"""Its lock is held by a Vivado that works in the folder, which inherits it; its group's number."""

_BUSY = 75  # the exit code where it is held
_BROKEN = 255  # ssh's own

_PYTHON = "python3 (3.7 or later)"
_START_S = 300  # in which Vivado tells its version, from a slow disk too
_FIND = f"""\
p="${INSTALLATION}/bin/vivado"; test -x "$p" || p=$(command -v vivado); \
echo "{FOUND}$p"; command -v flock >/dev/null || echo "{FOUND}flock"; \
python3 -c "import sys; sys.exit(sys.version_info < (3, 7))" || echo "{FOUND}{_PYTHON}"; \
test -z "$p" || "$p" -version"""


@dataclass(frozen=True)
class SshVivado:
    """A Vivado that answers on another host.

    Args:
        host: that has it.
        program: the path of `vivado` there.
        version: such as "2022.2".
    """

    host: Host
    program: str
    version: str

    def folder(self, plan: Plan) -> str:
        """Where the plan is built, below the user's home there."""
        return f"{HOME}/vivado/{plan.digest[:32]}-{self.version}"


def find_there(name: str) -> SshVivado:
    """Vivado on the host `name`, as ssh takes it: of $XILINX_VIVADO there, or on the PATH there.

    Raises:
        MachineError: no ssh, no such host, no Vivado there, or none that tells its version.
    """
    host = Host(name, option="--vivado ssh:")
    script = _in_login_shell(f"{{ {_FIND}; }} 2>&1 || true")
    said = host.shell(script, timeout_s=_START_S).decode("utf-8", "replace")
    program, *missing = [
        line.removeprefix(FOUND) for line in said.splitlines() if line.startswith(FOUND)
    ] or [""]
    if not program:
        raise MachineError(
            "Vivado is not found on the host",
            where=host.name,
            found=f"no vivado on the PATH of a login shell, and none below ${INSTALLATION}",
            expected="Vivado 2020.2 or later",
            fix=f"name its folder in ~/.profile there: export {INSTALLATION}=/tools/Xilinx/"
            "Vivado/VERSION",
        )
    if missing:
        raise MachineError(
            "the host lacks what a build needs",
            where=host.name,
            found=f"no {', no '.join(missing)}",
            fix="install it there",
        )
    version = version_in(said)
    if not version:
        raise MachineError(
            "Vivado does not start on the host",
            where=f"{host.name}: {program}",
            found=said.strip()[-300:],
            fix="run `vivado -version` there yourself",
        )
    return SshVivado(host, program, version)


@dataclass(frozen=True)
class SshFolder:
    """A build's folder on another host, as `BuildFolder` says it."""

    vivado: SshVivado
    path: str
    work: Path

    def lacks(self, *names: str) -> list[str]:
        each = f"for f in {shlex.join(names)}; do test -f $f || echo $f; done"
        return self.vivado.host.shell(f"cd {self.path} && {each}").decode().split()

    def run(self, step: Step) -> int:
        host, out = self.vivado.host, self.work / f"{step.log}.out"
        command = [self.vivado.program, *batch_options(step.script, step.log)]
        script = (
            f'exec 2>&1; cd "$HOME/{self.path}" && exec 9>>{LOCK} && '
            f"{{ flock -n 9 || {{ cat {LOCK}; exit {_BUSY}; }}; }} && echo $$ >{LOCK} && "
            f"exec python3 leash.py {shlex.join(command)}"
        )
        with (
            open(out, "wb") as file,
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(
                host.command(_in_login_shell(script)),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=complaints,
                start_new_session=True,  # Ctrl-C shall end Vivado first, by the pipe
            ) as process,
        ):
            try:
                code = process.wait()
            except BaseException:
                assert process.stdin is not None
                process.stdin.close()
                process.wait()
                raise
            complaints.seek(0)
            said = complaints.read().decode("utf-8", "replace").strip()[-500:]
        if code == _BUSY:
            raise self._busy(out.read_text(errors="replace").split()[-1:])
        if code == _BROKEN or code < 0:
            raise MachineError(
                "the connection to the host broke; Vivado there ends with it",
                where=f"{host.name}, {step.title}",
                found=said or ("ssh was ended" if code < 0 else "ssh gave no reason"),
                fix="the same command goes on from this step",
            )
        return code

    def bring(self, *names: str) -> None:
        for name, data in self.vivado.host.fetch(self.path, names).items():
            write_atomically(self.work / name, data)

    def mark(self, name: str) -> None:
        self.vivado.host.shell(f"touch {self.path}/{name}")

    def _busy(self, group: list[str]) -> MachineError:
        host = self.vivado.host
        return MachineError(
            "a Vivado of an earlier run, or of somebody else, still works there",
            where=f"{host.name}:{self.path}",
            found=f"process group {' '.join(group) or 'not known yet'}",
            fix=f"wait for it, or end it there: kill -KILL -- -{' '.join(group) or 'GROUP'}; "
            "then the same command goes on",
        )


@contextmanager
def open_there(
    plan: Plan, vivado: SshVivado, work: Path, more: Mapping[str, Path]
) -> Iterator[SshFolder]:
    """The plan's folder there, with its files; `work` here takes what is brought."""
    path = vivado.folder(plan)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    vivado.host.shell(f"mkdir -p {path} && chmod 700 {path}")
    with tempfile.TemporaryDirectory(prefix="narrowgauge-") as name:
        plan.write(Path(name), more)
        shutil.copyfile(leash.__file__, Path(name) / "leash.py")
        vivado.host.send(Path(name), path)
    yield SshFolder(vivado, path, work)


def remove_there(plan: Plan, vivado: SshVivado) -> None:
    """Removes the plan's folder there, if it is there and nobody works in it."""
    path = vivado.folder(plan)
    vivado.host.shell(f"test -e {path} || exit 0; flock -n {path}/{LOCK} rm -rf {path} || true")


def _in_login_shell(script: str) -> str:
    """For a host's shell of any kind: the script in bash, which has read the user's profile.

    Vivado's own scripts are bash's. /etc/profile may set the PATH anew: what it was comes after.
    """
    return f'exec bash -lc {shlex.quote("PATH=$PATH:$1; " + script)} vivado "$PATH"'
