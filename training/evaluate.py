"""Command: measures a trained run on its test set, class by class, and says how large it is."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.answers import EXIT_CODES, HelpFormat, add_json, answer, for_people
from deploy.errors import NarrowgaugeError
from deploy.run_directory import write_atomically
from deploy.terminal import complain, run_command, show_figure
from training.trained_run import TrainedRun

if TYPE_CHECKING:
    import numpy as np

    from training.network_size import NetworkSize


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What a trained network does on a test set.

    `confusion` is int64 (K, K): how many samples of the row's class were given the column's; of
    equal scores the first one counts. `recorded_accuracy` is what training wrote down.
    """

    data: str
    class_names: tuple[str, ...]
    confusion: np.ndarray
    recorded_accuracy: float
    exact: bool
    size: NetworkSize

    @property
    def accuracy(self) -> float:
        return float(self.confusion.trace() / self.confusion.sum())

    def recalls(self) -> list[float | None]:
        """Of each class, the share of its samples that are found; None where it has none."""
        totals = self.confusion.sum(axis=1)
        right = self.confusion.diagonal()
        return [float(r / n) if n else None for r, n in zip(right, totals, strict=True)]

    def as_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "n_test_samples": int(self.confusion.sum()),
            "accuracy": self.accuracy,
            "recorded_accuracy": self.recorded_accuracy,
            "exact": self.exact,
            "recalls": dict(zip(self.class_names, self.recalls(), strict=True)),
            "confusion": self.confusion.tolist(),
            "size": asdict(self.size),
        }


def evaluate_run(run: Path, data_dir: Path | None = None, *, exact: bool = False) -> Evaluated:
    """Evaluates the weights of a run, by plain float32 PyTorch or, with `exact`, free of rounding.

    Raises:
        UserError: the run is not trained, its data are gone, or its weights are TTQ's and are to be
            evaluated exactly.
    """
    trained = TrainedRun.read(run)
    network, dataset = trained.load(data_dir)

    import numpy as np

    from training import loop
    from training.exact_evaluation import ExactNetwork
    from training.network_size import size_of

    if exact:
        inputs = dataset.to_unit(network.arrange(dataset.test_images))
        parts = [part.scores.argmax(1) for _, part in ExactNetwork(network).batches(inputs)]
        found = np.concatenate(parts)
    else:
        found = loop.classes(network, loop.evaluation_samples(dataset, network)).numpy()
    n_classes = len(dataset.class_names)
    confusion = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(confusion, (dataset.test_labels, found), 1)
    return Evaluated(
        data=dataset.name,
        class_names=dataset.class_names,
        confusion=confusion,
        recorded_accuracy=trained.summary["test_accuracy"],
        exact=exact,
        size=size_of(network),
    )


def _show(evaluated: Evaluated) -> None:
    size = evaluated.size
    samples = f"{evaluated.confusion.sum()} test samples of {evaluated.data}"
    how = "evaluated exactly" if evaluated.exact else "plain float32"
    note = f" ({samples}, {how}; training recorded {100 * evaluated.recorded_accuracy:.2f} %)"
    show_figure("accuracy", f"{100 * evaluated.accuracy:.2f} %", note)
    width = max(map(len, evaluated.class_names))
    for index, (name, recall) in enumerate(
        zip(evaluated.class_names, evaluated.recalls(), strict=True)
    ):
        wrong = evaluated.confusion[index].copy()
        wrong[index] = 0
        text = "no samples" if recall is None else f"{100 * recall:6.2f} % found"
        if wrong.any():
            text += f", most often taken for {evaluated.class_names[wrong.argmax()]}"
        print(f"  {name:<{width}}  {text}")
    weights = f"{size.n_weights:,} of at most {size.weight_bits} bit each"
    show_figure("weights", f"{size.weight_memory_bits / 8192:,.2f} KiB", f" ({weights})")
    show_figure("activations", f"{size.activation_memory_bits / 8192:,.2f} KiB")
    show_figure("work", f"{size.macs:,}", " multiply-accumulates a sample")


def command_parser() -> argparse.ArgumentParser:
    """Of this command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Measures a trained run on its test set, class by class. Changes nothing in "
        "the run.",
        epilog=f"example:\n  python -m training.evaluate runs/digits\n\n{EXIT_CODES}",
        formatter_class=HelpFormat,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory of training.train")
    parser.add_argument(
        "--data-dir", type=Path, metavar="D", help="where the data set is, if it has moved"
    )
    parser.add_argument(
        "--exact", action="store_true", help="free of float32's rounding, as export does; slower"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="JSON file for these figures and all confusions"
    )
    add_json(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error met."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    try:
        evaluated = evaluate_run(options.run, options.data_dir, exact=options.exact)
        if options.out:
            write_atomically(options.out, json.dumps(evaluated.as_json(), indent=2) + "\n")
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    with for_people(options):
        _show(evaluated)
    answer(options, evaluated.as_json())
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
