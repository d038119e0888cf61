"""A driver that others wrote, unmodified, on our virtual board."""

from __future__ import annotations

import subprocess

from pynq_environments import ROOT, finn_driver_environment, own_environ


def test_finn_plus_driver_runs_and_does_not_hang() -> None:
    command = [str(finn_driver_environment()), "-W", "ignore", "tests/finn_driver_user.py"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=own_environ(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "exact 4 transfers",
        "no hang: a wait on the board would never end",
    ]
