"""Progress with a time to go: a bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[int, int], None]
"""Takes how many are done, and how many there are."""


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Shows `what` with a count and the time to go, for as long as the block runs."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn(f"  {what}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bars:
            task = bars.add_task(what, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)
        return
    started = last = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done and now - last >= SECONDS_BETWEEN_LINES:
            last = now
            left = (now - started) / done * (total - done)
            print(f"  {what}: {done} of {total}, {left:.0f} s to go", file=sys.stderr, flush=True)

    yield line
