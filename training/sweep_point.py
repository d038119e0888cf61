"""One point of a sweep, trained by a process of its own, on this machine or on a cluster's.

Whatever happens to that process (an error, a crash, the kernel's out-of-memory killer) stays with
its point. Nothing here imports torch: what waits for a process needs none.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.json"
LOG = "train.log"
_USERS_MISTAKE = 2  # its exit code: trying again would end in the same
_running: set[subprocess.Popen[bytes]] = set()
_stopping = threading.Event()


@dataclass(frozen=True)
class Job:
    """What a point's process needs; paths are absolute, the same on every machine.

    `run` holds the point's `config.json`; `folder` is where the command is run.
    """

    run: str
    folder: str
    data_dir: str | None
    retries: int
    overwrite: bool = False


def train_point(job: Job) -> str:
    """Trains a point, trying again where it fails, each time from its last whole epoch.

    Everything that it prints is appended to `train.log` in its run directory.

    Returns:
        Why it failed, in one line; empty if it is whole.
    """
    run = Path(job.run)
    command = [sys.executable, "-m", "training.train", str(run / CONFIG), "--out", str(run)]
    if job.data_dir:
        command += ["--data-dir", job.data_dir]
    if job.overwrite:
        command.append("--overwrite")
    code = 0
    for _ in range(1 + job.retries):
        with open(run / LOG, "ab") as log:
            process = subprocess.Popen(
                command, cwd=job.folder, stdout=log, stderr=subprocess.STDOUT
            )
            _running.add(process)
            try:
                code = process.wait()
            finally:
                _running.discard(process)
        if code in (0, _USERS_MISTAKE) or _stopping.is_set():
            break
    return _reason(run / LOG, code) if code else ""


def stop_all() -> None:
    """Ends the processes that this one has started, for good; their checkpoints stay."""
    _stopping.set()
    for process in list(_running):
        process.terminate()


def _reason(log: Path, code: int) -> str:
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    errors = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    said = "; ".join(lines[errors[-1] :]) if errors else "".join(lines[-1:])
    return f"{ending}: {said.removeprefix('error: ')[:500]}"
