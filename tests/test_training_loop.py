"""The loop: same seed same weights, killed and resumed to the identical result, clear failures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deploy.errors import UserError
from deploy.run_directory import RunDirectory
from training import loop, train
from training.config import Config, DataConfig, load_config, parse_config
from training.datasets import load_dataset
from training.event_file import EVENTS, EventFile
from training.networks import build_network

ROOT = Path(__file__).parents[1]
TOML = """
[data]
name = "digits"
[network]
hidden = [16]
input_quantiser = "int2"
weight_quantiser = "binary"
activation_quantiser = "int2"
[training]
epochs = {epochs}
seed = {seed}
loss = "{loss}"
batch_size = 100
learning_rate = 0.02
"""


def toml_of(epochs: int = 3, seed: int = 1, loss: str = "squared_hinge") -> str:
    return TOML.format(epochs=epochs, seed=seed, loss=loss)


def config_of(epochs: int = 3, seed: int = 1, loss: str = "squared_hinge") -> Config:
    return parse_config(tomllib.loads(toml_of(epochs, seed, loss)), where="test")


def weights(run: Path) -> bytes:
    return (run / train.STAGE / train.WEIGHTS).read_bytes()


def test_the_seed_decides(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in "abc"]
    for run, seed in zip(runs, (5, 5, 6), strict=True):
        train.train_run(config_of(seed=seed), run)
    assert weights(runs[0]) == weights(runs[1])
    assert weights(runs[0]) != weights(runs[2])


def test_squared_hinge_by_hand() -> None:
    scores = torch.tensor([[2.0, -0.5], [0.25, 0.75]], requires_grad=True)
    loss = loop.squared_hinge(scores, torch.tensor([0, 1]))
    # 1 - t * s: [-1, 1/2] and [5/4, 1/4], of which -1 counts as 0.
    assert loss.item() == (0.25 + 1.5625 + 0.0625) / 4
    loss.backward()
    # -2 * t * max(0, 1 - t * s) / 4
    assert scores.grad.tolist() == [[0.0, 0.25], [0.625, -0.125]]


@pytest.mark.parametrize("loss", loop.LOSSES)
def test_it_learns(tmp_path: Path, loss: str) -> None:
    stage = train.train_run(config_of(epochs=30, loss=loss), tmp_path)
    lines = [json.loads(line) for line in (stage / loop.METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 31))
    assert lines[-1]["train_loss"] < 0.7 * lines[0]["train_loss"]
    assert lines[-1]["learning_rate"] < 0.01 * lines[0]["learning_rate"]
    assert (stage / train.LAST).read_bytes() == (stage / train.WEIGHTS).read_bytes()
    summary = json.loads((stage / train.SUMMARY).read_text())
    assert summary["test_accuracy"] > 0.8
    assert summary["n_test_samples"] == 596
    assert json.loads((stage / train.CONFIG).read_text()) == config_of(30, loss=loss).model_dump(
        mode="json"
    )
    assert not list(stage.glob("*.pt*"))


def test_killed_and_resumed_is_as_never_killed(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(toml_of(epochs=30))
    run, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "training.train", str(config), "--out", str(run)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    metrics = run / f".{train.STAGE}.partial" / loop.METRICS
    deadline = time.monotonic() + 60
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 5:
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_before = len(torch.load(metrics.with_name(loop.CHECKPOINT), weights_only=True)["metrics"])
    assert 5 <= n_before < 30
    assert not (run / train.STAGE).exists()

    assert train.main([str(config), "--out", str(run)]) == 0
    assert train.main([str(config), "--out", str(whole)]) == 0
    assert weights(run) == weights(whole)
    assert [line["epoch"] for line in lines_of(run)] == list(range(1, 31))
    assert scalars_of(run / train.STAGE) == {
        key: [(line["epoch"], np.float32(line[key])) for line in lines_of(run)]
        for key in ("train_loss", "train_accuracy", "learning_rate", "seconds")
    }


def scalars_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By their tags, the steps and values that TensorBoard reads."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_events_of_a_killed_run_are_made_anew(tmp_path: Path) -> None:
    lines = [{"epoch": 1 + i, "train_loss": 2.0 - i, "seconds": 0.5} for i in range(3)]
    with EventFile(tmp_path, []) as events:
        for line in lines:
            events.add(line)
    whole = (tmp_path / EVENTS).read_bytes()
    (tmp_path / EVENTS).write_bytes(whole[:-7])  # Killed within a write,
    with EventFile(tmp_path, lines[:1]) as events:  # whose checkpoint has the first epoch alone.
        for line in lines[1:]:
            events.add(line)
    assert (tmp_path / EVENTS).read_bytes() == whole
    assert scalars_of(tmp_path)["train_loss"] == [(1, 2.0), (2, 1.0), (3, 0.0)]


def test_weights_stay_in_range_and_a_single_last_sample_is_left_out(tmp_path: Path) -> None:
    dataset = load_dataset("digits")
    torch.manual_seed(0)
    config = config_of(epochs=2)
    network = build_network(config.network, (8, 8, 1), 10)
    samples = loop.train_samples(dataset, network)
    odd = loop.Samples(samples.images[:201], samples.labels[:201], samples.full_scale)
    loop.train(network, odd, config.training, tmp_path)
    assert network.hidden[0].linear.weight.abs().max() <= 1.0
    assert np.isclose(loop.accuracy(network, odd) * 201 % 1, 0)


def test_a_loss_that_runs_away_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.toml"
    # One linear layer on a square loss: far too large a step multiplies the error each time.
    text = toml_of(epochs=5).replace("[16]", "[]").replace("0.02", "{rate}\noptimiser = 'sgd'")
    text = re.sub(r'_quantiser = ".*"', '_quantiser = "float"', text)
    text = text.replace("[training]", 'normalisation = "none"\n[training]')
    config.write_text(text.format(rate=0.1))
    command = [str(config), "--out", str(tmp_path / "run"), "--overwrite"]
    assert train.main(command) == 0
    before = contents_of(tmp_path / "run" / train.STAGE)
    config.write_text(text.format(rate=10.0))
    assert train.main(command) == 2
    error = capsys.readouterr().err
    assert re.search(r"(?s)not a number.*epoch 2.*inf.*learning_rate", error)
    assert contents_of(tmp_path / "run" / train.STAGE) == before
    partial = tmp_path / "run" / f".{train.STAGE}.partial"
    assert len((partial / loop.METRICS).read_text().splitlines()) == 1  # The epoch that was whole.


def test_a_checkpoint_that_is_not_this_networks_is_refused(tmp_path: Path) -> None:
    torch.save({"network": {"x": torch.zeros(1)}}, tmp_path / loop.CHECKPOINT)
    network = build_network(config_of().network, (8, 8, 1), 10)
    samples = loop.train_samples(load_dataset("digits"), network)
    with pytest.raises(UserError, match=r"(?s)checkpoint.*checkpoint\.pt.*delete the file"):
        loop.train(network, samples, config_of().training, tmp_path)


def test_a_run_of_another_config_is_never_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(toml_of(epochs=2))
    assert train.main(["mine.toml"]) == 0
    run = Path("runs/mine")
    before = contents_of(run)
    Path("mine.toml").write_text(toml_of(epochs=2).replace("[16]", "[8]"))
    assert train.main(["mine.toml"]) == 2
    error = capsys.readouterr().err
    assert re.search(r"(?s)runs/mine: network\.hidden\.0\n.*found: +16\n.*expected: 8\n", error)
    assert "--overwrite" in error
    assert contents_of(run) == before

    # What a killed run left is worth as much.
    cut = RunDirectory("cut")
    with pytest.raises(KeyboardInterrupt):
        cut.run_stage(train.STAGE, body=interrupted, resumable=True, **KEY)
    before = contents_of(cut.path)
    assert train.main(["mine.toml", "--out", "cut"]) == 2
    assert "cut: data.name" in capsys.readouterr().err
    assert contents_of(cut.path) == before

    for options, said in ((["--overwrite"], "runs: config changed: network.hidden"), ([], "skip")):
        assert train.main(["mine.toml", *options]) == 0
        assert said in capsys.readouterr().out
    assert train.main(["mine.toml", "--out", "cut", "--overwrite"]) == 0
    assert weights(cut.path) == weights(run)


KEY: dict[str, Any] = {"config": {"data": {"name": "mnist"}}, "inputs": {}, "tools": {}}


def interrupted(folder: Path) -> None:
    (folder / loop.CHECKPOINT).write_text("hours of work")
    raise KeyboardInterrupt


def contents_of(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def with_validation(epochs: int, **training: int) -> Config:
    table = tomllib.loads(toml_of(epochs))
    table["data"]["validation_samples"] = 200
    table["training"] |= training
    return parse_config(table, where="test")


def lines_of(run: Path) -> list[dict]:
    text = (run / train.STAGE / loop.METRICS).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_best_epoch_of_held_out_samples_is_kept(tmp_path: Path) -> None:
    config = with_validation(12)
    stage = train.train_run(config, tmp_path)
    accuracies = [line["validation_accuracy"] for line in lines_of(tmp_path)]
    dataset = load_dataset("digits")
    fitted, held = dataset.held_out(200)
    assert len(fitted.train_labels) == 1001
    assert np.array_equal(held.test_images, dataset.train_images[1001:])
    network = build_network(config.network, dataset.shape, 10)
    samples = loop.evaluation_samples(held, network)
    for file, expected in ((train.WEIGHTS, max(accuracies)), (train.LAST, accuracies[-1])):
        network.load_state_dict(load_file(stage / file))
        assert loop.accuracy(network, samples) == expected
    network.load_state_dict(load_file(stage / train.WEIGHTS))
    summary = json.loads((stage / train.SUMMARY).read_text())
    assert summary["test_accuracy"] == loop.accuracy(
        network, loop.evaluation_samples(dataset, network)
    )
    assert (summary["n_train_samples"], summary["n_validation_samples"]) == (1001, 200)


def test_patience_ends_training_and_resumes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_validation(100, patience=2)
    train.train_run(config, tmp_path / "whole")
    accuracies = [line["validation_accuracy"] for line in lines_of(tmp_path / "whole")]
    assert 3 <= len(accuracies) < 100
    assert accuracies.index(max(accuracies)) == len(accuracies) - 3
    save = loop._save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        if len(arguments[3].metrics) == len(accuracies) - 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train.train_run(config, tmp_path / "cut")
    monkeypatch.setattr(loop, "_save", save)
    train.train_run(config, tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert [line["validation_accuracy"] for line in lines_of(tmp_path / "cut")] == accuracies


def test_what_training_cannot_do_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)end early.*training\.patience.*validation_samples"):
        parse_config(
            {
                **tomllib.loads(toml_of()),
                "training": {"epochs": 1, "learning_rate": 0.1, "patience": 3},
            },
            where="test",
        )
    too_many = with_validation(1).model_copy(
        update={"data": DataConfig(name="digits", validation_samples=1200)}
    )
    with pytest.raises(UserError, match=r"(?s)too few training samples.*1200 of 1201"):
        train.train_run(too_many, tmp_path)
    signals = load_config(ROOT / "training" / "configs" / "digits_conv1d_w1a1.toml")
    augmented = signals.model_copy(update={"data": DataConfig(name="digits", augmentation="shift")})
    with pytest.raises(UserError, match=r"(?s)only images are augmented.*digits as inputs of"):
        train.train_run(augmented, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    table = tomllib.loads(toml_of())
    table["training"]["device"] = "cuda"
    with pytest.raises(UserError, match=r"(?s)no GPU.*training\.device"):
        train.train_run(parse_config(table, where="test"), tmp_path)


class Planted:
    """What a hostile checkpoint would hold."""

    def __reduce__(self) -> tuple:
        return (os.mkdir, ("planted",))


def test_no_code_of_a_checkpoint_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"network": Planted()}, tmp_path / loop.CHECKPOINT)
    network = build_network(config_of().network, (8, 8, 1), 10)
    samples = loop.train_samples(load_dataset("digits"), network)
    with pytest.raises(UserError, match="checkpoint"):
        loop.train(network, samples, config_of().training, tmp_path)
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\nname = 'digits'\n", "a key is missing"),
        (toml_of().replace("digits", "mnist"), "does not hold the data set mnist"),
    ],
)
def test_the_command_ends_with_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    run = tmp_path / "run"
    assert train.main([str(config), "--out", str(run), "--data-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error
    assert not run.exists()
