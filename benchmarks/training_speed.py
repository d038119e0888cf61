"""Training's speed and what it comes to, against Brevitas' own example, in one run.

Usage: python -m benchmarks.training_speed [--network tfc_w1a1] [--seeds 1 2 3] [--epochs 2]

Brevitas' bnn_pynq example, as its wheel ships it, is trained for some epochs at its own batch of
100. Ours is trained on the same samples, inputs of the same bits: at batch 100 for as many epochs,
and at batch 1,000 for as many epochs as fit in the CPU time that the example took. Beside each a
float network of the same shape in our own loop. One thread each, one after the other, by turns.

Samples per CPU second are those of training alone, making batches included. Ours include quantising
all inputs once, checkpoints and metrics; the example writes nothing. Evaluation counts for neither.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from benchmarks.bnn_pynq_example import Trained, train_example
from benchmarks.record import print_header
from training import loop
from training.config import Config, load_config
from training.dataset import Dataset
from training.datasets import load_data
from training.networks import build_network

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
EXAMPLE_BATCH, BEST_BATCH = 100, 1000
LEAST_RATIO, LEAST_RATIO_AT_100, MOST_OF_FLOAT = 5.0, 2.0, 1.5


def train_ours(config: Config, dataset: Dataset) -> Trained:
    """Trains the network of a config as `training.train` does."""
    torch.manual_seed(config.training.seed)
    network = build_network(config.network, dataset.shape, len(dataset.class_names))
    with tempfile.TemporaryDirectory() as folder, _reproducible():
        started = time.process_time()
        samples = loop.train_samples(dataset, network)
        with redirect_stdout(io.StringIO()):
            loop.train(network, samples, config.training, Path(folder))
        cpu_s = time.process_time() - started
        accuracy = loop.accuracy(network, loop.evaluation_samples(dataset, network))
    return Trained(config.training.epochs * len(samples), cpu_s, 100 * accuracy)


@contextmanager
def _reproducible() -> Iterator[None]:
    """What `training.train` sets, and the example does not."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def changed(config: Config, *, is_float: bool = False, **training: int) -> Config:
    """The config with other training, and all in floating point where wanted."""
    names = ("input_quantiser", "weight_quantiser", "activation_quantiser") if is_float else ()
    return config.model_copy(
        update={
            "network": config.network.model_copy(update=dict.fromkeys(names, "float")),
            "training": config.training.model_copy(update=training),
        }
    )


class Table:
    """Every training, by what was trained; prints a line for each."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Trained]] = {}
        print("seed                            epochs  samples/CPU-s  CPU-s  test accuracy")

    def add(self, name: str, seed: int, epochs: int, trained: Trained) -> None:
        self.rows.setdefault(name, []).append(trained)
        print(
            f"{seed:4}  {name:24}  {epochs:6}  {trained.samples_per_cpu_s:13,.0f}"
            f"  {trained.cpu_s:5.1f}  {trained.accuracy:11.2f} %",
            flush=True,
        )

    def ratio(self, name: str, other: str) -> float:
        """Median, over the seeds, of the first's samples per CPU second over the other's."""
        pairs = zip(self.rows[name], self.rows[other], strict=True)
        return statistics.median(a.samples_per_cpu_s / b.samples_per_cpu_s for a, b in pairs)

    def accuracy(self, name: str) -> float:
        return statistics.mean(trained.accuracy for trained in self.rows[name])


def main() -> int:
    """Prints the figures; exit code 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="tfc_w1a1", help="such as tfc_w2a2 or sfc_w1a1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=2, help="of the example")
    options = parser.parse_args()
    print_header("measured on this machine, CPU seconds of one thread")
    config = load_config(CONFIGS / f"{options.network}.toml")
    name, _, bits = options.network.upper().partition("_")
    example = f"{name}_{bits[1]}W{bits[3]}A"
    dataset = load_data(config.data)
    torch.set_num_threads(1)
    train_ours(changed(config, epochs=1), dataset.first(1000, 100))  # what is imported on first use
    table, loading = Table(), []
    for seed in options.seeds:
        theirs, share = train_example(example, dataset, seed, options.epochs, EXAMPLE_BATCH)
        table.add("example, batch 100", seed, options.epochs, theirs)
        loading.append(share)
        at_100 = {"seed": seed, "batch_size": EXAMPLE_BATCH, "epochs": options.epochs}
        ours = train_ours(changed(config, **at_100), dataset)
        table.add("ours, batch 100", seed, options.epochs, ours)
        alike = train_ours(changed(config, is_float=True, **at_100), dataset)
        table.add("float, batch 100", seed, options.epochs, alike)
        best = {"seed": seed, "batch_size": BEST_BATCH}
        pilot = train_ours(changed(config, epochs=1, **best), dataset)
        epochs = max(1, int(0.9 * theirs.cpu_s / pilot.cpu_s))  # to stay below it for sure
        ours = train_ours(changed(config, epochs=epochs, **best), dataset)
        table.add("ours, batch 1,000", seed, epochs, ours)
        alike = train_ours(changed(config, epochs=options.epochs, is_float=True, **best), dataset)
        table.add("float, batch 1,000", seed, options.epochs, alike)
    return _report(table, statistics.median(loading))


def _report(table: Table, loading: float) -> int:
    good = True
    for batch, least, equal in (
        ("100", LEAST_RATIO_AT_100, "epochs"),
        ("1,000", LEAST_RATIO, "CPU time"),
    ):
        ours, alike, theirs = f"ours, batch {batch}", f"float, batch {batch}", "example, batch 100"
        ratio, of_float = table.ratio(ours, theirs), table.ratio(alike, ours)
        accuracy, their_accuracy = table.accuracy(ours), table.accuracy(theirs)
        good &= ratio >= least and of_float <= MOST_OF_FLOAT and accuracy >= their_accuracy
        print(
            f"batch {batch}: {ratio:.1f} times the example's samples per CPU second"
            f" ({ratio * (1 - loading):.1f} times without its loading of data);"
            f" {of_float:.2f} times the cost of float;"
            f" {accuracy:.2f} % at equal {equal}, the example {their_accuracy:.2f} %"
        )
    print(f"of the example's time {100 * loading:.0f} % is loading of data")
    print("all bounds met" if good else "a bound was missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
