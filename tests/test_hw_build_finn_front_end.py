"""FINN's own reading of a QONNX file: ties are counted and explained, anything else stops."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import from_array, to_array
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model
from qonnx_images import IMAGE_ZOO
from qonnx_writer import Specimen, Writer, random_integers
from qonnx_zoo import ZOO

from benchmarks.untrained import CONFIGS
from deploy.errors import GateError
from hw_build import flow
from hw_build.finn.float32_error import Float32Error
from hw_build.finn.front_end import check_front_end, compare
from hw_build.finn.quantisers import quantisers_of, rounded_by, scores_of
from hw_build.finn.result import FrontEnd
from hw_build.oracle import Oracle
from training.config import load_config
from training.export import export_run
from training.train import train_run

N_FRAMES = 40
SIZES = (64, 24, 24, 10)


def w2a2(seed: int = 0) -> tuple[Specimen, list[np.ndarray]]:
    """A network with power-of-two scales on inputs k / 16, and its integer weights, (in, out).

    An input's steps are 2 (2 x - 1), an accumulator's n / 4: both have ties.
    """
    w = Writer(seed)
    x = w.add("Sub", w.add("Mul", "inp", w.const(2.0)), w.const(1.0))
    x, weights = w.quant(x, 0.5, 2, narrow=True), []
    for n, m in pairwise(SIZES):
        weights.append(random_integers(w, 2, (n, m)))
        x = w.add("MatMul", x, w.quant(w.const(0.25 * weights[-1]), 0.25, 2, narrow=True))
        if m != SIZES[-1]:
            x = w.quant(w.add("Mul", x, w.const(1.0)), 0.5, 2, narrow=True)
    specimen = w.specimen("w2a2", x, 0.0, 1.0, 1 / 16, shape=[SIZES[0]], n_out=SIZES[-1])
    return specimen, weights


def by_half_up(inputs: np.ndarray, weights: list[np.ndarray]) -> tuple[list[int], np.ndarray, int]:
    """Values that half up and half to even round apart, by quantiser; frames; other classes.

    A few lines of numpy, with all numbers exact.
    """
    ties, touched = [], np.zeros(len(inputs), bool)
    up = even = 2 * (2 * inputs.astype(np.float64) - 1)
    for matrix in weights:
        rounded = np.clip(np.floor(up + 0.5), -1, 1)
        apart = rounded != np.clip(np.rint(up), -1, 1)
        ties.append(int(np.count_nonzero(apart)))
        touched |= apart.any(axis=1)
        up, even = rounded @ matrix / 4, np.clip(np.rint(even), -1, 1) @ matrix / 4
    changed = np.count_nonzero(up.argmax(axis=1) != even.argmax(axis=1))
    return ties, touched, int(changed)


def checked(specimen: Specimen, folder: Path, n: int = N_FRAMES) -> FrontEnd:
    onnx.save(specimen.model, folder / "network.onnx")
    return check_front_end(folder / "network.onnx", specimen.inputs(n), folder / "front_end")


def cleaned_up(specimen: Specimen) -> onnx.ModelProto:
    return cleanup_model(ModelWrapper(specimen.model)).model


def execute(model: onnx.ModelProto, inputs: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """qonnx's float32 execution, frame by frame."""
    wrapped, name = ModelWrapper(model), model.graph.input[0].name
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANITIZE_QUANT_TENSORS", "0")  # as FINN's process has it
        runs = [execute_onnx(wrapped, {name: frame[None]}, True) for frame in inputs]
    return {name: np.concatenate([run[name] for run in runs]) for name in names}


class Read:
    """FINN's graphs of the network with ties, what it said of them, and their execution."""

    def __init__(self, folder: Path) -> None:
        specimen, self.weights = w2a2()
        self.result = checked(specimen, folder)
        self.inputs = specimen.inputs(N_FRAMES)
        self.files = {path.name for path in (folder / "front_end").iterdir()}
        self.file, self.cleaned, self.converted = (
            onnx.load(folder / "front_end" / name)
            for name in ("model.onnx", "cleaned.onnx", "converted.onnx")
        )
        self.quantisers = quantisers_of(self.cleaned, self.file)
        self.names = [each.tensor for each in self.quantisers]
        self.names += [rounded_by(self.converted, name) for name in self.names]
        self.names.append(scores_of(self.converted))
        self.found = execute(self.converted, self.inputs, self.names)

    def compare(self, found: dict[str, np.ndarray]) -> FrontEnd:
        return compare(self.file, self.cleaned, self.converted, self.inputs, found)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    return Read(tmp_path_factory.mktemp("front_end"))


