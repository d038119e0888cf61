"""The header of a .bit file: which part it is for.

Form: a field of 9 bytes, a field of length 1, then fields "a" (design), "b" (part), "c" (date) and
"d" (time), each with a 16-bit length and a text that ends in a zero, and "e" with a 32-bit length
and the configuration data. Zynq-7000 tools leave out the part's leading "xc".
"""

from __future__ import annotations

import struct
from pathlib import Path

from deploy.errors import UserError

_PREAMBLE = struct.pack(">H", 9) + bytes.fromhex("0ff00ff00ff00ff000") + struct.pack(">H", 1)


def header_of(data: bytes, where: str) -> dict[str, str]:
    """The texts of fields a to d by letter.

    Raises:
        UserError: it is no .bit file.
    """
    fields: dict[str, str] = {}
    at = len(_PREAMBLE)
    while data[: len(_PREAMBLE)] == _PREAMBLE and data[at : at + 1] in (b"a", b"b", b"c", b"d"):
        letter = data[at : at + 1].decode()
        (length,) = struct.unpack(">H", data[at + 1 : at + 3].rjust(2, b"\0"))
        fields[letter] = data[at + 3 : at + 3 + length].rstrip(b"\0").decode("ascii", "replace")
        at += 3 + length
    if set(fields) != set("abcd") or data[at : at + 1] != b"e":
        raise UserError("not a .bit file", where=where, found=repr(data[:24]))
    return fields


def part_of(path: Path) -> str:
    """The part that a .bit file is for.

    Raises:
        UserError: there is no such file, or it is no .bit file.
    """
    if not path.is_file():
        raise UserError("no such bitstream", where=str(path))
    with open(path, "rb") as file:
        return header_of(file.read(1 << 16), str(path))["b"]


def require_part(found: str, expected: str, where: str) -> None:
    """UserError unless a bitstream for `found` fits the part `expected`: same die and package."""
    short = [part.lower().removeprefix("xc").replace("-", "") for part in (found, expected)]
    if not (short[0].startswith(short[1]) or short[1].startswith(short[0])) or not short[0]:
        raise UserError(
            "the bitstream is for another part",
            where=where,
            found=found,
            expected=expected,
            fix="build for this board: python -m hw_build.flow run RUN --board BOARD",
        )


def make_header(design: str, part: str, data: bytes) -> bytes:
    """A .bit file with this design and part, dated 1980, around configuration data."""

    def field(letter: bytes, text: str) -> bytes:
        return letter + struct.pack(">H", len(text) + 1) + text.encode() + b"\0"

    fields = [(b"a", design), (b"b", part), (b"c", "1980/01/01"), (b"d", "00:00:00")]
    header = b"".join(field(letter, text) for letter, text in fields)
    return _PREAMBLE + header + b"e" + struct.pack(">I", len(data)) + data
