"""What a person sees of the flow: colours on a terminal, plain text anywhere else.

rich decides what a terminal is, and heeds NO_COLOR and TERM.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.errors import NarrowgaugeError


def say(line: str) -> None:
    """A line of progress: what a stage is called stands out, and a warning does."""
    text = Text(line)
    if line.lstrip().startswith("warning:"):
        text.stylize("yellow")
    elif ": " in line and not line.startswith(" "):
        text.stylize("bold cyan", 0, line.index(": "))
    _write(text)


def show_figure(key: str, value: str, note: str) -> None:
    """A line of a summary: what it is, how much, and of what kind."""
    _write(Text.assemble(f"{key:<14}", (value, "bold"), note))


def complain(error: NarrowgaugeError) -> None:
    """An error, on stderr."""
    _write(Text.assemble(("error:", "bold red"), f" {error}"), stderr=True)


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    """A table on a terminal; elsewhere a line per row, its cells between tabs."""
    console = Console()
    if not console.is_terminal:
        for row in (header, *rows):
            print("\t".join(row))
        return
    table = Table(*header, title=Text(title))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _write(text: Text, *, stderr: bool = False) -> None:
    Console(stderr=stderr).print(text, soft_wrap=True)
