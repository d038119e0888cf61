"""How training shows where it is: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 5.0


class Report(Protocol):
    """Called after each epoch: how many are done, and what to say of the last one."""

    def __call__(self, n_done: int, text: str) -> None: ...


@contextmanager
def epochs_progress(n_done: int, n_epochs: int, console: Console | None = None) -> Iterator[Report]:
    """Shows progress with time to go from `n_done` of `n_epochs` on.

    Off a terminal one line is printed every few seconds, and one for the last epoch.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(n_done, n_epochs, console)
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=n_epochs, completed=n_done)
        yield lambda n_done, text: bar.update(task, completed=n_done, description=text)


class _Lines:
    def __init__(self, n_done: int, n_epochs: int, console: Console) -> None:
        self._n_before, self._n_epochs, self._console = n_done, n_epochs, console
        self._started = self._last = time.monotonic()

    def __call__(self, n_done: int, text: str) -> None:
        now = time.monotonic()
        if n_done < self._n_epochs and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        per_epoch = (now - self._started) / (n_done - self._n_before)
        left = f"{per_epoch * (self._n_epochs - n_done):.0f} s to go"
        line = f"epoch {n_done}/{self._n_epochs}  {text}  {left}"
        self._console.print(line, highlight=False, soft_wrap=True)
