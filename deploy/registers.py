"""The accelerator's AXI4-Lite registers: one map for the RTL, the driver and the virtual board.

32-bit data, byte offsets. Counters count clock cycles of the accelerator (FRAMES_DONE: frames)
since they were cleared, and saturate at 2**32 - 1. WEIGHTS and what follows it are there where the
host may replace weights; see `deploy.memories`.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.errors import UserError

MAGIC = 0x4E475747
"""What register MAGIC reads: "NGWG"."""

VERSION = 2
"""Of this map; another map has another version."""

CLEAR_COUNTERS = 1
"""Bit 0 of CONTROL; it clears itself."""

ADDRESS_RANGE = 0x1000
MOST = (1 << 32) - 1
"""Where counters stop."""


@dataclass(frozen=True)
class Register:
    """`access` is "ro" or "rw", for the host; `offset` is in bytes."""

    name: str
    offset: int
    access: str
    meaning: str


REGISTERS = (
    Register("MAGIC", 0x00, "ro", "0x4E475747: this is an accelerator with this kind of map"),
    Register("VERSION", 0x04, "ro", "2: the version of the map"),
    Register("IDENTITY0", 0x08, "ro", "bits 255 to 224 of the build's sha256"),
    Register("IDENTITY1", 0x0C, "ro", "bits 223 to 192 of it"),
    Register("IDENTITY2", 0x10, "ro", "bits 191 to 160 of it"),
    Register("IDENTITY3", 0x14, "ro", "bits 159 to 128 of it"),
    Register("FRAMES", 0x18, "rw", "frames of the next transfer; tlast marks its last beat"),
    Register("CONTROL", 0x1C, "rw", "bit 0: clear the counters (clears itself)"),
    Register(
        "CYCLES",
        0x20,
        "ro",
        "from the first input beat taken to the last output beat",
    ),
    Register("FRAMES_DONE", 0x24, "ro", "frames that have left"),
    Register("INPUT_STALLS", 0x28, "ro", "cycles in which the input waits for the accelerator"),
    Register("OUTPUT_STALLS", 0x2C, "ro", "cycles in which the accelerator waits for the output"),
    Register("LATENCY", 0x30, "ro", "from the first input beat taken to the first frame's end"),
    Register("INTERVAL", 0x34, "ro", "between the ends of the last two frames"),
    Register("WEIGHTS", 0x38, "rw", "what the host says it wrote to the memories; 0 after reset"),
    Register("MEMORY", 0x3C, "rw", "the number of the memory that is written"),
    Register("DATA", 0x40, "rw", "32 bits of a word of it, the lowest first"),
    Register("WORD", 0x44, "rw", "the address that the word is written to"),
)

OFFSETS = {register.name: register.offset for register in REGISTERS}


def identity_words(identity: str) -> tuple[int, int, int, int]:
    """What IDENTITY0 to IDENTITY3 read for a build: the first 128 bits of its sha256.

    Args:
        identity: the sha256 as 64 hexadecimal digits.

    Raises:
        UserError: it is none.
    """
    if len(identity) != 64 or set(identity) - set("0123456789abcdef"):
        raise UserError("no identity of a build", found=repr(identity), expected="a sha256 in hex")
    first, second, third, fourth = (int(identity[8 * i : 8 * i + 8], 16) for i in range(4))
    return first, second, third, fourth
