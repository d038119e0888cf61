"""Evaluation and table of trained runs: what they say is what training and its weights say."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from training import evaluate, table, train
from training.config import parse_config
from training.datasets import load_dataset
from training.history import read_metrics


def train_one(run: Path, *, seed: int, weights: str = "binary", **data: int) -> None:
    config = {
        "data": {"name": "digits", **data},
        "network": {
            "hidden": [8],
            "input_quantiser": "float",
            "weight_quantiser": weights,
            "activation_quantiser": "float",
            "dropout": 0.0,
        },
        "training": {"epochs": 2, "learning_rate": 0.02, "seed": seed, "batch_size": 100},
    }
    train.train_run(parse_config(config, where="test"), run)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    runs = {name: folder / name for name in ("binary_s1", "binary_s2", "float_s1")}
    for name, run in runs.items():
        weights, seed = name.split("_s")
        train_one(run, seed=int(seed), weights=weights)
    return runs


def summary_of(run: Path) -> dict:
    return json.loads((run / train.STAGE / train.SUMMARY).read_text())


def test_evaluation_by_independent_arithmetic(runs: dict[str, Path]) -> None:
    run = runs["float_s1"]
    w = {
        key: value.double().numpy()
        for key, value in load_file(run / train.STAGE / train.WEIGHTS).items()
    }
    data = load_dataset("digits")
    x = 2 * (data.test_images / 16) - 1
    x = x @ w["hidden.0.linear.weight"].T
    x = (x - w["hidden.0.norm.running_mean"]) / np.sqrt(w["hidden.0.norm.running_var"] + 1e-5)
    x = np.maximum(x * w["hidden.0.norm.weight"] + w["hidden.0.norm.bias"], 0)
    found = (x @ w["output.linear.weight"].T).argmax(1)
    expected = np.zeros((10, 10), int)
    for label, guess in zip(data.test_labels, found, strict=True):
        expected[label, guess] += 1
    for exact in (False, True):
        evaluated = evaluate.evaluate_run(run, exact=exact)
        assert np.array_equal(evaluated.confusion, expected)
        assert evaluated.accuracy == summary_of(run)["test_accuracy"]
        assert evaluated.recalls()[3] == (found[data.test_labels == 3] == 3).mean()


def test_evaluate_command(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = runs["binary_s1"], tmp_path / "evaluation.json"
    before = sorted(run.rglob("*"))
    assert evaluate.main([str(run), "--out", str(out)]) == 0
    assert sorted(run.rglob("*")) == before
    printed, written = capsys.readouterr().out, json.loads(out.read_text())
    assert f"{100 * written['accuracy']:.2f} % (596 test samples of digits, plain" in printed
    assert written["size"] == summary_of(run)["size"]
    assert written["size"]["weight_memory_bits"] == 64 * 8 + 8 * 10
    assert evaluate.main([str(tmp_path / "nowhere")]) == 2
    assert "python -m training.train" in capsys.readouterr().err


def test_seeds_are_one_row(runs: dict[str, Path]) -> None:
    binary, floating = table.make_table(runs.values())
    accuracies = [summary_of(runs[f"binary_s{seed}"])["test_accuracy"] for seed in (1, 2)]
    assert (binary.name, binary.seeds, binary.accuracies) == ("binary", (1, 2), tuple(accuracies))
    assert binary.mean == statistics.fmean(accuracies)
    assert binary.spread == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    lines = [read_metrics(runs[f"binary_s{seed}"] / train.STAGE) for seed in (1, 2)]
    seconds = sum(line["seconds"] for line in (*lines[0], *lines[1])) / 2
    assert binary.seconds == pytest.approx(seconds)
    assert (floating.name, floating.spread, floating.weight_bits) == ("float", None, 32)


def test_files_of_the_table(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(run) for run in runs.values()]
    out, plots = tmp_path / "t.csv", [tmp_path / name for name in ("a.svg", "b.svg", "c.png")]
    for plot in plots:
        assert table.main([*names, "--out", str(out), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(out.open()))
    assert [row["name"] for row in rows] == ["binary", "float"]
    assert float(rows[0]["seconds"]) >= 0.0
    assert rows[1]["weights, KiB"] == f"{32 * (64 * 8 + 8 * 10) / 8192:.2f}"
    assert printed.startswith("| name ")
    assert plots[0].read_bytes() == plots[1].read_bytes()
    assert b">binary<" in plots[0].read_bytes() or b"<!-- binary -->" in plots[0].read_bytes()
    assert plots[2].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["RUN", "RUN"], "same config and seed"),
        (["RUN", "--out", "t.xls"], ".md or .csv"),
        (["RUN", "--plot", "t.gif"], ".svg, .png, .pdf"),
        (["no_such_run"], "no whole stage 01_train"),
    ],
)
def test_refused(
    runs: dict[str, Path], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(runs["float_s1"]) if option == "RUN" else option for option in options]
    assert table.main(given) == 2
    assert message in capsys.readouterr().err