def test_ties_are_found_counted_and_explained(read: Read) -> None:
    ties, touched, changed = by_half_up(read.inputs, read.weights)
    assert min(ties) > 20
    assert changed > 0
    assert read.result == FrontEnd(
        frames=N_FRAMES,
        quantisers=3,
        ties=dict(zip([each.name for each in read.quantisers], ties, strict=True)),
        frames_touched=int(touched.sum()),
        class_changes=changed,
    )
    assert read.result.ties.keys() <= {
        name for node in read.file.graph.node for name in node.output
    }
    assert f"{sum(ties)} rounding ties" in read.result.summary
    assert "tensors.npz" not in read.files
    assert read.compare(read.found) == read.result


def test_a_moved_threshold_stops(read: Read) -> None:
    """By a quarter of a step, which is the next sum."""
    thresholds = [
        node.input[1] for node in read.converted.graph.node if node.op_type == "MultiThreshold"
    ]
    for number, quantiser in enumerate(read.quantisers):
        faulty = onnx.ModelProto()
        faulty.CopyFrom(read.converted)
        (tensor,) = (t for t in faulty.graph.initializer if t.name == thresholds[number])
        moved = to_array(tensor).copy()
        moved[0, 1] -= 0.25 * quantiser.scale
        tensor.CopyFrom(from_array(moved, tensor.name))
        with pytest.raises(GateError, match="not by a rounding tie") as caught:
            read.compare(execute(faulty, read.inputs, read.names))
        assert f"tensor {quantiser.name}, frame " in caught.value.where
        assert (caught.value.found[:8], caught.value.expected[:8]) == ("level 1;", "level 0,")
        assert "of 0.25 steps" in caught.value.expected


def test_a_changed_level_stops(read: Read) -> None:
    """Beside a tie, and on one of -1/2, which is 0 half to even and half up alike."""
    for quantiser in read.quantisers:
        steps = read.found[rounded_by(read.converted, quantiser.tensor)] / quantiser.scale
        for value, changes in ((0.25, (1, -1, 0.5)), (-0.5, (1, -1))):
            row, column = np.argwhere(steps == value)[3]
            for change in changes:
                found = {name: values.copy() for name, values in read.found.items()}
                found[quantiser.tensor][row, column] += change * quantiser.scale
                with pytest.raises(GateError, match=r"not by a rounding|no level of") as caught:
                    read.compare(found)
                where = f"tensor {quantiser.name}, frame {row}, index ({column},)"
                assert caught.value.where == where


def test_a_level_across_a_near_tie_stops() -> None:
    """However near the tie is: FINN's own float32 value lies on the other side."""
    specimen = ZOO["brevitas_w4a4_bias"]()
    model, inputs = cleaned_up(specimen), specimen.inputs(N_FRAMES)
    quantisers = quantisers_of(model)
    names = [name for each in quantisers for name in (each.tensor, each.source)]
    found = execute(model, inputs, [*names, scores_of(model)])
    assert compare(model, model, model, inputs, found).summary.endswith("0 differences")
    for each in quantisers:
        steps = found[each.source] / each.scale
        away = np.abs(steps - np.floor(steps) - 0.5)
        away[(steps < 1) | (steps > 5)] = 1  # not where levels end
        index = np.unravel_index(away.argmin(), away.shape)
        assert 0 < away[index] < 0.05
        faulty = {name: values.copy() for name, values in found.items()}
        faulty[each.tensor][index] += (1 if steps[index] % 1 < 0.5 else -1) * each.scale
        with pytest.raises(
            GateError, match=f"rounding tie(.|\n)*tensor {each.name}, frame {index[0]},"
        ):
            compare(model, model, model, inputs, faulty)


def test_other_sums_stop(read: Read) -> None:
    """Scores one step of the sums beside, and in each layer a weight one step beside."""
    scores = read.names[-1]
    found = read.found | {scores: read.found[scores] + np.float32(0.125)}
    with pytest.raises(GateError, match=r"other scores(.|\n)*frame 0, index \(0,\)"):
        read.compare(found)
    products = [node for node in read.converted.graph.node if node.op_type == "MatMul"]
    places = [each.name for each in read.quantisers[1:]] + [scores_of(read.cleaned)]
    for node, where in zip(products, places, strict=True):
        faulty = onnx.ModelProto()
        faulty.CopyFrom(read.converted)
        (tensor,) = (t for t in faulty.graph.initializer if t.name == node.input[1])
        weights = to_array(tensor).copy()
        weights[3, 7] += -1 if weights[3, 7] == 1 else 1
        tensor.CopyFrom(from_array(weights, tensor.name))
        with pytest.raises(GateError, match=r"other (values|scores)") as caught:
            read.compare(execute(faulty, read.inputs, read.names))
        assert caught.value.where.startswith(f"tensor {where}, frame ")
        assert caught.value.where.endswith("index (7,)")


