"""Convolutional QONNX files through the flow: golden model, RTL, and FIFOs that are too small."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_images import IMAGE_ZOO

from hw_build.flow import main


@pytest.mark.parametrize("name", ["cnv_w1a1_padded", "signal", "pixel_classes"])
def test_images_reach_the_golden_model(name: str, tmp_path: Path) -> None:
    specimen = IMAGE_ZOO[name]()
    onnx.save(specimen.model, tmp_path / "network.onnx")
    np.save(tmp_path / "X.npy", specimen.inputs(30))
    options = ("--inputs", tmp_path / "X.npy", "--until", "golden", "--out", tmp_path / "run")
    assert main(["run", str(tmp_path / "network.onnx"), *map(str, options)]) == 0
    gates = json.loads((tmp_path / "run/04_golden/gates.json").read_text())
    assert (gates["n_own"], gates["n_vectors"]) == (30, 1000)
    assert [gate["mismatches"] for gate in gates["gates"]] == [0]
    with np.load(tmp_path / "run/04_golden/golden.npz") as file:
        assert file["inputs"].ndim == 4
        assert (file["oracle"] == file["golden"]).all()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "residual" else pytest.mark.nightly)
        for name in IMAGE_ZOO
    ],
)
def test_images_reach_the_board(name: str, tmp_path: Path) -> None:
    """1,000 inputs; every stream the golden model's, stalled too; every frame in its cycle.

    And once more through the bundle, the driver and a virtual board.
    """
    specimen = IMAGE_ZOO[name]()
    onnx.save(specimen.model, tmp_path / "network.onnx")
    np.save(tmp_path / "X.npy", specimen.inputs(30))
    options = ("--inputs", tmp_path / "X.npy", "--until", "board", "--no-synthesis")
    command = ["run", tmp_path / "network.onnx", *options, "--out", tmp_path / "run"]
    assert main([str(word) for word in command]) == 0
    record = json.loads((tmp_path / "run/07_simulation/simulation.json").read_text())
    assert [(gate["vectors"], gate["mismatches"]) for gate in record["gates"]] == [(1000, 0)] * 3
    with np.load(tmp_path / "run/outputs.npz") as file:
        assert len(file["rtl"]) == 30
        assert (file["rtl_integers"] == file["golden_integers"]).all()


def test_a_fifo_that_is_too_small_is_a_deadlock_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    onnx.save(IMAGE_ZOO["residual"]().model, tmp_path / "network.onnx")
    run = ["run", str(tmp_path / "network.onnx"), "--until", "folding", "--out"]
    assert main([*run, str(tmp_path / "run")]) == 0
    depths = json.loads((tmp_path / "run/05_folding/fifos.json").read_text())
    assert max(depths.values()) > 2
    path = tmp_path / "fifos.json"
    path.write_text(json.dumps(dict.fromkeys(depths, 2)))
    capsys.readouterr()
    assert main([*run, str(tmp_path / "small"), "--fifo", str(path)]) == 4
    text = capsys.readouterr().err
    assert "deadlock: blocks wait for each other" in text
    assert any(f"a deeper FIFO on {name}" in text or f" or {name}" in text for name in depths)
    assert not (tmp_path / "small/05_folding").exists()
    # The depths that were found are taken back.
    path.write_text(json.dumps(depths))
    assert main([*run, str(tmp_path / "same"), "--fifo", str(path)]) == 0
