"""Convolutional QONNX files through the flow, as far as the golden model."""

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
