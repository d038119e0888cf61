"""The bitstream of one run, built by a process of its own, on this machine or on a cluster's.

Nothing here imports numpy: what waits for a process needs none.
"""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.child import end_with_starter, is_stopped, reason, run_child
from deploy.errors import NarrowgaugeError
from deploy.run_directory import RunDirectory
from deploy.terminal import complain

from .options import STAGE_NAMES, Options
from .pipeline.folders import REPORT

LOG = "build.log"
_STEP = re.compile(r"step (\d+) of (\d+), (.*)")


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
    if is_stopped(job.call):
        return "called off"
    command, log = [sys.executable, "-m", __name__, job.run, job.place], Path(job.run) / LOG
    log.unlink(missing_ok=True)
    code = run_child(command, job.folder, log, job.call)
    return reason(log, code) if code else ""


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


def main(run: str, place: str) -> int:
    """The stages from the bitstream on; ended when whoever holds standard input's other end is."""
    from .pipeline.context import Flow
    from .stages import STAGES

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    end_with_starter()
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
