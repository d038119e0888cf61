"""Words and commands of Tcl: text that comes out of the interpreter as it went in."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_./:=+-]+")
_SPECIAL = re.compile(r'([\s\\{}\[\]$";#])')


def word(text: str) -> str:
    """One word that Tcl substitutes nothing in, and whose value is `text`."""
    if _BARE.fullmatch(text):
        return text
    if text and not re.search(r"[\\{}\n]", text):
        return "{" + text + "}"
    if not text:
        return "{}"
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return _SPECIAL.sub(lambda found: named.get(found[0], "\\" + found[0]), text)


def properties(values: Mapping[str, str], target: str) -> list[str]:
    """Lines that set properties of `target`, a Tcl expression, in one command."""
    lines = ["set_property -dict [list \\"]
    lines += [f"    {word(name)} {word(value)} \\" for name, value in values.items()]
    return [*lines, f"] {target}"]


def word_list(name: str, values: list[str]) -> list[str]:
    """Lines that set the variable `name` to a list."""
    return [f"set {name} [list \\", *(f"    {word(value)} \\" for value in values), "]"]
