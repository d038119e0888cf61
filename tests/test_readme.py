"""The README's commands, executed as they stand there, from a folder laid out like the root."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_zoo import ZOO

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def block_with(text: str) -> str:
    (found,) = [block for block in BLOCKS if text in block]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the rooms and the environment, so that runs/ is made there."""
    for room in ("training", "hw_build", "deploy"):
        (tmp_path / room).symlink_to(ROOT / room)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def execute(block: str, cwd: Path) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=cwd,
        env={
            **os.environ,
            "PATH": f"{cwd / '.venv' / 'bin'}:{os.environ['PATH']}",  # the environment is active
            "PYTHONPATH": str(cwd),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_steps_on_digits(root: Path) -> None:
    printed = execute(block_with("status runs/digits"), root)
    assert (root / "runs/digits/report.html").exists()
    assert "FINN" in (root / "runs/digits/report.html").read_text()
    for word in ("accuracy", "frames/s", "LUT (synthesised", "report"):
        assert word in printed


def test_a_network_from_elsewhere(root: Path) -> None:
    specimen = ZOO["brevitas_w2a2"]()
    onnx.save(specimen.model, str(root / "network.onnx"))
    np.save(root / "images.npy", specimen.inputs(50))
    execute(block_with("images.npy"), root)
    outputs = np.load(root / "runs/network/outputs.npz")
    assert outputs["rtl"].shape == outputs["oracle"].shape == (50, 5)
    assert (outputs["rtl"] == outputs["oracle"]).all()


@pytest.mark.nightly
def test_a_convolutional_network(root: Path) -> None:
    printed = execute(block_with("runs/digits_cnv"), root)
    assert "bit-exact" in printed
    assert "LUT (synthesised" in printed


@pytest.mark.nightly
def test_steps_on_mnist(root: Path) -> None:
    data = Path(os.environ.get("NARROWGAUGE_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "mnist").is_dir():
        pytest.skip("no MNIST at hand: set NARROWGAUGE_DATA to a folder that holds mnist/")
    os.environ["NARROWGAUGE_DATA"] = str(data)
    printed = execute(block_with("tfc_w1a1"), root)
    assert "10,000 inputs each" in printed


def test_every_command_is_tried() -> None:
    """A block that no test runs would rot: these are all there are, besides make's own."""
    tried = (
        "status runs/digits",
        "runs/digits_cnv",
        "images.npy",
        "tfc_w1a1",
        "make demo",
        "make test",
    )
    untried = [block for block in BLOCKS if not any(words in block for words in tried)]
    assert untried == []
