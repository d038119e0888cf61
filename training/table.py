"""Command: a table of trained runs, seeds taken together, and a plot accuracy against memory."""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.answers import EXIT_CODES, HelpFormat, add_json, answer, for_people
from deploy.durable import canonical_json
from deploy.errors import NarrowgaugeError, UserError
from deploy.run_directory import write_atomically
from deploy.terminal import complain, run_command
from training.network_config import NetworkConfig
from training.trained_run import TrainedRun


@dataclass(frozen=True)
class Row:
    """One config, over its seeds.

    `accuracies` are shares of the test set, one for each of `seeds`; `seconds` those of all epochs
    of one run, their mean. Memories are in bits, for one
    sample; see `network_size`.
    """

    name: str
    data: str
    weights: str
    activations: str
    gradients: str
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    seconds: float
    weight_bits: int
    weight_memory_bits: int
    activation_memory_bits: int
    macs: int

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds, n - 1 in its denominator; None of a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


def make_table(runs: Iterable[Path]) -> list[Row]:
    """A row for each config among the runs, whatever its seed, in the order of their first runs.

    A row's name is its first run's, without the seed where that ends it as `_s1`.

    Raises:
        UserError: a run is not trained, or two are of the same config and seed.
    """
    groups: dict[str, list[TrainedRun]] = defaultdict(list)
    for path in runs:
        run = TrainedRun.read(path)
        config = run.config.model_dump(mode="json")
        del config["training"]["seed"]
        group = groups[canonical_json(config)]
        for other in group:
            if other.config.training.seed == run.config.training.seed:
                raise UserError(
                    "two runs are of the same config and seed, and would count twice",
                    where=str(path),
                    found=f"the same as {other.path}",
                    fix="leave one of them off",
                )
        group.append(run)
    return [_row_of(group) for group in groups.values()]


def _row_of(group: Sequence[TrainedRun]) -> Row:
    first = group[0]
    network, size = first.config.network, first.summary.get("size")
    if size is None:
        raise UserError(
            "the run does not say how large its network is",
            where=str(first.path),
            found="trained by an older version",
            fix="train it again, into another run directory",
        )
    return Row(
        name=first.path.resolve().name.removesuffix(f"_s{first.config.training.seed}"),
        data=first.summary["data"],
        weights=network.weight_quantiser,
        activations=network.activation_quantiser,
        gradients=_gradients_of(network),
        seeds=tuple(run.config.training.seed for run in group),
        accuracies=tuple(run.summary["test_accuracy"] for run in group),
        seconds=statistics.fmean(run.seconds() for run in group),
        weight_bits=size["weight_bits"],
        weight_memory_bits=size["weight_memory_bits"],
        activation_memory_bits=size["activation_memory_bits"],
        macs=size["macs"],
    )


def _gradients_of(network: NetworkConfig) -> str:
    bits = network.gradient_bits
    return "float" if bits is None else f"{network.gradient_quantiser} {bits}"


_HEADER = (
    "name",
    "data",
    "weights",
    "activations",
    "gradients",
    "seeds",
    "test accuracy, %",
    "spread, points",
    "seconds",
    "bits per weight",
    "weights, KiB",
    "activations, KiB",
    "multiply-accumulates",
)


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        row.data,
        row.weights,
        row.activations,
        row.gradients,
        str(len(row.seeds)),
        f"{100 * row.mean:.2f}",
        "" if row.spread is None else f"{100 * row.spread:.2f}",
        f"{row.seconds:.1f}",
        str(row.weight_bits),
        f"{row.weight_memory_bits / 8192:.2f}",
        f"{row.activation_memory_bits / 8192:.2f}",
        str(row.macs),
    ]


def as_markdown(rows: Iterable[Row]) -> str:
    """Columns padded to be read as plain text as well."""
    lines = [list(_HEADER), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "| " + " | ".join(f"{cell:<{n}}" for cell, n in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def show(rows: Sequence[Row]) -> None:
    """Prints the table: as Markdown, or on a terminal with what all rows share below the others."""
    console = Console()
    if not console.is_terminal:
        print(as_markdown(rows), end="")
        return
    columns = list(zip(_HEADER, *map(_cells, rows), strict=True))
    shared = [each for each in columns[1:] if len(set(each[1:])) == 1]
    own = [each for each in columns if each not in shared]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title, *_ in own:
        table.add_column(Text(title), overflow="fold", no_wrap=title == _HEADER[0])
    for cells in zip(*(each[1:] for each in own), strict=True):
        table.add_row(*map(Text, cells))
    console.print(table)
    for title, cell, *_ in shared:
        print(f"{title:<22}{cell or 'none'}")


def as_csv(rows: Iterable[Row]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_HEADER, *map(_cells, rows)])
    return buffer.getvalue()


_FORMATS = {".md": as_markdown, ".csv": as_csv}


def command_parser() -> argparse.ArgumentParser:
    """Of this command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m training.table",
        description="A table of trained runs: runs that differ in nothing but the seed are one "
        "row, with the mean and the standard deviation of their test accuracies.",
        epilog="example:\n  python -m training.table runs/tfc_* --out tfc.csv --plot tfc.svg"
        f"\n\n{EXIT_CODES}",
        formatter_class=HelpFormat,
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also to this file, .md or .csv")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="accuracy against memory: .svg, .png or .pdf"
    )
    add_json(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error met."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    try:
        if options.out and options.out.suffix not in _FORMATS:
            raise UserError(
                "no such format of a table",
                where=f"--out {options.out}",
                expected="a name that ends in " + " or ".join(_FORMATS),
            )
        rows = make_table(options.runs)
        if options.out:
            write_atomically(options.out, _FORMATS[options.out.suffix](rows))
        if options.plot:
            from training.accuracy_plot import plot  # matplotlib takes a second to load

            plot(rows, options.plot)
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    with for_people(options):
        show(rows)
    answer(options, {"rows": [{**asdict(row), "accuracy": row.mean} for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
