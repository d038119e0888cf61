"""A run's bundle: the same network on the host's side, the same bytes twice, and its executors."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_zoo import ZOO

from deploy import commands
from deploy.bitstream import require_part
from deploy.boards import BOARDS as FACTS
from deploy.bundle import Bundle
from deploy.executors import ProcessExecutor
from deploy.host import InputSteps
from deploy.scalar_formulas import FORMULAS, PARAMETERS
from hw_build import flow, graph_file
from hw_build.boards import BOARDS
from hw_build.folded import load_blocks
from hw_build.graph_file import Imported
from hw_build.importer import import_qonnx
from hw_build.pipeline import board
from hw_build.scalar import OPERATIONS
from hw_build.simulator import Simulator
from hw_build.verilator import build_model
from hw_build.virtual_executor import RtlExecutor, open_golden, open_rtl

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to its bundle."""
    folder = tmp_path_factory.mktemp("run")
    onnx.save(ZOO["brevitas_w2a2"]().model, folder / "network.onnx")
    arguments = ["run", str(folder / "network.onnx"), "--out", str(folder / "run")]
    options = ["--target-fps", "5000000", "--no-synthesis", "--until", "bundle"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NARROWGAUGE_STORE", str(tmp_path_factory.getbasetemp() / "store"))
        assert flow.main([*arguments, *options]) == 0
        yield folder / "run"


def test_the_bundle_of_a_run_is_whole(run: Path) -> None:
    bundle = Bundle.read(run / "bundle.zip")
    assert {"deploy/accelerator.py", "deploy/__main__.py"} <= set(bundle.files)
    with np.load(run / "04_golden" / "golden.npz") as golden:
        np.testing.assert_array_equal(bundle.vectors().inputs, golden["inputs"])
    simulated = json.loads((run / "07_simulation" / "simulation.json").read_text())
    assert bundle.manifest.interval_cycles == simulated["interval"]


def test_the_rtl_and_the_golden_model_give_the_golden_outputs(run: Path) -> None:
    bundle = Bundle.read(run / "bundle.zip")
    manifest, vectors = bundle.manifest, bundle.vectors()
    data = manifest.input.pack(vectors.inputs[:200]).reshape(-1)
    with open_rtl(run) as rtl, open_golden(run) as golden:
        for executor in (rtl, golden):
            assert executor.identity == manifest.identity
            for _ in range(2):
                done = executor.run(data, 200)
                found = manifest.output.unpack(done.data)
                np.testing.assert_array_equal(found, vectors.outputs[:200])
        ends = rtl.run(data, 200).frame_ends
        assert ends[0] + 1 <= manifest.latency_cycles
        assert (ends[-1] - ends[-100]) / 99 == pytest.approx(manifest.interval_cycles, rel=0.05)


def test_an_executor_in_a_process_gives_the_same(run: Path) -> None:
    manifest = Bundle.read(run / "bundle.zip").manifest
    data = manifest.input.pack(Bundle.read(run / "bundle.zip").vectors().inputs[:30]).reshape(-1)
    command = [sys.executable, "-m", "hw_build.virtual_executor", str(run)]
    with ProcessExecutor(command) as executor, open_rtl(run) as rtl:
        assert (executor.source, executor.identity) == ("rtl-simulation", manifest.identity)
        far, near = executor.run(data, 30), rtl.run(data, 30)
    np.testing.assert_array_equal(far.data, near.data)
    np.testing.assert_array_equal(far.frame_ends, near.frame_ends)
    assert far.input_stalls == near.input_stalls


@pytest.mark.parametrize("what", ["rtl", "model"])
def test_the_commands_run_and_measure_it_on_a_virtual_board(
    what: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    bundle, vectors = str(run / "bundle.zip"), Bundle.read(run / "bundle.zip").vectors()
    virtual = ["--board", "virtual:pynq_z2", f"--{what}", str(run)]
    x, out, log = (str(tmp_path / name) for name in ("x.npy", "out.npy", "log"))
    np.save(x, vectors.inputs[:60])
    assert commands.main(["run", bundle, x, "--integers", "--out", out, *virtual]) == 0
    np.testing.assert_array_equal(np.load(out), vectors.outputs[:60])
    assert commands.main(["measure", bundle, "--batches", "5", "--log", log, *virtual]) == 0
    source = {"rtl": "rtl-simulation", "model": "golden-model"}[what]
    assert f"source        {source}" in capsys.readouterr().out


def faulty_rtl(run: Path, folder: Path) -> RtlExecutor:
    """The run's accelerator with a bit wrong in every weight word of one unit, under its name."""
    shutil.copytree(run / "06_rtl", folder)
    memory = sorted(folder.rglob("*_weight.mem"))[-1]
    words = [f"{int(word, 16) ^ 1:0{len(word)}x}" for word in memory.read_text().split()]
    memory.write_text("\n".join(words) + "\n")
    with open_rtl(run) as right:
        identity = right.identity
    graph = graph_file.load(run / "03_graph").graph
    bits = json.loads((run / "06_rtl" / "manifest.json").read_text())["config"]["port_bits"]
    blocks = load_blocks(run / "05_folding", graph, bits)
    model = Simulator(build_model(folder, blocks), blocks, graph, folder, port_bits=bits)
    return RtlExecutor(model, identity)


def test_a_fault_in_the_rtl_stops_the_flow_at_its_last_gate(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    options = ["--target-fps", "5000000", "--no-synthesis", "--until", "board"]
    command = ["run", str(run.parent / "network.onnx"), "--out", str(run), *options]
    monkeypatch.setenv("NARROWGAUGE_STORE", str(run.parent.parent / "store"))
    with monkeypatch.context() as patch:
        patch.setattr(board, "open_rtl", lambda path: faulty_rtl(path, tmp_path / "rtl"))
        assert flow.main(command) == 4
    assert "the board disagrees with the golden vectors" in capsys.readouterr().err
    assert not (run / "11_board").exists()
    assert flow.main(command) == 0
    assert (run / "11_board" / "board.json").is_file()


SOME = ("jets_16bit", "intrusion", "mnist_of_old_w2a2", "pixels_with_ties", "one_feature")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SOME else pytest.mark.nightly) for n in ZOO]
)
def test_the_boards_quantiser_is_the_flows(name: str, tmp_path: Path) -> None:
    case = ZOO[name]()
    onnx.save(case.model, tmp_path / "n.onnx")
    imported: Imported = import_qonnx(tmp_path / "n.onnx", "auto", None, None)
    quantiser = imported.quantiser
    fields = json.loads(json.dumps(quantiser.to_json(), allow_nan=False))
    steps = InputSteps.from_json(fields)
    x = quantiser.random_inputs(300, seed=1)
    np.testing.assert_array_equal(steps(x), quantiser(x))


def test_every_step_of_the_importer_is_known_to_the_board() -> None:
    assert set(OPERATIONS) == set(FORMULAS) == set(PARAMETERS)


def test_both_lists_of_boards_are_of_the_same_boards() -> None:
    assert set(FACTS) == {name for name, board in BOARDS.items() if board.has_pynq}
    for name, facts in FACTS.items():
        require_part(facts.part, BOARDS[name].part, name)
