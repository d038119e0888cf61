"""The driver's tests under every supported pynq, each in an environment of its own."""

from __future__ import annotations

import re
import subprocess

import pytest
from pynq_environments import ROOT, VERSIONS, environment_of


@pytest.mark.parametrize("version", VERSIONS)
def test_the_driver_passes_its_tests_on_this_pynq(version: str) -> None:
    command = [str(environment_of(version)), "-W", "ignore", "-m", "pytest", "-q", "-W", "ignore"]
    files = ["tests/test_deploy_virtual_board.py", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *files], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = int(re.findall(r"(\d+) passed", done.stdout)[-1])
    assert passed >= 40
    assert subprocess.run(
        [command[0], "-W", "ignore", "-c", "import pynq; print(pynq.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.startswith(version)
