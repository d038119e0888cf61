"""The bitstream of one run, built by a process of its own, on this machine or on a cluster's.

Whatever happens to that process (an error, a crash, the kernel's out-of-memory killer) stays with
its run. Nothing here imports numpy: what waits for a process needs none.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.errors import NarrowgaugeError
from deploy.run_directory import RunDirectory
from deploy.terminal import complain

from .options import STAGE_NAMES, Options
from .pipeline.folders import REPORT

LOG = "build.log"
_STEP = re.compile(r"step (\d+) of (\d+), (.*)")
# The processes that run, each with the call that they are of, and the calls that were ended.
_running: dict[subprocess.Popen[bytes], str] = {}
_stopped: set[str] = set()


@dataclass(frozen=True)
class Job:
    """What a run's process needs: absolute paths, the same on every machine.

    `run` is the run directory, `place` where Vivado runs, `folder` where the command is run, `call`
    a name for all jobs that are stopped together.
    """

    run: str
    place: str
    folder: str
    call: str


def build_run(job: Job) -> str:
    """Builds the run's bitstream, bundle and report; what is whole already is not made again.

    Everything that it prints is in `build.log` in the run directory.

    Returns:
        Why it failed, in one line; empty if it is whole.
    """
    if job.call in _stopped:
        return "called off"
    command = [sys.executable, "-m", __name__, job.run, job.place]
    with open(Path(job.run) / LOG, "wb") as log:
        process = subprocess.Popen(
            command, cwd=job.folder, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
        with process:
            _running[process] = job.call
            try:
                code = process.wait()
            finally:
                del _running[process]
    return _reason(Path(job.run) / LOG, code) if code else ""


def stop(call: str) -> None:
    """Ends the processes that this one has started for a call, and their Vivado."""
    _stopped.add(call)
    for process, its_call in list(_running.items()):
        if its_call == call:
            process.terminate()


def options_of(run: RunDirectory) -> Options:
    """What the run was made with; UserError if it has no report."""
    made_by = f"python -m hw_build.flow run {run.path}"
    return Options.from_json(run.manifest(REPORT, made_by=made_by)["config"])


def step_of(log: Path) -> tuple[int, int, str] | None:
    """The step that a build is in, how many there are, and its title; None before the first."""
    try:
        steps = _STEP.findall(log.read_text(errors="replace"))
    except FileNotFoundError:
        return None
    return (int(steps[-1][0]), int(steps[-1][1]), steps[-1][2]) if steps else None


def _reason(log: Path, code: int) -> str:
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    errors = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    said = "; ".join(lines[errors[-1] :]) if errors else "".join(lines[-1:])
    return f"{ending}: {said.removeprefix('error: ')[:500]}"


def main(run: str, place: str) -> int:
    """The stages from the bitstream on; ended when whoever holds standard input's other end is."""
    from .pipeline.context import Flow
    from .stages import STAGES

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    threading.Thread(target=_end_at_eof, daemon=True).start()
    directory = RunDirectory(run)
    try:
        with directory.lock():
            flow = Flow(replace(options_of(directory), vivado=place), directory)
            for name in STAGE_NAMES[STAGE_NAMES.index("bitstream") :]:
                STAGES[name](flow)
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    return 0


def _end_at_eof() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
