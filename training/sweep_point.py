"""One point of a sweep, trained by a process of its own, on this machine or on a cluster's.

Whatever happens to that process (an error, a crash, the kernel's out-of-memory killer) stays with
its point. Nothing here imports torch: what waits for a process needs none.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.json"
LOG = "train.log"
_USERS_MISTAKE = 2  # its exit code: trying again would end in the same
# The processes that run, each with the sweep that it is of, and the sweeps that were called off.
_running: dict[subprocess.Popen[bytes], str] = {}
_stopped: set[str] = set()


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
        with open(run / LOG, "ab") as log:
            process = subprocess.Popen(
                command,
                cwd=job.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            with process:
                _running[process] = job.sweep
                try:
                    code = process.wait()
                finally:
                    del _running[process]
        if code in (0, _USERS_MISTAKE) or job.sweep in _stopped:
            break
    return _reason(run / LOG, code) if code else ""


def stop(sweep: str) -> None:
    """Ends the processes that this one has started for a sweep; their checkpoints stay."""
    _stopped.add(sweep)
    for process, its_sweep in list(_running.items()):
        if its_sweep == sweep:
            process.terminate()


def _reason(log: Path, code: int) -> str:
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    errors = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    said = "; ".join(lines[errors[-1] :]) if errors else "".join(lines[-1:])
    return f"{ending}: {said.removeprefix('error: ')[:500]}"


def main(arguments: list[str]) -> int:
    """`training.train`, ended at once when whoever holds the other end of standard input is gone.

    The kernel closes that end even where its holder was killed. A point whose worker is gone would
    otherwise train on, and refuse its run directory to the worker that is to go on with it.
    """
    threading.Thread(target=_end_at_eof, daemon=True).start()
    from training import train

    return train.main(arguments)


def _end_at_eof() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
