"""The last gate can fail: a wrong bit anywhere behind the driver stops it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import ToyExecutor, npy, toy_files, write_toy

from deploy.bundle import LABELS, OUTPUTS
from deploy.errors import GateError
from deploy.executors import Execution

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pynq")
from hw_build.board_gate import check_board


class FaultyExecutor(ToyExecutor):
    """Flips one bit of one frame of every longer transfer."""

    def run(self, data: np.ndarray, frames: int) -> Execution:
        done = super().run(data, frames)
        out = done.data.copy()
        if frames > 10:
            out[8 * 10] ^= 4
        return replace(done, data=out)


def files() -> dict[str, bytes]:
    made = toy_files()
    from deploy.bundle import read_integers

    scores = read_integers(made[OUTPUTS], "x") * 0.25 + [0, 1, 0, 0]
    return {**made, LABELS: npy(scores.argmax(axis=1))}


def test_the_gate_passes_what_is_right(tmp_path: Path) -> None:
    result = check_board(write_toy(tmp_path / "b.zip", files()), "pynq_z2", ToyExecutor())
    assert result["gates"][0]["vectors"] == 50
    assert result["accuracy"] == 1.0
    assert result["source"] == "rtl-simulation"


def test_one_wrong_bit_is_seen(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="disagrees with the golden vectors"):
        check_board(write_toy(tmp_path / "b.zip", files()), "pynq_z2", FaultyExecutor())


def test_another_accuracy_than_the_simulated_one_is_seen(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "b.zip", files(), accuracy=0.5)
    with pytest.raises(GateError, match="not the simulated one"):
        check_board(path, "pynq_z2", ToyExecutor())
