"""The flow as a command: networks of all kinds come through, and stages are skipped honestly."""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from flow_runs import STAGES, outputs, run_command, store_of, write_network
from qonnx_zoo import ZOO, brevitas

from hw_build import flow


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWGAUGE_STORE", store_of(tmp_path_factory))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_network(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    return partial(run_command, capsys)


@pytest.mark.parametrize(
    "name", ["jets_16bit", "intrusion", "mnist_of_old_w2a2", "pixels_with_ties", "one_feature"]
)
def test_files_of_all_kinds_reach_the_rtl(name: str, tmp_path: Path, run) -> None:
    _compile(ZOO[name](), tmp_path, run)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ZOO)
def test_the_whole_zoo_reaches_the_rtl(name: str, tmp_path: Path, run) -> None:
    _compile(ZOO[name](), tmp_path, run)


def _compile(specimen, folder: Path, run) -> None:
    path, inputs = folder / "network.onnx", folder / "inputs.npy"
    onnx.save(specimen.model, path)
    np.save(inputs, specimen.inputs(200))
    # What has more inputs than the port moves in 100 cycles gets the rate that it can have.
    rate = ("--target-fps", 500_000) if math.prod(specimen.shape) > 1600 else ()
    code, text = run(path, "--inputs", inputs, "--out", folder / "run", *rate)
    assert code == 0, text
    kept = outputs(folder / "run")
    assert len(kept["rtl"]) == 200
    for name in ("oracle", "golden"):
        assert (kept[name] == kept["rtl"]).all()
        assert (kept[f"{name}_integers"] == kept["rtl_integers"]).all()
    record = json.loads((folder / "run/07_simulation/simulation.json").read_text())
    assert [(gate["vectors"], gate["mismatches"]) for gate in record["gates"]] == [(1000, 0)] * 3


def test_random_inputs_without_a_file(model: Path, tmp_path: Path, run) -> None:
    assert run(model, "--out", tmp_path / "run")[0] == 0
    kept = outputs(tmp_path / "run")
    assert len(kept["rtl"]) == 1000
    assert (kept["rtl"] == kept["oracle"]).all()


def test_declared_inputs_are_recorded(tmp_path: Path, run) -> None:
    specimen = ZOO["int4_input"]()
    del specimen.model.graph.quantization_annotation[:]
    path, out = tmp_path / "network.onnx", tmp_path / "run"
    onnx.save(specimen.model, path)
    options = ("--until", "graph", "--out", out)
    code, text = run(path, *options)
    assert code == 2
    assert "--input-type" in text
    assert run(path, *options, "--input-type", "INT4")[0] == 0
    manifest = json.loads((out / "03_graph/manifest.json").read_text())
    assert manifest["config"]["input_type"] == "INT4"
    # What the user's inputs are is the last resort.
    np.save(tmp_path / "X.npy", specimen.inputs(50).astype(np.int8))
    assert run(path, *options, "--inputs", tmp_path / "X.npy")[0] == 0
    record = json.loads((out / "03_graph/graph.json").read_text())
    assert record["layers"][0]["type"] == "INT8"
    assert any("the file does not say" in note for note in record["notes"])


def test_integer_inputs_are_filled_up_with_reals(model: Path, tmp_path: Path, run) -> None:
    np.save(tmp_path / "X.npy", np.ones((3, 1, 1, 16), np.uint8))
    code, text = run(model, "--inputs", tmp_path / "X.npy", "--out", tmp_path / "run")
    assert code == 0, text
    assert len(outputs(tmp_path / "run")["rtl"]) == 3
    sent = np.load(tmp_path / "run/04_golden/golden.npz")["inputs"]
    assert sent.min() < 0


def test_a_quantiser_at_the_end_may_say_one_thing(tmp_path: Path, run) -> None:
    """A single decision may well be the same for a few inputs: no dead network."""
    specimen = ZOO["intrusion"]()
    graph = specimen.model.graph
    name = next(node.input[1] for node in reversed(graph.node) if node.op_type == "Sub")
    bias = next(tensor for tensor in graph.initializer if tensor.name == name)
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([0.0]), name))
    onnx.save(specimen.model, tmp_path / "network.onnx")
    code, text = run(tmp_path / "network.onnx", "--until", "golden", "--out", tmp_path / "run")
    assert code == 0, text
    gates = json.loads((tmp_path / "run/04_golden/gates.json").read_text())
    assert gates["constant_channels"]["fc2_act"] == 1


