"""Two processes by torchrun, on the CPU: one network, losses as of one process, killed, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deploy.errors import UserError
from training import loop, processes, train
from training.config import Config, load_config
from training.datasets import load_dataset
from training.history import read_metrics
from training.norms import ShiftNorm
from training.score_norm import ScalarNorm

ROOT = Path(__file__).parents[1]
NETWORKS = {
    # Nothing is drawn and nothing jumps: the same losses as in one process, but for rounding.
    "smooth": 'weight_quantiser = "float"\nactivation_quantiser = "float"\ndropout = 0.0',
    "shifts": 'weight_quantiser = "float"\nactivation_quantiser = "float"\ndropout = 0.0\n'
    'normalisation = "shift"',
    "drawn": 'weight_quantiser = "binary_stochastic"\nactivation_quantiser = "binary_stochastic"\n'
    "gradient_bits = 6\ndropout = 0.2",
}
# A last batch of one sample, which is left out.
TOML = """
[data]
name = "digits"
validation_samples = 200
[network]
hidden = [16, 16]
input_quantiser = "int4"
{network}
[training]
epochs = {epochs}
batch_size = 125
learning_rate = 0.005
"""
# What a process does of a run, and then the state of its network and its next random number.
ALONG = """
import sys
from pathlib import Path
import torch
from training import loop, processes, train
from training.config import load_config
from training.datasets import load_dataset
from training.norms import norm_of
from training.score_norm import ScalarNorm

folder = Path(sys.argv[1])
with processes.joined("cpu"):
    rank = processes.rank()
    for name, norm in (("batch", norm_of("batch", 1, 4)), ("shift", norm_of("shift", 1, 4)),
                       ("scalar", ScalarNorm())):
        x, upstream = torch.load(folder / f"{name}.in")
        x = processes.share_of(x).requires_grad_()
        y = norm(x)
        processes.backward((y * processes.share_of(upstream)).sum(), norm.parameters(), 1.0)
        gradients = [parameter.grad for parameter in norm.parameters()]
        found = {"y": y.detach(), "x": x.grad, "gradients": gradients, "state": norm.state_dict()}
        torch.save(found, folder / f"{name}{rank}.norm")
    for path in sorted(folder.glob("*.toml")):
        config = load_config(path)
        network, samples, validation = train.prepared(config, load_dataset("digits"))
        own = folder / path.stem if rank == 0 else None
        loop.train(network, samples, config.training, own, validation)
        state = {"state": network.state_dict(), "draw": torch.rand(4)}
        torch.save(state, folder / f"{path.stem}{rank}.pt")
"""


def torchrun(*command: str) -> list[str]:
    port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *port, *command]


def write_config(path: Path, network: str, epochs: int) -> Config:
    path.write_text(TOML.format(network=NETWORKS[network], epochs=epochs))
    return load_config(path)


def check_norm(folder: Path, name: str, norm: torch.nn.Module) -> None:
    """The two shares of a batch against the whole of it in one process, by PyTorch where it can."""
    x, upstream = torch.load(folder / f"{name}.in")
    x.requires_grad_()
    y = norm(x)
    (y * upstream).sum().backward()
    parts = [torch.load(folder / f"{name}{rank}.norm") for rank in (0, 1)]
    assert [len(part["y"]) for part in parts] == [5, 4]
    near = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(torch.cat([part["y"] for part in parts]), y.detach(), **near)
    torch.testing.assert_close(torch.cat([part["x"] for part in parts]), x.grad, **near)
    for part in parts:
        for key, value in norm.state_dict().items():
            torch.testing.assert_close(part["state"][key], value, **near)
        for gradient, parameter in zip(part["gradients"], norm.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad, **near)


@pytest.mark.nightly
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    configs = {name: write_config(tmp_path / f"{name}.toml", name, 4) for name in NETWORKS}
    for name in NETWORKS:
        (tmp_path / name).mkdir()
    norms = {"batch": torch.nn.BatchNorm1d(4), "shift": ShiftNorm(1, 4), "scalar": ScalarNorm()}
    torch.manual_seed(5)
    for name in norms:
        shape = (9, 10) if name == "scalar" else (9, 4, 3)
        torch.save((2.0 + torch.randn(shape), torch.randn(shape)), tmp_path / f"{name}.in")
    (tmp_path / "along.py").write_text(ALONG)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = torchrun(str(tmp_path / "along.py"), str(tmp_path))
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
    for name, norm in norms.items():
        check_norm(tmp_path, name, norm)
    for name, config in configs.items():
        first, second = (torch.load(tmp_path / f"{name}{rank}.pt") for rank in (0, 1))
        assert first["state"].keys() == second["state"].keys()
        for key, value in first["state"].items():
            assert torch.equal(value, second["state"][key]), (name, key)
        assert not torch.equal(first["draw"], second["draw"])
        alone = tmp_path / f"{name}_alone"
        alone.mkdir()
        network, samples, validation = train.prepared(config, load_dataset("digits"))
        assert len(samples) % config.training.batch_size == 1
        loop.train(network, samples, config.training, alone, validation)
        losses, alone_losses = (
            [line["train_loss"] for line in read_metrics(folder)]
            for folder in (tmp_path / name, alone)
        )
        assert losses[-1] < 0.9 * losses[0]
        np.testing.assert_allclose(losses, alone_losses, rtol=0.1 if name == "drawn" else 2e-3)


@pytest.mark.nightly
def test_killed_and_resumed_is_as_never_killed(tmp_path: Path) -> None:
    write_config(tmp_path / "config.toml", "drawn", 25)
    runs = [tmp_path / name for name in ("killed", "whole")]
    commands = [
        torchrun("-m", "training.train", str(tmp_path / "config.toml"), "--out", str(run))
        for run in runs
    ]
    process = subprocess.Popen(commands[0], cwd=ROOT, start_new_session=True)
    metrics = runs[0] / f".{train.STAGE}.partial" / loop.METRICS
    deadline = time.monotonic() + 120
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert not (runs[0] / train.STAGE).exists()
    for command in commands:
        subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    assert [line["epoch"] for line in read_metrics(runs[0] / train.STAGE)] == list(range(1, 26))
    for name in (train.WEIGHTS, train.LAST):
        found, expected = (load_file(run / train.STAGE / name) for run in runs)
        assert all(torch.equal(found[key], expected[key]) for key in expected)

    # One process alone would round and draw otherwise: it neither goes on nor takes it for its own.
    command = [str(tmp_path / "config.toml"), "--out", str(runs[0])]
    assert train.main(command) == 2
    # Two of them find it whole.
    subprocess.run(commands[0], cwd=ROOT, check=True, timeout=300)


def test_alone_nothing_is_shared() -> None:
    with processes.joined("cpu"):
        assert (processes.rank(), processes.count()) == (0, 1)
        batch = torch.arange(5)
        assert processes.share_of(batch) is batch
        assert processes.told("x") == "x"


def test_every_process_takes_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path / "config.toml", "smooth", 1)
    monkeypatch.setattr(processes, "count", lambda: 126)
    with pytest.raises(UserError, match=r"(?s)share of a batch.*batch_size.*125, and 126"):
        train.prepared(config, load_dataset("digits"))
