"""The plot of a table of runs: test accuracy against memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.errors import UserError
from deploy.run_directory import write_atomically

if TYPE_CHECKING:
    from training.table import Row

FORMATS = ("svg", "png", "pdf")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Writes one point per row, its standard deviation as a bar, and a colour per data set.

    Across: weights and activations of one sample together, KiB, logarithmic. Up: mean test
    accuracy in %. The same rows give the same bytes in .svg and .png.

    Raises:
        UserError: the file's name ends in no format that is known.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise UserError(
            "no such format of a plot",
            where=str(path),
            expected="a name that ends in " + ", ".join("." + name for name in FORMATS),
        )
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Neither random ids nor dates: a figure that is made again is the same file.
    with mpl.rc_context({"svg.hashsalt": "narrowgauge"}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        for data in dict.fromkeys(row.data for row in rows):
            points = [row for row in rows if row.data == data]
            memories = [_kibibytes(row) for row in points]
            means = [100 * row.mean for row in points]
            spreads = [100 * (row.spread or 0.0) for row in points]
            axes.errorbar(memories, means, yerr=spreads, fmt="o", capsize=3, label=data)
            for row, x, y in zip(points, memories, means, strict=True):
                axes.annotate(
                    row.name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8
                )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("weights and activations of one sample, KiB")
        axes.set_ylabel("test accuracy, %")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    write_atomically(path, buffer.getvalue())


def _kibibytes(row: Row) -> float:
    return (row.weight_memory_bits + row.activation_memory_bits) / 8192
