"""`python -m deploy run|measure|report` on a virtual board, the executor a toy in a process."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import toy, write_toy

from deploy.boards import BOARDS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")
from deploy.commands import main

ROOT = Path(__file__).resolve().parent.parent
HERE = "pynq_z2" if int(pynq.__version__.split(".")[0]) < 4 else "zcu104"
PYTHON = os.environ.get("TESTED_PYTHON", shlex.quote(sys.executable))
"""The command of the Python that runs these tests: more than a path where it is emulated."""

EXECUTOR = """\
import sys
from deploy.executors import serve
from toy_bundle import ToyExecutor
serve(ToyExecutor(), sys.stdin.buffer, sys.stdout.buffer)
"""


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_toy(tmp_path / "bundle.zip", board=HERE, part=BOARDS[HERE].part)


@pytest.fixture
def virtual(tmp_path: Path) -> list[str]:
    """Options of a virtual board, before which a Python stands that serves the toy."""
    (tmp_path / "executor.py").write_text(EXECUTOR)
    python = tmp_path / "python"
    path = f"{ROOT}:{ROOT / 'tests'}"
    code = f"import sys; sys.path[:0] = {path.split(':')!r}; exec(open('executor.py').read())"
    python.write_text(f"#!/bin/sh\nexec {PYTHON} -W ignore -c {shlex.quote(code)}\n")
    python.chmod(0o755)
    return ["--board", f"virtual:{HERE}", "--rtl", "RUN", "--python", str(python)]


def test_run_puts_out_integers_and_classes(bundle, virtual, tmp_path, capsys) -> None:
    x = np.random.default_rng(3).integers(-4, 4, (40, 20)).astype(np.int8)
    np.save("x.npy", x)
    given = ["run", str(bundle), "x.npy", "--integers", "--out", "out.npy", *virtual]
    assert main(given) == 0
    np.testing.assert_array_equal(np.load("out.npy"), toy(x))
    assert "source        rtl-simulation" in capsys.readouterr().out


def test_measure_adds_to_a_log_that_report_reads(bundle, virtual, capsys) -> None:
    for _ in range(2):
        assert main(["measure", str(bundle), "--batches", "1,9", "--log", "l", *virtual]) == 0
    lines = Path("l").read_text().splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["rtl-simulation"] * 2
    capsys.readouterr()
    assert main(["report", "l"]) == 0
    said = capsys.readouterr().out
    assert said.count("speed, power  not measured: rtl-simulation is no board") == 2
    assert "frames/s" not in said


def test_a_users_mistakes_are_one_message(bundle, virtual, capsys) -> None:
    np.save("x.npy", np.zeros((2, 20), np.int8))
    np.save("flat.npy", np.zeros(3))
    board, only = virtual[:2], ["run", str(bundle), "x.npy"]
    for arguments, words in (
        ([*only, "--board", "pynq_z2"], "no such board"),
        ([*only, *board], "needs something that computes"),
        ([*only, *board, "--rtl", "R", "--model", "R"], "needs something that computes"),
        (["run", str(bundle), "flat.npy", *virtual], "no batch of numbers"),
        (["run", str(bundle), "none.npy", *virtual], "the inputs can't be read"),
        ([*only, *board, "--rtl", "R", "--python", "no-such-python"], "does not start"),
        (["measure", str(bundle), "--repeats", "3", *virtual], "too little to measure"),
        (["measure", "none.zip", *virtual], "no such bundle"),
        (["report", "none"], "no such log"),
    ):
        assert main(arguments) in (2, 3)
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error


def in_a_process_of_its_own(code: str) -> str:
    """What it prints, with XILINX_XRT not set; it runs as these tests do."""
    environment = {k: v for k, v in os.environ.items() if k != "XILINX_XRT"}
    done = subprocess.run(
        [*shlex.split(PYTHON), "-W", "ignore", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_without_a_device_the_error_names_what_pynq_needs() -> None:
    printed = in_a_process_of_its_own(
        "from deploy.errors import MachineError\n"
        "from pathlib import Path\n"
        "from deploy.pynq_board import PynqBoard\n"
        "try: PynqBoard(Path('x.bit'), 'pynq_z2', 'xc7z020clg400-1', 'axi_dma')\n"
        "except MachineError as error: print(error)"
    )
    assert "pynq finds no device" in printed
    assert "XILINX_XRT is not set" in printed


@pytest.mark.parametrize("package", ["numpy", "pynq"])
def test_a_missing_package_is_named(package: str, tmp_path: Path) -> None:
    path = write_toy(tmp_path / "bundle.zip")
    printed = in_a_process_of_its_own(
        f"import sys, runpy; sys.modules[{package!r}] = None\n"
        f"sys.argv[1:] = ['measure', {str(path)!r}, '--trust', '--board', 'virtual:zcu104', "
        "'--model', 'RUN']\n"
        "runpy.run_module('deploy', run_name='__main__')"
    )
    assert package in printed
    assert "pynq_venv.sh" in printed
    assert "Traceback" not in printed
