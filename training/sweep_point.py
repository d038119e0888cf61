"""One point of a sweep, trained by a process of its own, on this machine or on a cluster's.

Nothing here imports torch: what waits for a process needs none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.child import end_with_starter, is_stopped, reason, run_child

CONFIG = "config.json"
LOG = "train.log"
_USERS_MISTAKE = 2  # its exit code: trying again would end in the same


@dataclass(frozen=True)
class Job:
    """What a point's process needs; paths are absolute, the same on every machine.

    `run` holds the point's `config.json`; `folder` is where the command is run, `sweep` a name for
    all jobs that are stopped together.
    """

    run: str
    folder: str
    data_dir: str | None
    retries: int
    overwrite: bool
    sweep: str


def train_point(job: Job) -> str:
    """Trains a point, trying again where it fails, each time from its last whole epoch.

    Everything that it prints is appended to `train.log` in its run directory.

    Returns:
        Why it failed, in one line; empty if it is whole.
    """
    run = Path(job.run)
    command = [sys.executable, "-m", __name__, str(run / CONFIG), "--out", str(run)]
    if job.data_dir:
        command += ["--data-dir", job.data_dir]
    if job.overwrite:
        command.append("--overwrite")
    code = 0
    for _ in range(1 + job.retries):
        code = run_child(command, job.folder, run / LOG, job.sweep)
        if code in (0, _USERS_MISTAKE) or is_stopped(job.sweep):
            break
    return reason(run / LOG, code) if code else ""


def main(arguments: list[str]) -> int:
    """`training.train`, ended at once when whoever holds the other end of standard input is gone.

    A point whose worker is gone would
    otherwise train on, and refuse its run directory to the worker that is to go on with it.
    """
    end_with_starter()
    from training import train

    return train.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