def test_a_missing_quantiser_stops(read: Read) -> None:
    name = read.quantisers[1].tensor
    found = {tensor: values for tensor, values in read.found.items() if tensor != name}
    with pytest.raises(GateError, match="lacks a quantiser"):
        read.compare(found)


def test_what_finn_does_not_take_is_said_in_its_words(tmp_path: Path) -> None:
    result = checked(ZOO["relu_then_signed"](), tmp_path, 10)
    assert result.not_compared is not None
    assert result.not_compared.startswith(
        "not converted: ConvertQONNXtoFINN: ValueError: FINN only"
    )
    assert result == FrontEnd(result.not_compared)
    assert result.summary == result.not_compared


@pytest.mark.parametrize("name", ["brevitas_w4a4_bias", "cnv_w2a2", "sigmoid"])
def test_float32_is_as_near_as_the_bound_says_and_the_bound_is_small(name: str) -> None:
    specimen = (ZOO | IMAGE_ZOO)[name]()
    model, inputs = cleaned_up(specimen), specimen.inputs(4)
    quantisers = quantisers_of(model)
    tensors = [*(each.source for each in quantisers), scores_of(model)]
    float32 = execute(model, inputs, [*tensors, *(each.tensor for each in quantisers)])
    given = {each.tensor: each.levels(float32[each.tensor]) * each.scale for each in quantisers}
    exact = Oracle(model).run(inputs, tensors, given)
    bounds = Float32Error(model, list(given))(inputs, given, tensors)
    for name in tensors:
        assert (np.abs(float32[name] - exact[name]) <= bounds[name]).all()
    for each in quantisers:
        assert (bounds[each.source] < 1e-3 * each.scale).all()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "summary", "left"),
    [
        ("qkeras_8bit", "rounding ties (Quant_0_out)", None),
        ("qkeras_floor", "FINN ignores the rounding mode FLOOR of Quant_0_out", None),
        ("jets_16bit", "rounding ties", "model/q_dense_1/Quant_0_out/ReadVariableOp:0"),
        ("pixels_with_ties", "float32 roundings (BipolarQuant_5_out)", None),
        ("per_channel_activation", "rounding ties", None),
        ("ends_in_argmax", "of another class", None),
        ("ends_in_scale", "rounding ties", None),
        ("brevitas_dynamo_w2a2_bias", "0 differences", None),
        ("cnv_w2a2", "0 differences", None),
        ("residual", "0 differences", None),
        ("forked_sums", "rounding ties", None),
    ],
)
def test_files_of_other_exporters(
    tmp_path: Path, name: str, summary: str, left: str | None
) -> None:
    result = checked((ZOO | IMAGE_ZOO)[name](), tmp_path)
    assert summary in result.summary
    assert result.left == ((left,) if left else ())


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("config", "ties"), [("digits_w1a1", {}), ("digits_w2a2", {"input_quantiser": 224})]
)
def test_trained_digits(tmp_path: Path, config: str, ties: dict[str, int]) -> None:
    """Pixels are k / 16: a ternary input quantiser has ties at 3 / 4, a bipolar one has none."""
    train_run(load_config(CONFIGS / f"{config}.toml", epochs=5), tmp_path)
    export_run(tmp_path)
    with np.load(tmp_path / "vectors.npz") as vectors:
        inputs = vectors["inputs"][:100]
    result = check_front_end(tmp_path / "model.onnx", inputs, tmp_path / "front_end")
    assert (result.not_compared, result.frames, result.quantisers) == (None, 100, 4)
    assert (result.ties, result.float32) == (ties, {})
    assert ties or (result.frames_touched, result.class_changes) == (0, 0)


@pytest.mark.nightly
def test_the_command_reads_the_file_as_well(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    specimen, weights = w2a2()
    inputs, source, run = specimen.inputs(100), tmp_path / "w2a2.onnx", tmp_path / "run"
    onnx.save(specimen.model, source)
    np.save(tmp_path / "inputs.npy", inputs)
    options = ["--inputs", tmp_path / "inputs.npy", "--until", "report", "--no-synthesis"]
    assert flow.main(["run", *map(str, [source, "--out", run, *options])]) == 0
    capsys.readouterr()
    assert flow.main(["finn", str(run)]) == 0
    ties, touched, changed = by_half_up(inputs, weights)
    record = json.loads((run / "report.json").read_text())["finn"]["front_end"]
    assert list(record["ties"].values()) == ties
    assert (record["frames_touched"], record["class_changes"]) == (touched.sum(), changed)
    line = "FINN's own reading of the file: 3 quantisers compared on 100 inputs, all differences "
    assert f"{line}explained: {sum(ties)} rounding ties" in capsys.readouterr().out
    assert f"{changed} inputs have another class" in (run / "report.html").read_text()
