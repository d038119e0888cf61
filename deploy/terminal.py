"""What a person sees of a command: colours on a terminal, plain text anywhere else.

NO_COLOR (any text in it) and a TERM that is dumb are heeded.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from deploy.errors import NarrowgaugeError

_STYLES = {"bold": "1", "yellow": "33", "bold cyan": "1;36", "bold red": "1;31"}


def say(line: str) -> None:
    """A line of progress: what a stage is called stands out, and a warning does."""
    if line.lstrip().startswith("warning:"):
        line = _styled(line, "yellow", sys.stdout)
    elif ": " in line and not line.startswith(" "):
        name, rest = line.split(": ", 1)
        line = f"{_styled(name, 'bold cyan', sys.stdout)}: {rest}"
    print(line, flush=True)


def show_figure(key: str, value: str, note: str = "") -> None:
    """A line of a summary: what it is, how much, and of what kind."""
    print(f"{key:<14}{_styled(value, 'bold', sys.stdout)}{note}")


def complain(error: NarrowgaugeError) -> None:
    """An error, on stderr."""
    print(f"{_styled('error:', 'bold red', sys.stderr)} {error}", file=sys.stderr)


def warn(line: str) -> None:
    """A warning, on stderr."""
    print(_styled(f"warning: {line}", "yellow", sys.stderr), file=sys.stderr)


def _styled(text: str, style: str, stream: TextIO) -> str:
    """The text in one of `_STYLES`, if the stream is a terminal that has them."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return text if plain or not stream.isatty() else f"\x1b[{_STYLES[style]}m{text}\x1b[0m"
