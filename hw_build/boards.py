"""The boards that an accelerator can be built for, with what their programmable logic holds.

Resources are those of the device's data sheet (Zynq-7000: DS190, Zynq UltraScale+: DS891,
Kria K26: DS987; ECP5: FPGA-DS-02012).
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.errors import UserError


@dataclass(frozen=True)
class Board:
    """A board: its part, the clock that is the default for it, and its resources.

    `lut` counts LUTs of six inputs, as all estimates do; of an ECP5 it is half its LUTs of four.
    `tool` is what places and routes for it: Vivado, where the board has a pynq image, or nextpnr.
    """

    name: str
    part: str
    clock_mhz: float
    lut: int
    ff: int
    bram36: int
    dsp: int
    dma_bits: int = 64
    tool: str = "Vivado"

    @property
    def has_pynq(self) -> bool:
        """Whether the driver and the virtual board know it."""
        return self.tool == "Vivado"

    def require_clock(self, clock_mhz: float) -> None:
        """UserError if the board has no such clock; where there is a processor, it has them all."""
        if not self.has_pynq and clock_mhz != self.clock_mhz:
            raise UserError(
                "the board has one clock",
                where=f"--clock-mhz {clock_mhz:g}",
                expected=f"{self.clock_mhz:g} MHz, the oscillator of {self.name}",
                fix="leave --clock-mhz out",
            )


BOARDS = {
    board.name: board
    for board in (
        Board("pynq_z1", "xc7z020clg400-1", 100.0, 53_200, 106_400, 140, 220),
        Board("pynq_z2", "xc7z020clg400-1", 100.0, 53_200, 106_400, 140, 220),
        Board("ultra96", "xczu3eg-sbva484-1-i", 200.0, 70_560, 141_120, 216, 360),
        Board("kv260", "xck26-sfvc784-2LV-c", 200.0, 117_120, 234_240, 144, 1_248),
        Board("zcu104", "xczu7ev-ffvc1156-2-e", 200.0, 230_400, 460_800, 312, 1_728),
        # ULX3S-85F: a clock of 25 MHz, and a UART
        Board("ecp5-85k", "LFE5U-85F-6BG381C", 25.0, 41_820, 83_640, 104, 156, tool="nextpnr"),
    )
}


def board_named(name: str) -> Board:
    """The board of that name; UserError with the known names if there is none."""
    if name not in BOARDS:
        raise UserError("unknown board", found=name, expected="one of " + ", ".join(BOARDS))
    return BOARDS[name]
