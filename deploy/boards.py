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
        rails: power rails that pynq.pmbus shows; none on boards without monitors.
    """

    name: str
    part: str
    arch: str
    contiguous_mb: int
    rails: tuple[str, ...] = ()

    @property
    def is_zynq7(self) -> bool:
        return self.arch == "armv7l"


BOARDS = {
    facts.name: facts
    for facts in (
        BoardFacts("pynq_z1", "7z020clg400", "armv7l", 128),
        BoardFacts("pynq_z2", "7z020clg400", "armv7l", 128),
        BoardFacts("ultra96", "xczu3eg-sbva484", "aarch64", 512, ("PSINT_FP", "INT")),
        BoardFacts("kv260", "xck26-sfvc784", "aarch64", 1000, ("ina260",)),
        BoardFacts("zcu104", "xczu7ev-ffvc1156", "aarch64", 512, ("12V", "INT")),
    )
}


def facts_of(name: str) -> BoardFacts:
    """The board of that name; UserError with the known names if there is none."""
    if name not in BOARDS:
        raise UserError("unknown board", found=name, expected="one of " + ", ".join(BOARDS))
    return BOARDS[name]
