"""The training loop: seeded, checkpointed after every epoch, resumed to the identical result.

All randomness of an epoch (order of samples, dropout) comes from a generator seeded with the run's
seed and the epoch's number, so that a resumed run draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy.errors import UserError
from deploy.run_directory import write_atomically
from training import processes
from training.activations import ConstantLevels
from training.augmentation import AUGMENTATIONS
from training.config import TrainingConfig
from training.dataset import Dataset
from training.event_file import EventFile
from training.history import METRICS, History
from training.network import Network
from training.optimisers import optimiser_of, rate_at, set_rate
from training.precision import matmul_precision
from training.progress import epochs_progress

_EVALUATION_BATCH = 500
_STEPS_BETWEEN_CHECKS = 50
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, eq=False)
class Samples:
    """One part of a data set on the training device: uint8 images, int64 labels.

    Images are arranged as the network takes them: (N, *input_shape). Where `augmentation` changes
    them in training and the network takes them flat, `image_shape` is (H, W, C) of one. Where a
    sample is the same every time, `integers` are its levels after the network's input quantiser,
    int8 of that shape: what it makes of the sample is scale * integer.
    """

    images: Tensor
    labels: Tensor
    full_scale: int
    augmentation: str = "none"
    image_shape: tuple[int, ...] = ()
    integers: Tensor | None = None
    scale: float = 1.0

    def inputs(self, index: Tensor | slice) -> Tensor:
        """What the network takes, float32 in [0, 1], for some of the samples."""
        return self.unit(self.images[index])

    def training_inputs(self, index: Tensor) -> tuple[Tensor, bool]:
        """What the network takes in training, changed at random where the config says so.

        And whether it went through the network's input quantiser already.
        """
        if self.integers is not None:
            levels = self.integers.index_select(0, index).to(torch.float32)
            return (levels if self.scale == 1.0 else levels.mul_(self.scale)), True
        images = self.images.index_select(0, index)  # ten times as fast as images[index]
        if self.augmentation != "none":
            images = self._augmented(images)
        return self.unit(images), False

    def _augmented(self, images: Tensor) -> Tensor:
        change = AUGMENTATIONS[self.augmentation]
        if not self.image_shape:
            return change(images)
        rows = images.reshape(len(images), *self.image_shape).movedim(-1, 1)
        return change(rows).movedim(1, -1).reshape(images.shape)

    def unit(self, images: Tensor) -> Tensor:
        return images.to(torch.float32) / self.full_scale

    def __len__(self) -> int:
        return len(self.labels)


def train_samples(
    dataset: Dataset, network: Network, device: str = "cpu", augmentation: str = "none"
) -> Samples:
    """The training part of a data set, on a device.

    Raises:
        UserError: what is to be augmented are no images, as the network takes them.
    """
    is_flat = len(network.input_shape) == 1 and len(dataset.shape) == 3
    if augmentation != "none" and not is_flat and len(network.input_shape) != 3:
        raise UserError(
            "only images are augmented, and this network takes none",
            where="data.augmentation",
            found=f"{augmentation}, {dataset.name} as inputs of shape {network.input_shape}",
            fix='set data.augmentation to "none"',
        )
    samples = _samples(dataset.train_images, dataset.train_labels, dataset, network, device)
    if augmentation == "none" and isinstance(network.input_quantiser, ConstantLevels):
        return _quantised_once(samples, network)
    shape = dataset.shape if is_flat else ()
    return replace(samples, augmentation=augmentation, image_shape=shape)


@torch.no_grad()
def _quantised_once(samples: Samples, network: Network) -> Samples:
    scale = network.input_quantiser.act_quant.scale()
    parts = samples.images.split(_EVALUATION_BATCH)
    integers = [
        torch.round(network.quantised_input(samples.unit(part)) / scale).to(torch.int8)
        for part in parts
    ]
    return replace(samples, integers=torch.cat(integers), scale=scale.item())


def evaluation_samples(dataset: Dataset, network: Network, device: str = "cpu") -> Samples:
    """The test part of a data set, or what is held out in its place, on a device."""
    return _samples(dataset.test_images, dataset.test_labels, dataset, network, device)


def _samples(
    images: np.ndarray, labels: np.ndarray, dataset: Dataset, network: Network, device: str
) -> Samples:
    arranged = torch.tensor(network.arrange(images), device=device)
    return Samples(arranged, torch.tensor(labels, device=device), dataset.full_scale)


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log softmax(scores)[label]."""
    return nn.functional.cross_entropy(scores, labels)


