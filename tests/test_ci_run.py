"""What CI runs, with other programs in place of those it calls: a browser is brought, or missed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("bash", "dirname", "mktemp", "rm", "tail")


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for PATH: `make` says what it was asked for, and whether a browser is required."""
    for name in NEEDED:
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    program(tmp_path, "make", 'echo "make $* ${NARROWGAUGE_REQUIRE_BROWSER:-}"')
    program(tmp_path, "id", "echo 0")
    return tmp_path


def ci_run(programs: Path, **environ: str) -> tuple[str, str]:
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run")],
        env={"PATH": str(programs), "NARROWGAUGE_DATA": "given", **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    *_, last = done.stdout.splitlines()
    return last, done.stderr


ASKED = "make --no-print-directory .venv/.docs lint test "


def test_a_browser_that_is_there_is_required(programs: Path) -> None:
    program(programs, "chromium", "")
    assert ci_run(programs) == (f"{ASKED}1", "")


def test_root_in_ci_installs_one(programs: Path) -> None:
    brought = programs / "chromium"
    program(programs, "apt-get", f"[[ $1 != install ]] || /bin/cp {programs / 'id'} {brought}")
    assert ci_run(programs, CI="true") == (f"{ASKED}1", "")
    assert brought.exists()


@pytest.mark.parametrize("user", ["0", "1000"])
def test_without_one_it_is_said_that_tests_skip(user: str, programs: Path) -> None:
    program(programs, "id", f"echo {user}")
    program(programs, "apt-get", "echo E: no such mirror; exit 100")
    asked, told = ci_run(programs, CI="true")
    assert asked == ASKED
    assert "No browser here: the tests of pages skip" in told
    assert ("no such mirror" in told) == (user == "0")
    assert "no such mirror" not in ci_run(programs)[1]  # at home nothing is installed
