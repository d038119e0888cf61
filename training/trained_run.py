"""A trained run, read back: its config, its data set and its network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.run_directory import RunDirectory
from training.config import Config, parse_config
from training.history import read_metrics
from training.train import CONFIG, STAGE, SUMMARY, WEIGHTS

if TYPE_CHECKING:
    from training.dataset import Dataset
    from training.network import Network


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What stage 01_train of a run holds.

    `summary` is its `summary.json`; `data_dir` is where training read the data set from, None for
    an embedded one and for the user's own, whose path is in the config.
    """

    path: Path
    config: Config
    summary: dict[str, Any]
    data_dir: Path | None

    def seconds(self) -> float:
        """Of all epochs together, resumed or not, on whatever machine trained them."""
        return sum(line["seconds"] for line in read_metrics(self.path / STAGE))

    @classmethod
    def read(cls, run: Path) -> TrainedRun:
        """Reads the config and the summary, and neither data nor weights.

        Raises:
            UserError: the run is not trained, or damaged.
        """
        made_by = f"python -m training.train CONFIG --out {run}"
        manifest = RunDirectory(run).manifest(STAGE, made_by=made_by)
        stage = run / STAGE
        config = parse_config(json.loads((stage / CONFIG).read_text()), where=str(stage / CONFIG))
        summary = json.loads((stage / SUMMARY).read_text())
        data_dir = None if config.data.path else _data_dir_of(manifest)
        return cls(run, config, summary, data_dir)

    def load(self, data_dir: Path | None = None) -> tuple[Network, Dataset]:
        """The trained network, and the data set from `data_dir` or from where training read it.

        Raises:
            UserError: the data are gone, or corrupted.
        """
        import torch
        from safetensors.torch import load_file

        from training.datasets import load_data
        from training.networks import build_network

        torch.set_num_threads(self.config.training.threads)
        dataset = load_data(self.config.data, data_dir or self.data_dir)
        network = build_network(self.config.network, dataset.shape, len(dataset.class_names))
        network.load_state_dict(load_file(self.path / STAGE / WEIGHTS))
        return network, dataset


def _data_dir_of(manifest: dict[str, Any]) -> Path | None:
    """The folder of data sets that training read from; None for an embedded data set."""
    for data_file in manifest["inputs"].values():
        return Path(data_file["path"]).parent.parent
    return None
