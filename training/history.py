"""What is known of a run's epochs: a line of metrics for each, and the best of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from training.config import TrainingConfig

METRICS = "metrics.jsonl"


@dataclass(eq=False)
class History:
    """What a checkpoint holds besides the network and the optimiser.

    `metrics` has a line per epoch; `best` the network's state after the epoch of the greatest
    validation accuracy, the first of equals; None without validation samples.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    def add(self, line: dict[str, Any], network: nn.Module) -> None:
        accuracy = line.get("validation_accuracy")
        if accuracy is not None:
            before = max((done["validation_accuracy"] for done in self.metrics), default=-1.0)
            if accuracy > before:
                self.best = {key: value.clone() for key, value in network.state_dict().items()}
        self.metrics.append(line)

    def is_over(self, config: TrainingConfig) -> bool:
        if len(self.metrics) >= config.epochs:
            return True
        accuracies = [line.get("validation_accuracy", 0.0) for line in self.metrics]
        if config.patience is None or not accuracies:
            return False
        return len(accuracies) - 1 - accuracies.index(max(accuracies)) >= config.patience

    def as_lines(self) -> str:
        return "".join(json.dumps(line) + "\n" for line in self.metrics)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a folder that training wrote, or is writing.

    Raises:
        OSError: there are none.
    """
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
