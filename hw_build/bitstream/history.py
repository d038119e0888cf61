"""How long each step took in earlier builds, beside the store's entries: for the time to go."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.durable import locked, write_atomically

FILE = "seconds.json"


class History:
    """Seconds by step of the last build for a board, for each class of size.

    A class holds designs within a factor of two in their estimated LUTs; where it has no build
    yet, the nearest one of the board stands in.
    """

    def __init__(self, root: Path, board: str, lut: float) -> None:
        self._path, self._board = root / FILE, board
        self._size = int(lut).bit_length()

    def seconds(self) -> dict[str, float]:
        """By step; empty before the first build for the board."""
        sizes = self._read().get(self._board, {})
        nearest = min(sizes, key=lambda size: abs(int(size) - self._size), default=None)
        return {} if nearest is None else sizes[nearest]

    def record(self, step: str, seconds: float) -> None:
        """Writes a step at once: a build that is killed later has shown this much."""
        with locked(self._path.with_name(f"{FILE}.lock"), wait=True):
            known = self._read()
            known.setdefault(self._board, {}).setdefault(str(self._size), {})[step] = seconds
            write_atomically(self._path, json.dumps(known))

    def _read(self) -> dict[str, dict[str, dict[str, float]]]:
        return json.loads(self._path.read_text()) if self._path.is_file() else {}
