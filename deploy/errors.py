"""The errors a person sees: one message that says what, where, found, expected, and what to do.

Every command ends with the exit code of the error it met: 2 for the user's mistakes (a config, a
model, a data file, an option), 3 for the machine's (a missing tool, a full disk), 4 for a failed
gate (two executors that disagree).
"""

from __future__ import annotations


class NarrowgaugeError(Exception):
    """A failure with its cause and its cure, printed without a traceback by every command.

    Args:
        what: what went wrong, one sentence without a full stop.
        where: the file, key, node or layer that it happened at.
        found: what was there.
        expected: what should have been there.
        fix: what the reader can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        found: str = "",
        expected: str = "",
        fix: str = "",
    ) -> None:
        self.what, self.where, self.found = what, where, found
        self.expected, self.fix = expected, fix
        parts = [("where", where), ("found", found), ("expected", expected), ("to do", fix)]
        lines = [what, *(f"  {label + ':':<10}{text}" for label, text in parts if text)]
        super().__init__("\n".join(lines))


class UserError(NarrowgaugeError):
    """A mistake in what the user gave: a config, a model, a data file, an option."""

    exit_code = 2


class MachineError(NarrowgaugeError):
    """The machine lacks something: a tool, disk space, memory, a network."""

    exit_code = 3


class GateError(NarrowgaugeError):
    """Two executors of the same network disagree. There is no flag that turns this off."""

    exit_code = 4
