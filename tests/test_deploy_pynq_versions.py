"""The driver's tests under every supported pynq, each in an environment of its own."""

from __future__ import annotations

import re
import subprocess

import pytest
from pynq_environments import DRIVER_TESTS, ROOT, VERSIONS, environment_of, own_environ


@pytest.mark.parametrize("version", VERSIONS)
def test_the_driver_passes_its_tests_on_this_pynq(version: str) -> None:
    python = [str(environment_of(version)), "-W", "ignore"]
    options = {"cwd": ROOT, "env": own_environ(), "capture_output": True, "text": True}
    shown = subprocess.run(
        [*python, "-c", "import pynq; print(pynq.__version__)"], check=True, **options
    )
    assert shown.stdout.strip() == version
    tests = ["-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*python, *tests, *DRIVER_TESTS],
        check=False,
        timeout=300,
        **options,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) >= 50
