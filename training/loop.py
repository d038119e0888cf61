"""The training loop: seeded, checkpointed after every epoch, resumed to the identical result.

All randomness of an epoch (order of samples, dropout) comes from a generator seeded with the run's
seed and the epoch's number, so that a resumed run draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.errors import UserError
from deploy.run_directory import write_atomically
from training.config import TrainingConfig
from training.dataset import Dataset
from training.network import Network
from training.progress import epochs_progress

_EVALUATION_BATCH = 500
CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"


@dataclass(frozen=True, eq=False)
class Samples:
    """One part of a data set on the training device: uint8 images, int64 labels.

    Images are arranged as the network takes them: (N, *input_shape).
    """

    images: Tensor
    labels: Tensor
    full_scale: int

    def inputs(self, index: Tensor | slice) -> Tensor:
        """What the network takes, float32 in [0, 1], for some of the samples."""
        return self.images[index].to(torch.float32) / self.full_scale

    def __len__(self) -> int:
        return len(self.labels)


def train_samples(dataset: Dataset, network: Network) -> Samples:
    return _samples(dataset.train_images, dataset.train_labels, dataset, network)


def test_samples(dataset: Dataset, network: Network) -> Samples:
    return _samples(dataset.test_images, dataset.test_labels, dataset, network)


def _samples(images: np.ndarray, labels: np.ndarray, dataset: Dataset, network: Network) -> Samples:
    return Samples(torch.tensor(network.arrange(images)), torch.tensor(labels), dataset.full_scale)


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log softmax(scores)[label]."""
    return nn.functional.cross_entropy(scores, labels)


def squared_hinge(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over samples and classes of max(0, 1 - t * score)^2, t = +1 for the label, else -1."""
    targets = torch.full_like(scores, -1.0).scatter_(1, labels[:, None], 1.0)
    return torch.relu(1.0 - targets * scores).square().mean()


LOSSES = {"cross_entropy": cross_entropy, "squared_hinge": squared_hinge}


def train(network: Network, samples: Samples, config: TrainingConfig, folder: Path) -> None:
    """Trains in place; goes on from the checkpoint in `folder` if there is one.

    Leaves `checkpoint.pt` and `metrics.jsonl` (one line per epoch: loss, accuracy on the training
    samples as they were seen, learning rate, seconds) in `folder`.

    Raises:
        UserError: the loss is no longer a number, or the checkpoint is not of this network.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    metrics = _resume(folder, network, optimiser)
    with epochs_progress(len(metrics), config.epochs) as report:
        for epoch in range(len(metrics), config.epochs):
            started = time.monotonic()
            loss, accuracy, rate = _train_epoch(network, samples, config, optimiser, epoch)
            if not math.isfinite(loss):
                raise UserError(
                    "the loss is not a number any more",
                    where=f"epoch {epoch + 1}",
                    found=str(loss),
                    fix="lower training.learning_rate",
                )
            seconds = round(time.monotonic() - started, 3)
            metrics.append(
                {
                    "epoch": epoch + 1,
                    "train_loss": loss,
                    "train_accuracy": accuracy,
                    "learning_rate": rate,
                    "seconds": seconds,
                }
            )
            _save(folder, network, optimiser, metrics)
            report(epoch + 1, f"loss {loss:.4f}  accuracy {100 * accuracy:.2f} %")


def _train_epoch(
    network: Network,
    samples: Samples,
    config: TrainingConfig,
    optimiser: torch.optim.Optimizer,
    epoch: int,
) -> tuple[float, float, float]:
    """Loss, accuracy and last learning rate of one pass; a last batch of one sample is left out."""
    network.train()
    torch.manual_seed(config.seed * 1_000_003 + epoch)
    loss_of = LOSSES[config.loss]
    batches = torch.randperm(len(samples)).split(config.batch_size)
    batches = [batch for batch in batches if len(batch) > 1]
    loss_sum, n_right, n_seen = torch.zeros(()), torch.zeros((), dtype=torch.int64), 0
    rate = 0.0
    for step, batch in enumerate(batches):
        done = (epoch + step / len(batches)) / config.epochs
        rate = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate
        labels = samples.labels[batch]
        scores = network(samples.inputs(batch))
        loss = loss_of(scores, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        network.clip_parameters()
        loss_sum += loss.detach() * len(batch)
        n_right += (scores.detach().argmax(1) == labels).sum()
        n_seen += len(batch)
    return loss_sum.item() / n_seen, n_right.item() / n_seen, rate


@torch.no_grad()
def accuracy(network: nn.Module, samples: Samples) -> float:
    """Share of samples whose label has the greatest score, in evaluation mode, float32."""
    was_training = network.training
    network.eval()
    n_right = 0
    for start in range(0, len(samples), _EVALUATION_BATCH):
        index = slice(start, start + _EVALUATION_BATCH)
        n_right += (network(samples.inputs(index)).argmax(1) == samples.labels[index]).sum().item()
    network.train(was_training)
    return n_right / len(samples)


def _save(
    folder: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    metrics: list[dict[str, Any]],
) -> None:
    """Replaces the checkpoint, then the metrics, each at once; the checkpoint holds both."""
    state = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "metrics": metrics,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(folder / CHECKPOINT, buffer.getvalue())
    write_atomically(folder / METRICS, "".join(json.dumps(line) + "\n" for line in metrics))


def _resume(
    folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer
) -> list[dict[str, Any]]:
    """Loads the checkpoint, if there is one, without executing code from it; the epochs done."""
    path = folder / CHECKPOINT
    if not path.exists():
        return []
    try:
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        return state["metrics"]
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            "the checkpoint can't be gone on with",
            where=str(path),
            found=str(error).splitlines()[0],
            fix="delete the file to train from the start",
        ) from error
