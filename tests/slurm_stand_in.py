"""Stand-ins for SLURM's commands: a queue on this machine that starts every job at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# It knows of one partition alone.
SBATCH = """#!/bin/sh
for script; do :; done
if ! grep -q "^#SBATCH -p long" "$script"; then
    echo "sbatch: error: invalid partition specified" >&2
    exit 1
fi
[ "$1" = --test-only ] && exit
cp "$1" "{folder}/job.sh"
setsid sh "{folder}/job.sh" > /dev/null 2>&1 &
echo $! >> "{folder}/pids"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
echo "$1" >> "{folder}/cancelled"
kill -- -"$1"
"""
CONFIGURATION = """
jobqueue:
  slurm:
    queue: long
    cores: 1
    memory: 2GB
    walltime: "01:00:00"
    interface: lo
"""


def stand_in_for_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts them on the PATH; returns the file of dask-jobqueue that has them used.

    `folder` then holds the last job's script, and the numbers of jobs, `pids` and `cancelled`.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    tools = folder / "slurm"
    tools.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tools / name).write_text(text.format(folder=folder))
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    path = folder / "slurm.yaml"
    path.write_text(CONFIGURATION)
    return path
