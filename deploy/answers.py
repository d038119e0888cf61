"""What a command answers: lines for people, or with --json one JSON object for programs."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import Any

EXIT_CODES = """exit codes:
  0    done
  2    a mistake in what was given: an option, a network, a file
  3    the machine lacks something: a tool, disk space
  4    a gate failed: two executors disagree
  130  interrupted"""


class HelpFormat(argparse.HelpFormatter):
    """Fills a text that is one line; one of several, as examples are, stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds --json to a command's options."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="for programs: one JSON object on stdout, all else on stderr",
    )


def for_people(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """As long as it holds, what is printed is for people: with --json it goes to stderr."""
    return redirect_stdout(sys.stderr) if options.json else nullcontext()


def answer(options: argparse.Namespace, result: Any) -> None:
    """With --json, prints the command's result, of JSON's types; else nothing."""
    if options.json:
        print(json.dumps(result, indent=1, allow_nan=False))
