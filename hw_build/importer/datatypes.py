"""QONNX's names of integer and fixed-point types, as annotations and options carry them."""

from __future__ import annotations

import re
from typing import NamedTuple

from deploy.errors import UserError
from hw_build.graph import BIPOLAR, IntType


class Datatype(NamedTuple):
    """Integers of `type` from `lo` to `hi`; a value of the type is `scale` times one of them."""

    type: IntType
    lo: int
    hi: int
    scale: float = 1.0


_NAMED = {
    "BIPOLAR": Datatype(BIPOLAR, -1, 1),
    "BINARY": Datatype(IntType(1, signed=False), 0, 1),
    "TERNARY": Datatype(IntType(2, signed=True), -1, 1),
}
_INTEGER = re.compile(r"(U?)INT(\d{1,4})")
_FIXED = re.compile(r"FIXED<(\d{1,4}),(-?\d{1,4})>")


def parse_datatype(text: str, max_bits: int, where: str) -> Datatype:
    """The type of that name: BIPOLAR, BINARY, TERNARY, INTn, UINTn, or FIXED<n,i>.

    FIXED<n,i> is a signed number of n bits, i of them before the binary point, sign included.

    Raises:
        UserError: naming `where`, for anything else or more than `max_bits` bits.
    """
    name = text.strip().upper().replace(" ", "")
    if name in _NAMED:
        return _NAMED[name]
    if (match := _INTEGER.fullmatch(name)) and 1 <= int(match[2]) <= max_bits:
        kind = IntType(int(match[2]), signed=not match[1])
        return Datatype(kind, kind.lo, kind.hi)
    if (match := _FIXED.fullmatch(name)) and 1 <= int(match[1]) <= max_bits:
        kind = IntType(int(match[1]), signed=True)
        return Datatype(kind, kind.lo, kind.hi, 2.0 ** (int(match[2]) - kind.bits))
    raise UserError(
        "the integer type is not supported",
        where=where,
        found=text,
        expected=f"BIPOLAR, TERNARY, BINARY, INTn, UINTn or FIXED<n,i>, n from 1 to {max_bits}",
    )
