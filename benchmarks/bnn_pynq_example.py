"""Brevitas' bnn_pynq example as its wheel ships it, but for torchvision, which loads its data.

What stands in for torchvision does less for a sample: it makes no PIL image of it.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch

from training.dataset import Dataset


@dataclass(frozen=True)
class Trained:
    """What some training took and came to: CPU seconds of training alone, test accuracy in %."""

    samples: int
    cpu_s: float
    accuracy: float

    @property
    def samples_per_cpu_s(self) -> float:
        return self.samples / self.cpu_s


def train_example(
    network: str, dataset: Dataset, seed: int, epochs: int, batch_size: int = 100
) -> tuple[Trained, float]:
    """Trains TFC_1W1A or alike with the example's own settings, in one process.

    Returns:
        The training, its data loading included; and the share of its time that is data loading.
    """
    _stand_in_for_torchvision(dataset)
    with contextlib.redirect_stdout(io.StringIO()):
        from brevitas_examples.bnn_pynq.bnn_pynq_train import parse_args
        from brevitas_examples.bnn_pynq.trainer import Trainer

        class Timed(Trainer):
            """The example, and when its training is in evaluation."""

            evaluating_s, accuracy = 0.0, 0.0

            def eval_model(self, epoch: int | None = None) -> torch.Tensor:
                started = time.process_time()
                result = super().eval_model(epoch)
                self.evaluating_s += time.process_time() - started
                self.accuracy = float(result)
                return result

        with tempfile.TemporaryDirectory() as folder:
            given = f"--network {network} --epochs {epochs} --batch_size {batch_size} --dry_run"
            given += f" --random_seed {seed} --num_workers 0 --log_freq 100 --datadir {folder}"
            trainer = Timed(parse_args(given.split()))
        started = time.process_time()
        trainer.train_model()
        cpu_s = time.process_time() - started - trainer.evaluating_s
        started = time.process_time()
        for _ in trainer.train_loader:
            pass
        loading_s = epochs * (time.process_time() - started)
    n_samples = epochs * len(dataset.train_labels)
    return Trained(n_samples, cpu_s, trainer.accuracy), loading_s / cpu_s


def _stand_in_for_torchvision(dataset: Dataset) -> None:
    """torchvision's names that the example takes; MNIST is `dataset`, whatever folder is named."""
    _Images.dataset = dataset
    transforms, datasets = ModuleType("torchvision.transforms"), ModuleType("torchvision.datasets")
    transforms.Compose = _Compose
    transforms.ToTensor = lambda: _to_tensor
    datasets.MNIST = datasets.CIFAR10 = _Images
    torchvision = ModuleType("torchvision")
    torchvision.__version__ = "0.20.0"
    torchvision.transforms, torchvision.datasets = transforms, datasets
    for module in (torchvision, transforms, datasets):
        sys.modules[module.__name__] = module


class _Compose:
    def __init__(self, steps: list[Callable[[np.ndarray], torch.Tensor]]) -> None:
        self.steps = steps

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        for step in self.steps:
            image = step(image)
        return image


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image)[None].float().div(255)


class _Images(torch.utils.data.Dataset):
    dataset: Dataset

    def __init__(self, root: str, train: bool, download: bool, transform: _Compose) -> None:
        data = self.dataset
        images = data.train_images if train else data.test_images
        self.images = images.reshape(-1, *data.shape[:2]).copy()
        self.labels = data.train_labels if train else data.test_labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])
