"""What a board's image says of itself: its version and the board's name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from deploy.boards import facts_of
from deploy.errors import UserError

_ROOT = Path("/")
_REVISIONS = ("home/xilinx/REVISION", "boot/REVISION", "etc/xilinx-release")
"""PYNQ's own images write the first or the second; the last names PetaLinux's release."""


def image_version(root: Path = _ROOT) -> str:
    """The image's version on one line, "unknown" where nothing says it."""
    for name in _REVISIONS:
        text = _text_of(root / name)
        if text:
            return ", ".join(line.strip() for line in text.splitlines() if line.strip())
    return "unknown"


def board_name(root: Path = _ROOT) -> str:
    """The board as its image names it (Pynq-Z2, ZCU104), empty where nothing says it."""
    named = os.environ.get("BOARD", "")
    if not named:
        script = _text_of(root / "etc/profile.d/boardname.sh")
        match = re.search(r"\bBOARD=[\"']?([\w-]+)", script)
        named = match.group(1) if match else ""
    if not named:
        named = _text_of(root / "proc/device-tree/chosen/pynq_board").strip("\0\n ")
    return "" if named == "Unknown" else named


def require_board(named: str, board: str) -> None:
    """Passes if an image's name for its board is that of `board`, or if it names none.

    Raises:
        UserError: it is another board.
    """
    if named and named.lower() != facts_of(board).image_name.lower():
        raise UserError(
            "the bundle is for another board",
            where=f"BOARD is {named}",
            found=f"a bundle for {board}",
            fix="build it for this board: python -m hw_build.flow run RUN --board NAME",
        )


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
