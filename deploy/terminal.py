"""What a person sees of a command: colours on a terminal, plain text anywhere else.

NO_COLOR (any text in it) and a TERM that is dumb are heeded.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from deploy.durable import machine_errors
from deploy.errors import NarrowgaugeError, UserError

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


def run_command(main: Callable[[], int]) -> int:
    """The exit code of a command's `main`; 0 where whoever reads its output has seen enough.

    That is `| head` and the like. Another pipe that breaks is an error like any other. What the
    system refuses of a path, which `main` has not looked at itself, is told as any other error.
    """
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread(sys.stdout):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if not isinstance(error.filename, str | bytes):
            raise
        refused = _refused_path(error)
        complain(refused)
        return refused.exit_code
    return code


def _refused_path(error: OSError) -> NarrowgaugeError:
    path = os.fsdecode(error.filename)
    try:
        with machine_errors(Path(path).parent):
            raise error
    except NarrowgaugeError as known:
        return known
    except OSError:
        return UserError(
            "a file or folder can't be used",
            where=path,
            found=error.strerror or str(error),
            fix="see that all of the path is there, and is what the command takes",
        )


def _is_unread(stream: TextIO) -> bool:
    """Whether the stream is a pipe whose other end is closed."""
    poller = select.poll()
    poller.register(stream, 0)
    return any(event & select.POLLERR for _, event in poller.poll(0))


def _styled(text: str, style: str, stream: TextIO) -> str:
    """The text in one of `_STYLES`, if the stream is a terminal that has them."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return text if plain or not stream.isatty() else f"\x1b[{_STYLES[style]}m{text}\x1b[0m"
