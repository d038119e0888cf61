"""How a sweep shows where it is: a view of all running points on a terminal, else plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from deploy.sealed import partial_of
from training.history import read_metrics
from training.sweep_config import Point
from training.train import STAGE


class View(Protocol):
    def ended(self, name: str, text: str) -> None:
        """A point has ended; `text` is its accuracy, or why it failed."""

    def running(self, points: Sequence[Point]) -> None:
        """Called about once a second with the points that have not ended."""


@contextmanager
def sweep_progress(
    out: Path, n_points: int, n_done: int, console: Console | None = None
) -> Iterator[View]:
    """Shows `n_points`, `n_done` of them whole already, whose run directories lie in `out`."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(n_points, n_done, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bars(out, progress, progress.add_task("points", total=n_points, completed=n_done))


def epochs_done(run: Path) -> int | None:
    """Whole epochs of a run that is being trained; None of one that has none yet."""
    try:
        return len(read_metrics(partial_of(run / STAGE)))
    except OSError:
        return None


class _Lines:
    def __init__(self, n_points: int, n_done: int, console: Console) -> None:
        self._n_points, self._n_done, self._console = n_points, n_done, console

    def ended(self, name: str, text: str) -> None:
        self._n_done += 1
        line = f"{self._n_done}/{self._n_points}  {name}  {text}"
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def running(self, points: Sequence[Point]) -> None:
        pass


class _Bars:
    """A bar for all points, and one for the epochs of each that is being trained."""

    def __init__(self, out: Path, progress: Progress, whole: TaskID) -> None:
        self._out, self._progress, self._whole = out, progress, whole
        self._bars: dict[str, TaskID] = {}

    def ended(self, name: str, text: str) -> None:
        self._progress.console.print(f"{name}  {text}", highlight=False, markup=False)
        self._progress.advance(self._whole)
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))

    def running(self, points: Sequence[Point]) -> None:
        for point in points:
            n_epochs = epochs_done(self._out / point.name)
            if n_epochs is None:
                continue
            if point.name in self._bars:
                self._progress.update(self._bars[point.name], completed=n_epochs)
            else:
                self._bars[point.name] = self._progress.add_task(
                    point.name, total=point.config.training.epochs, completed=n_epochs
                )
