"""Top k from a QONNX file, or by --output, to the RTL and the board's classes; and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_writer import Writer, random_integers
from qonnx_zoo import ZOO

from deploy import commands
from deploy.bundle import Bundle
from deploy.errors import UserError
from hw_build import flow
from hw_build.golden import execute
from hw_build.graph import ArgMax, MatVec, TopK
from hw_build.graph_file import Imported
from hw_build.importer import import_qonnx
from hw_build.oracle import Oracle

ROOT = Path(__file__).resolve().parent.parent
N_INPUTS, N_CLASSES, K = 6, 7, 3


def network(
    k: int = K,
    *before: str,
    scale: float = 1.0,
    both: bool = False,
    values: bool = False,
    **attributes: int,
) -> onnx.ModelProto:
    """Scores by one ternary layer whose classes 1 and 4 always tie, `before`, and then TopK."""
    w = Writer(70)
    integers = random_integers(w, 2, (N_INPUTS, N_CLASSES))
    integers[:, 4] = integers[:, 1]
    weights = w.quant(w.const(integers * scale), scale, 2, narrow=True)
    x = w.add("MatMul", w.quant("inp", 0.5, 3), weights)
    for op in before:
        x = w.add(op, x, axis=1) if op == "Softmax" else w.add(op, x)
    kept = w.add("TopK", x, w.const([k], np.int64), outputs=2, **attributes)
    outputs = [kept] if values else [f"{w.nodes[-1].name}_out1"]
    outputs += [kept] if both else []
    made = w.model((1, N_INPUTS), outputs, [(1, k)] * len(outputs))
    made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return made


def imported(model: onnx.ModelProto, folder: Path, output: str = "auto") -> Imported:
    onnx.save(model, folder / "model.onnx")
    return import_qonnx(folder / "model.onnx", output)


def inputs(n: int) -> np.ndarray:
    return np.random.default_rng(5).integers(-4, 4, (n, N_INPUTS)).astype(np.float32) / 2


def classes_by_onnx(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The file's own indices."""
    return Oracle(model).run(x)[model.graph.output[0].name].astype(int)


