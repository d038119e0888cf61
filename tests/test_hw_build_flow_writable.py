"""Two networks on one hardware, by the flow's own command: --writable, and --onto it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from flow_runs import outputs, store_of
from qonnx_zoo import brevitas

from deploy.bundle import Bundle
from deploy.errors import UserError
from deploy.executors import ProcessExecutor
from deploy.registers import OFFSETS
from deploy.run_directory import RunDirectory, sha256_of
from deploy.sealed import read_manifest
from hw_build import flow
from hw_build.bitstream.execute import SUMMARY
from hw_build.bitstream.plan import RESULTS
from hw_build.report_stages import commands_of, commands_of_hardware

HARDWARE = ("--clock-mhz", "80", "--output", "class")
ROOT = Path(flow.__file__).parents[1]
QUICK = ("--no-synthesis", "--until", "board")


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWGAUGE_STORE", store_of(tmp_path_factory))


@pytest.fixture(scope="module")
def hardware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose hardware takes other weights."""
    folder = tmp_path_factory.mktemp("writable")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NARROWGAUGE_STORE", store_of(tmp_path_factory))
        out = folder / "first"
        source = network(folder / "first.onnx", seed=1)
        arguments = ["run", str(source), "--out", str(out), "--writable", *HARDWARE, *QUICK]
        assert flow.main(arguments) == 0
    return out


def network(path: Path, seed: int, **changes: object) -> Path:
    onnx.save(brevitas("network", weight_bits=2, act_bits=2, seed=seed, **changes).model, path)
    return path


def test_another_network_runs_on_the_same_hardware(hardware: Path, tmp_path: Path) -> None:
    source, out = network(tmp_path / "second.onnx", seed=2), tmp_path / "second"
    # the board, the clock and what leaves are those of the hardware
    assert flow.main(["run", str(source), "--out", str(out), "--onto", str(hardware), *QUICK]) == 0
    first, second = (Bundle.read(run / "bundle.zip") for run in (hardware, out))
    assert first.manifest.identity == second.manifest.identity
    assert first.manifest.memories == second.manifest.memories
    assert (second.manifest.clock_mhz, second.manifest.meaning.is_class) == (80, True)
    assert first.memories().digest != second.memories().digest
    gates = json.loads((out / "11_board" / "board.json").read_text())["gates"]
    assert [gate["mismatches"] for gate in gates] == [0]
    assert not np.array_equal(outputs(out)["rtl"], outputs(hardware)["rtl"])
    simulated = json.loads((out / "07_simulation" / "manifest.json").read_text())
    assert "graph" in simulated["inputs"], "weights that are written are not in the RTL"
    assert flow.main(["ip", str(out), "--out", str(tmp_path / "ip")]) == 0
    lines = (tmp_path / "ip" / "weights.txt").read_text().split("\n")
    told = [tuple(int(word, 16) for word in line.split()) for line in lines[:-1]]
    written: list[tuple[int, int]] = []
    second.memories().write(lambda name, value: written.append((OFFSETS[name], value)))
    assert told == written
    assert "weights.txt" in (tmp_path / "ip" / "README.txt").read_text()
    first, second = read_manifest(hardware / "03_graph"), read_manifest(out / "03_graph")
    assert commands_of_hardware(out) == commands_of((first,))
    assert commands_of((second,))[0].endswith(f"--onto {hardware} --no-synthesis --until board")


