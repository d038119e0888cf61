"""What the driver and the virtual board know of each board."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.errors import UserError


@dataclass(frozen=True)
class BoardFacts:
    """A board.

    Args:
        name: ours.
        part: what a bitstream's header must begin with.
        arch: the processor's name under Linux.
        contiguous_mb: contiguous memory of its pynq image, in MiB.
        image_name: what its pynq image calls it, in BOARD.
        rails: power rails that pynq.pmbus shows; none on boards without monitors.
        total_rail: the one that feeds the whole board, so that the others lie behind it.
        core_rail: the one of the programmable logic's core, which other parts may share.
    """

    name: str
    part: str
    arch: str
    contiguous_mb: int
    image_name: str
    rails: tuple[str, ...] = ()
    total_rail: str | None = None
    core_rail: str | None = None

    @property
    def is_zynq7(self) -> bool:
        return self.arch == "armv7l"


BOARDS = {
    facts.name: facts
    for facts in (
        BoardFacts("pynq_z1", "7z020clg400", "armv7l", 128, "Pynq-Z1"),
        BoardFacts("pynq_z2", "7z020clg400", "armv7l", 128, "Pynq-Z2"),
        BoardFacts(
            *("ultra96", "xczu3eg-sbva484", "aarch64", 512, "Ultra96"),
            rails=("PSINT_FP", "INT"),
            core_rail="INT",
        ),
        BoardFacts(
            *("kv260", "xck26-sfvc784", "aarch64", 1000, "KV260"),
            rails=("ina260",),
            total_rail="ina260",
        ),
        BoardFacts(
            *("zcu104", "xczu7ev-ffvc1156", "aarch64", 512, "ZCU104"),
            rails=("12V", "1V13", "1V2", "1V8", "3V3", "5V0", "FMC", "INT", "MGTA", "MGTRA"),
            total_rail="12V",
            core_rail="INT",
        ),
    )
}


def facts_of(name: str) -> BoardFacts:
    """The board of that name; UserError with the known names if there is none."""
    if name not in BOARDS:
        raise UserError("unknown board", found=name, expected="one of " + ", ".join(BOARDS))
    return BOARDS[name]