def test_a_file_that_ends_in_top_k_reaches_the_rtl_and_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    model, x = network(), inputs(40)
    expected = classes_by_onnx(model, x)
    tied = [list(row) for row in expected if 4 in row]
    assert tied
    assert all(1 in row[: row.index(4)] for row in tied)  # the lowest index first
    run, given = tmp_path / "run", tmp_path / "x.npy"
    onnx.save(model, tmp_path / "network.onnx")
    np.save(given, x)
    options = ["--inputs", str(given), "--out", str(run), "--no-synthesis"]
    assert flow.main(["run", str(tmp_path / "network.onnx"), *options]) == 0
    assert "module top_k" in "".join(p.read_text() for p in run.glob("06_rtl/*.sv"))
    gates = json.loads((run / "07_simulation/simulation.json").read_text())["gates"]
    assert [(gate["vectors"], gate["mismatches"]) for gate in gates] == [(1000, 0)] * 3
    with np.load(run / "outputs.npz") as file:
        for executor in ("oracle", "golden", "rtl"):
            assert (file[executor] == expected).all()
    report = json.loads((run / "report.json").read_text())
    assert [layer["operator"] for layer in report["layers"]] == ["matrix-vector", "top 3"]
    assert {gate["mismatches"] for gate in report["gates"]} == {0}
    bundle = Bundle.read(run / "bundle.zip")
    assert bundle.manifest.meaning.is_class
    assert (bundle.vectors().outputs[:40] == expected).all()
    virtual = ["--board", "virtual:pynq_z2", "--rtl", str(run), "--json"]
    capsys.readouterr()
    assert commands.main(["run", str(run / "bundle.zip"), str(given), *virtual]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["best"] == expected.astype(str).tolist()
    assert told["classes"] == expected[:, 0].astype(str).tolist()


@pytest.mark.parametrize("before", [(), ("Softmax",), ("Sigmoid",), ("Sigmoid", "LogSoftmax")])
def test_top_k_is_onnx_s_for_every_k(before: tuple[str, ...], tmp_path: Path) -> None:
    x = inputs(300)
    for k in range(2, N_CLASSES + 1):
        model = network(k, *before, axis=-1, largest=1, sorted=1)
        made = imported(model, tmp_path)
        assert isinstance(made.graph.output, TopK)
        assert made.host_tail == ()
        got = execute(made.graph, made.quantiser(x))["classes"]
        assert (got == classes_by_onnx(model, x)).all()


def test_the_output_that_is_asked_for(tmp_path: Path) -> None:
    """--output topK needs no TopK in the file, and another output none of the file's."""
    x, specimen = inputs(200), ZOO["ends_in_argmax"]()
    scores = imported(network(), tmp_path, "scores")
    assert isinstance(scores.graph.output, MatVec)
    assert scores.host_tail == ("TopK",)
    assert isinstance(imported(network(), tmp_path, "class").graph.output, ArgMax)
    assert isinstance(imported(network(), tmp_path, "top1").graph.output, ArgMax)
    five = imported(network(), tmp_path, "top5")
    got = execute(five.graph, five.quantiser(x))["classes"]
    assert (got == classes_by_onnx(network(5), x)).all()
    two = imported(specimen.model, tmp_path, "top2")
    x = specimen.inputs(200)
    got = execute(two.graph, two.quantiser(x))["classes"]
    assert (got[:, :1] == classes_by_onnx(specimen.model, x)).all()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (network(values=True), r"its values are read[\s\S]*TopK_\d[\s\S]*topk\(k\).indices"),
        (network(both=True), r"several outputs[\s\S]*a TopK its indices"),
        (network(largest=0), "the least scores"),
        (network(sorted=0), "no defined order"),
        (network(N_CLASSES + 1), f"not so many scores[\\s\\S]*k = 8[\\s\\S]*1 to {N_CLASSES}"),
        (network(0), "not so many scores"),
        (network(axis=0), "along the channels"),
    ],
)
def test_a_file_s_top_k_is_refused(model: onnx.ModelProto, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        imported(model, tmp_path)


@pytest.mark.parametrize("output", ["top", "top0", "top-1", "top05", "topk", "best"])
def test_no_such_output(output: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"no such output[\s\S]*{output}[\s\S]*top5"):
        imported(network(), tmp_path, output)


def test_more_classes_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no top 8[\s\S]*scores \(7\)[\s\S]*fewer classes"):
        imported(network(), tmp_path, f"top{N_CLASSES + 1}")
    assert isinstance(imported(network(), tmp_path, f"top{N_CLASSES}").graph.output, TopK)


def test_scores_leave_where_their_order_would_not_be_exact(tmp_path: Path) -> None:
    """A Softmax rounds what is far below the greatest score to 0: equals that the scores aren't."""
    far = network(K, "Softmax", scale=200.0)
    assert isinstance(imported(network(1, "Softmax", scale=200.0), tmp_path).graph.output, ArgMax)
    made = imported(far, tmp_path)
    assert made.host_tail == ("Softmax", "TopK")
    assert any("the host takes the top 3: a Softmax" in note for note in made.notes)
    with pytest.raises(UserError, match=r"top 3 cannot be taken exactly[\s\S]*a Softmax"):
        imported(far, tmp_path, "top3")
    x = inputs(300)
    order = execute(imported(far, tmp_path, "scores").graph, made.quantiser(x))["fc0"]
    assert (np.argsort(-order, kind="stable")[:, :K] != classes_by_onnx(far, x)).any()


def test_a_softmax_of_a_softmax_has_equals_that_the_scores_are_not(tmp_path: Path) -> None:
    model, x = network(K, "Softmax", "Softmax", scale=16.0), inputs(300)
    made = imported(model, tmp_path)
    assert any("Softmax and Softmax" in note for note in made.notes)
    order = execute(made.graph, made.quantiser(x))["fc0"]
    assert (np.argsort(-order, kind="stable")[:, :K] != classes_by_onnx(model, x)).any()