def test_the_golden_model_answers_for_its_own_weights_alone(
    hardware: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.read(hardware / "bundle.zip")
    vectors, manifest = bundle.vectors(), bundle.manifest
    data = manifest.input.pack(vectors.inputs).reshape(-1)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-m", "hw_build.virtual_executor", str(hardware), "--golden"]
    with ProcessExecutor(command) as model:
        for written in (0, bundle.memories().digest ^ 1):
            model.write(OFFSETS["WEIGHTS"], written)
            with pytest.raises(UserError, match=r"(?s)another network.*--model RUN"):
                model.run(data, len(vectors.inputs))
        bundle.memories().write(lambda name, value: model.write(OFFSETS[name], value))
        found = manifest.output.unpack(model.run(data, len(vectors.inputs)).data)
        np.testing.assert_array_equal(found, vectors.outputs)


def test_a_run_is_not_its_own_hardware(hardware: Path, tmp_path: Path, capsys) -> None:
    before = sha256_of(hardware)
    source = str(network(tmp_path / "second.onnx", seed=2))
    assert flow.main(["run", source, "--out", f"{hardware}/", "--onto", str(hardware)]) == 2
    assert "name another one with --out" in capsys.readouterr().err
    assert sha256_of(hardware) == before


def test_the_bitstream_of_the_hardware_is_taken(
    hardware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no Vivado is, as where there is one."""
    built, others = tmp_path / "first", ("03_graph", "05_folding")
    for stage in (*others, "06_rtl"):
        shutil.copytree(hardware / stage, built / stage)

    def build(folder: Path) -> None:
        for name in (*RESULTS, SUMMARY):
            (folder / name).write_text(f"first's {name}")

    monkeypatch.setattr("hw_build.pipeline.bitstream.find_vivado", lambda place: None)
    for clock_mhz, taken in ((50.0, False), (80.0, True)):  # one for another clock is another one
        RunDirectory(built).run_stage(
            "09_bitstream",
            config={"board": "pynq_z2", "clock_mhz": clock_mhz},
            inputs={"rtl": built / "06_rtl"},
            tools={},
            body=build,
        )
        source, out = network(tmp_path / "second.onnx", seed=2), tmp_path / "second"
        options = ["--onto", str(built), "--no-synthesis", "--until", "bundle"]
        assert flow.main(["run", str(source), "--out", str(out), *options]) == 0
        bits = Bundle.read(out / "bundle.zip").files.get("hardware/accelerator.bit")
        assert bits == (b"first's accelerator.bit" if taken else None)
    until = ["--no-synthesis", "--until", "bitstream"]
    arguments = ["run", str(source), "--out", str(tmp_path / "third"), *until]
    assert flow.main([*arguments, "--onto", str(built)]) == 0
    shutil.rmtree(built / "09_bitstream")
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert flow.main([*arguments, "--onto", str(built)]) == 3  # it would have to be built


def test_hardware_of_a_run_onto_is_the_same_hardware(hardware: Path, tmp_path: Path) -> None:
    last = hardware
    for seed in (3, 4):
        source, out = network(tmp_path / f"{seed}.onnx", seed), tmp_path / str(seed)
        options = ["--out", str(out), "--onto", str(last), "--until", "rtl"]
        assert flow.main(["run", str(source), *options]) == 0
        last = out
    for name in ("accelerator.sv", "identity.mem"):
        assert (last / "06_rtl" / name).read_bytes() == (hardware / "06_rtl" / name).read_bytes()
    assert len(commands_of_hardware(last)) == 2
    shutil.rmtree(tmp_path / "3" / "03_graph")
    gone = f"# {tmp_path / '3'}, which built the hardware, is gone or was made anew"
    assert commands_of_hardware(last) == [gone]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--writable",), "--writable beside it"),
        (("--target-fps", "1000"), "--target-fps beside it"),
        (("--fit", "0.5", "--fifo", "minimal"), "--fit and --fifo beside it"),
        (("--board", "zcu104"), "for another board"),
        (("--clock-mhz", "50"), "for another clock"),
        (("--backend", "finn"), "our RTL alone"),
    ],
)
def test_what_the_hardware_has_settled_is_no_option(
    options: tuple[str, ...],
    words: str,
    hardware: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    source, out = network(tmp_path / "second.onnx", seed=2), tmp_path / "second"
    arguments = ["run", str(source), "--out", str(out), "--onto", str(hardware), *options]
    assert flow.main(arguments) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_another_structure_is_refused_before_anything_is_built(
    hardware: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source, out = network(tmp_path / "other.onnx", 2, sizes=(10, 9, 4)), tmp_path / "other"
    assert flow.main(["run", str(source), "--out", str(out), "--onto", str(hardware)]) == 2
    assert "not one for this hardware" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["no run", "fixed weights"])
def test_a_run_without_such_hardware_is_refused(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source, fixed = network(tmp_path / "second.onnx", seed=2), tmp_path / "fixed"
    if what == "fixed weights":
        assert flow.main(["run", str(source), "--out", str(fixed), "--until", "folding"]) == 0
    assert flow.main(["run", str(source), "--out", str(tmp_path / "x"), "--onto", str(fixed)]) == 2
    assert f"python -m hw_build.flow run {fixed} --writable" in capsys.readouterr().err