def squared_hinge(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over samples and classes of max(0, 1 - t * score)^2, t = +1 for the label, else -1."""
    targets = torch.full_like(scores, -1.0).scatter_(1, labels[:, None], 1.0)
    return torch.relu(1.0 - targets * scores).square().mean()


LOSSES = {"cross_entropy": cross_entropy, "squared_hinge": squared_hinge}


def train(
    network: Network,
    samples: Samples,
    config: TrainingConfig,
    folder: Path | None,
    validation: Samples | None = None,
) -> dict[str, Tensor] | None:
    """Trains in place; goes on from the checkpoint in `folder` if there is one.

    Where there are more `processes` all call it, and the first alone has a folder.

    Leaves `checkpoint.pt` and `metrics.jsonl` (one line per epoch: loss, accuracy on the training
    samples as they were seen and on the validation samples, learning rate, seconds) in `folder`,
    and an event file of the same for TensorBoard.

    Returns:
        The state of the network after the best epoch; None without validation samples.

    Raises:
        UserError: the loss is no longer a number, or the checkpoint is not of this network.
    """
    optimiser = optimiser_of(network, config)
    history = _resume(folder, network, optimiser)
    with _kept(folder, network, optimiser, history, config.epochs) as keep:
        while not history.is_over(config):
            epoch = len(history.metrics)
            started = time.monotonic()
            with matmul_precision(config.matmul_precision):
                loss, train_accuracy, rate = _train_epoch(
                    network, samples, config, optimiser, epoch
                )
            _refuse_runaway(network, loss, epoch)
            line: dict[str, Any] = {
                "epoch": epoch + 1,
                "train_loss": loss,
                "train_accuracy": train_accuracy,
            }
            text = f"loss {loss:.4f}  accuracy {100 * train_accuracy:.2f} %"
            if validation is not None:
                line["validation_accuracy"] = accuracy(network, validation)
                text += f"  validation {100 * line['validation_accuracy']:.2f} %"
            line["learning_rate"] = rate
            line["seconds"] = round(time.monotonic() - started, 3)
            history.add(line, network)
            keep(text)
    return history.best


@contextmanager
def _kept(
    folder: Path | None,
    network: Network,
    optimiser: torch.optim.Optimizer,
    history: History,
    n_epochs: int,
) -> Iterator[Callable[[str], None]]:
    """What is called after each epoch, to keep all that is known and to show a text."""
    if folder is None:
        yield lambda text: None
        return
    with (
        EventFile(folder, history.metrics) as events,
        epochs_progress(len(history.metrics), n_epochs) as report,
    ):

        def keep(text: str) -> None:
            _save(folder, network, optimiser, history)
            events.add(history.metrics[-1])
            report(len(history.metrics), text)

        yield keep


def _train_epoch(
    network: Network,
    samples: Samples,
    config: TrainingConfig,
    optimiser: torch.optim.Optimizer,
    epoch: int,
) -> tuple[float, float, float]:
    """Loss, accuracy and last learning rate of one pass.

    A last batch of one sample, or of fewer than there are processes, is left out.

    A loss that is no longer a number ends the pass, and is returned.
    """
    network.train()
    seed = config.seed * 1_000_003 + epoch
    torch.manual_seed(seed)
    loss_of = LOSSES[config.loss]
    device = samples.labels.device
    batches = torch.randperm(len(samples)).to(device).split(config.batch_size)
    batches = [batch for batch in batches if len(batch) >= max(2, processes.count())]
    processes.draw_apart(seed)
    loss_sum = torch.zeros((), device=device)
    n_right, n_seen = torch.zeros((), dtype=torch.int64, device=device), 0
    rate = 0.0
    for step, batch in enumerate(batches):
        done = (epoch + step / len(batches)) / config.epochs
        rate = rate_at(config, done)
        set_rate(optimiser, rate)
        share = processes.share_of(batch)
        labels = samples.labels[share]
        scores = network(*samples.training_inputs(share))
        loss = loss_of(scores, labels)
        optimiser.zero_grad()
        processes.backward(loss, network.parameters(), len(share) / len(batch))
        optimiser.step()
        network.clip_parameters()
        loss_sum += loss.detach() * len(share)
        n_right += (scores.detach().argmax(1) == labels).sum()
        n_seen += len(batch)
        # Now and then: on a GPU, to look at a number is to wait for it.
        if step % _STEPS_BETWEEN_CHECKS == 0 and not processes.total(loss_sum).isfinite():
            break
    loss_sum, n_right = processes.total(loss_sum), processes.total(n_right)
    return loss_sum.item() / n_seen, n_right.item() / n_seen, rate


def _refuse_runaway(network: Network, loss: float, epoch: int) -> None:
    """A number that is none: the loss or, of the step after it, a parameter."""
    if math.isfinite(loss) and all(part.isfinite().all() for part in network.parameters()):
        return
    raise UserError(
        "the loss is not a number any more",
        where=f"epoch {epoch + 1}",
        found=f"loss {loss}" + (", and parameters that are none" if math.isfinite(loss) else ""),
        fix="lower training.learning_rate",
    )


def accuracy(network: nn.Module, samples: Samples) -> float:
    """Share of samples whose label has the greatest score, in evaluation mode, float32."""
    return (classes(network, samples) == samples.labels).sum().item() / len(samples)


@torch.no_grad()
def classes(network: nn.Module, samples: Samples) -> Tensor:
    """Which score is the greatest of each sample, in evaluation mode, float32; int64 (N,)."""
    was_training = network.training
    network.eval()
    starts = range(0, len(samples), _EVALUATION_BATCH)
    indices = (slice(start, start + _EVALUATION_BATCH) for start in starts)
    found = torch.cat([network(samples.inputs(index)).argmax(1) for index in indices])
    network.train(was_training)
    return found


def _save(
    folder: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    history: History,
) -> None:
    """Replaces the checkpoint, then the metrics, each at once; the checkpoint holds both."""
    state = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "metrics": history.metrics,
        "best": history.best,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(folder / CHECKPOINT, buffer.getvalue())
    write_atomically(folder / METRICS, history.as_lines())


def _resume(folder: Path | None, network: nn.Module, optimiser: torch.optim.Optimizer) -> History:
    """Loads the checkpoint, if there is one, without executing code from it."""
    path = folder and folder / CHECKPOINT
    checkpoint = processes.told(path.read_bytes() if path and path.exists() else None)
    if checkpoint is None:
        return History()
    try:
        device = next(network.parameters()).device
        state = torch.load(io.BytesIO(checkpoint), weights_only=True, map_location=device)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        return History(state["metrics"], state["best"])
    except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            "the checkpoint can't be gone on with",
            where=str(path),
            found=str(error).splitlines()[0],
            fix="delete the file to train from the start",
        ) from error
