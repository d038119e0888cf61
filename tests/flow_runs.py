"""Runs of the flow's command in this process, up to the simulation, and what they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_zoo import ZOO

from hw_build import flow

STAGES = ["03_graph", "04_golden", "05_folding", "06_rtl", "07_simulation"]
UNTIL = ("--until", "simulation", "--target-fps", "1000000")


def store_of(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store of simulation models for all tests of a process."""
    return str(tmp_path_factory.getbasetemp() / "store")


def write_network(folder: Path) -> Path:
    """A small network's QONNX file."""
    path = folder / "network.onnx"
    onnx.save(ZOO["brevitas_w2a2"]().model, path)
    return path


def run_command(capsys: pytest.CaptureFixture, source: Path, *options: object) -> tuple[int, str]:
    """Runs the command: its exit code and all that it printed."""
    code = flow.main(["run", str(source), *UNTIL, *map(str, options)])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def whole_stages(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.exists() else []


def outputs(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "outputs.npz") as file:
        return {key: file[key] for key in file.files}