def test_only_what_depends_on_a_change_runs_again(model: Path, tmp_path: Path, run) -> None:
    out = tmp_path / "run"
    assert run(model, "--out", out)[0] == 0
    first = {name: (out / name / "manifest.json").read_bytes() for name in STAGES}
    started = time.monotonic()
    code, text = run(model, "--out", out)
    assert code == 0
    assert time.monotonic() - started < 5
    assert [line.split(":")[0] for line in text.splitlines() if "skipped" in line] == STAGES
    assert {name: (out / name / "manifest.json").read_bytes() for name in STAGES} == first

    # Another clock at the same cycles: the folding is asked for anew, and comes out the same.
    code, text = run(model, "--out", out, "--clock-mhz", 50, "--target-fps", 500_000)
    assert code == 0
    assert "05_folding: runs: config changed: clock_mhz, target_fps" in text
    ran = [line.split(":")[0] for line in text.splitlines() if ": runs" in line]
    assert ran == ["05_folding"]

    code, text = run(model, "--out", out, "--seed", 1)
    assert "03_graph: runs: seed" in text or "03_graph: skipped" in text
    assert "04_golden: runs: seed 0 -> 1" in text

    np.save(tmp_path / "X.npy", np.full((2, 1, 1, 16), 0.5))
    code, text = run(model, "--out", out, "--inputs", tmp_path / "X.npy")
    assert "input inputs is new" in text


def test_a_run_takes_its_own_folding(model: Path, tmp_path: Path, run) -> None:
    assert run(model, "--out", tmp_path / "a", "--until", "rtl")[0] == 0
    chosen = tmp_path / "a/05_folding/folding.json"
    options = ("--until", "rtl", "--folding", chosen)
    assert run(model, "--out", tmp_path / "b", *options)[0] == 0
    files = [p for p in (tmp_path / "a/06_rtl").iterdir() if p.name != "manifest.json"]
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "b/06_rtl" / file.name).read_bytes() == file.read_bytes()


def test_damaged_stages_are_made_again(model: Path, tmp_path: Path, run) -> None:
    out = tmp_path / "run"
    assert run(model, "--out", out)[0] == 0
    before = outputs(out)
    damage = {
        "03_graph/weights.npz": lambda p: p.write_bytes(p.read_bytes()[:-9]),
        "04_golden/golden.npz": lambda p: p.unlink(),
        "05_folding/folding.json": lambda p: p.write_text("{}"),
        "06_rtl/mvu.sv": lambda p: p.write_text("module mvu; endmodule\n"),
        "07_simulation/manifest.json": lambda p: p.write_text("{"),
    }
    for file, harm in damage.items():
        harm(out / file)
        code, text = run(model, "--out", out)
        assert code == 0, text
        stage, name = file.split("/")
        assert f"{stage}: runs" in text
        assert name in text
    after = outputs(out)
    assert all((before[key] == after[key]).all() for key in before)


def test_status_of_a_run(model: Path, tmp_path: Path, run, capsys) -> None:
    run(model, "--out", tmp_path / "run", "--until", "rtl")
    (tmp_path / "run/06_rtl/mvu.sv").unlink()
    assert flow.main(["status", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert "03_graph" in text
    assert "damaged" in text
    assert flow.main(["status", str(tmp_path / "none")]) == 2


def test_wide_batches_are_cut_where_they_must_be(tmp_path: Path, run) -> None:
    """Symbolic batches, and files written for 7 frames at once, take any number of inputs."""
    for batch in ("unk__0", 7):
        specimen = brevitas("any", weight_bits=2, act_bits=2, batch=batch)
        path = tmp_path / f"{batch}.onnx"
        onnx.save(specimen.model, path)
        np.save(tmp_path / "X.npy", specimen.inputs(33))
        options = ("--inputs", tmp_path / "X.npy", "--until", "golden")
        assert run(path, *options, "--out", tmp_path / f"run{batch}")[0] == 0


@pytest.mark.nightly
@pytest.mark.skipif(
    not Path("/usr/include/lz4.h").exists(), reason="no lz4.h: apt-get install liblz4-dev"
)
def test_a_trace_holds_the_whole_simulation(model: Path, tmp_path: Path, run) -> None:
    out = tmp_path / "run"
    code, text = run(model, "--out", out, "--trace")
    assert code == 0, text
    head = (out / "07_simulation" / "trace.fst").read_bytes()[:25]
    kind, length, first, last = struct.unpack(">BQQQ", head)
    assert (kind, length, first) == (0, 329, 0)  # FST's header block
    cycles = json.loads((out / "07_simulation" / "simulation.json").read_text())["cycles"]
    assert last >= cycles
