"""The boards that an accelerator can be built for, with what their programmable logic holds.

Resources are those of the device's data sheet (Zynq-7000: DS190, Zynq UltraScale+: DS891,
Kria K26: DS987).
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.errors import UserError


@dataclass(frozen=True)
class Board:
    """A board: its part, the clock that is the default for it, and its resources."""

    name: str
    part: str
    clock_mhz: float
    lut: int
    ff: int
    bram36: int
    dsp: int
    dma_bits: int = 64


BOARDS = {
    board.name: board
    for board in (
        Board("pynq_z1", "xc7z020clg400-1", 100.0, 53_200, 106_400, 140, 220),
        Board("pynq_z2", "xc7z020clg400-1", 100.0, 53_200, 106_400, 140, 220),
        Board("ultra96", "xczu3eg-sbva484-1-i", 200.0, 70_560, 141_120, 216, 360),
        Board("kv260", "xck26-sfvc784-2LV-c", 200.0, 117_120, 234_240, 144, 1_248),
        Board("zcu104", "xczu7ev-ffvc1156-2-e", 200.0, 230_400, 460_800, 312, 1_728),
    )
}


def board_named(name: str) -> Board:
    """The board of that name; UserError with the known names if there is none."""
    if name not in BOARDS:
        raise UserError("unknown board", found=name, expected="one of " + ", ".join(BOARDS))
    return BOARDS[name]
