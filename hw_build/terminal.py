"""A table for people: lines and columns on a terminal, cells between tabs anywhere else."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


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
