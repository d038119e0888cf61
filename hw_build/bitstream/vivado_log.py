"""What Vivado's log says: errors and critical warnings, and the cause that a person can act on."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MESSAGE = re.compile(r"^(ERROR|CRITICAL WARNING): (?:\[([^\]]+)\] )?(.*)$", re.MULTILINE)
_OF_VIVADO = re.compile(r"(ERROR|CRITICAL WARNING|WARNING|INFO|STATUS|Phase|Command|Time|#)\b")
_SHOWN, _LAST_WORDS = 3, 40


@dataclass(frozen=True)
class Message:
    """One line of the log: `identity` such as "Synth 8-4445", or empty."""

    is_error: bool
    identity: str
    text: str


@dataclass(frozen=True)
class Cause:
    """A cause that is known by what the log says: a pattern, what it means, what helps."""

    pattern: str
    what: str
    fix: str


CAUSES = (
    Cause(
        r"valid license was not found|license checkout|license.*(?:expired|not found)",
        "Vivado found no licence for this part",
        "set XILINXD_LICENSE_FILE to a licence file or port@server, or take a board whose part "
        "the free edition has, such as the PYNQ-Z2",
    ),
    Cause(
        r"std::bad_alloc|[Oo]ut of memory|insufficient memory|Cannot allocate memory",
        "Vivado ran out of memory",
        "close other programs, or give the container more memory",
    ),
    Cause(
        r"requires more .* than are available|over-utilized|\[DRC UTLZ-\d+\]",
        "the design does not fit the part",
        "a smaller --target-fps folds the layers more; or a larger board",
    ),
    Cause(
        r"could not open \$readmem data file",
        "a memory file was not found, and its memory would have been empty",
        "this is a fault of the plan: report it with the log",
    ),
    Cause(
        r"failed to route|unroutable|routing congestion|not fully routed",
        "the design can't be routed: too many wires in one place",
        "a smaller --target-fps folds the layers more",
    ),
    Cause(
        r"part could not be found|Part .* is not (?:installed|supported)|"
        r"[Nn]o parts matched|unknown part",
        "this Vivado does not have the board's part",
        "add the device family with Vivado's installer",
    ),
    Cause(
        r"IP definition not found for VLNV|was not found in the IP catalog",
        "this Vivado lacks a block of the design",
        "use Vivado 2020.2 or later, with the whole device family installed",
    ),
    Cause(
        r"No space left on device",
        "the disk is full",
        "free some space; the same command goes on from this step",
    ),
    Cause(
        r"realloc\(\): invalid pointer|Abnormal program termination",
        "Vivado crashed, as it does in containers whose libudev it loads too late",
        "`make docker-image` makes an image that loads it first; elsewhere: "
        "export LD_PRELOAD=/lib/x86_64-linux-gnu/libudev.so.1",
    ),
)
"""In the order in which they are looked for."""

MEANINGS = (
    (
        r"DDR_DQS_TO_CLK_DELAY|PCW_UIPARAM_DDR",
        "of memory timing that the boot image has set: harmless",
    ),
    (r"not (?:mapped|assigned) (?:in|to)", "nothing reaches this address range through the port"),
    (r"failed to meet the timing requirements", "judged after routing, at the clock asked for"),
    (r"[Ee]valuation (?:features|licen[cs]e)", "the bitstream may stop after some hours"),
    (
        r"resolve non-primitive black box",
        "of a layer that was synthesised by itself: its netlist is put there next",
    ),
    (r"[Bb]oard part .* not (?:set|found)|board_part", "no board files are used: harmless"),
)
"""What critical warnings mean after which the build goes on."""

FATAL_WARNINGS = (r"could not open \$readmem data file", r"failed to route")
"""Critical warnings after which Vivado goes on, to a bitstream that computes something else."""


def messages_of(log: str) -> tuple[Message, ...]:
    """Errors and critical warnings in order, each text once."""
    found = (Message(kind == "ERROR", name, text) for kind, name, text in _MESSAGE.findall(log))
    return tuple(dict.fromkeys(found))


def fatal(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Errors, and the critical warnings that are as bad."""
    return tuple(
        message
        for message in messages
        if message.is_error or any(re.search(p, message.text) for p in FATAL_WARNINGS)
    )


def cause_of(log: str) -> Cause | None:
    """The first known cause that the errors name, or else the last words of a crash.

    Those are what did not come from Vivado's own messages: an information about memory or licences
    is no cause.
    """
    bad = "\n".join(f"[{m.identity}] {m.text}" for m in fatal(messages_of(log)))
    last = log.splitlines()[-_LAST_WORDS:]
    crash = "\n".join(line for line in last if not _OF_VIVADO.match(line))
    for text in (bad, crash):
        for cause in CAUSES:
            if re.search(cause.pattern, text):
                return cause
    return None


def meaning_of(message: Message) -> str | None:
    """What a critical warning that doesn't end the build means, where that is known."""
    return next((what for pattern, what in MEANINGS if re.search(pattern, message.text)), None)


def as_text(messages: tuple[Message, ...]) -> str:
    """The first few, in Vivado's own words."""
    lines = [f"[{m.identity}] {m.text}" if m.identity else m.text for m in messages[:_SHOWN]]
    more = len(messages) - _SHOWN
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
