"""One content-addressed store for what is cached across runs: simulation models, synthesis results.

An entry lies at ROOT/KIND/KEY, where KEY is the sha256 of everything that its content depends on.
It is a sealed folder: found whole, or made.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.durable import digest_of, locked, machine_errors
from deploy.sealed import SCHEMA, find_damage, partial_of, recover, seal


def default_root() -> Path:
    """$NARROWGAUGE_STORE, else $XDG_CACHE_HOME/narrowgauge, else ~/.cache/narrowgauge."""
    if chosen := os.environ.get("NARROWGAUGE_STORE"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path("~/.cache").expanduser()) / "narrowgauge"


class Store:
    """The cache below `root`, by default below `default_root()`. Safe for any number of processes.

    It may be deleted at any time when nothing runs: all of it can be made again.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def get_or_make(
        self, kind: str, key_parts: Mapping[str, Any], make: Callable[[Path], None]
    ) -> Path:
        """The folder of the entry, made now if it is not there whole.

        Args:
            kind: what sort of thing it is, one word: "verilated".
            key_parts: everything that the content depends on, as JSON holds it: digests of the
                sources, options, tool versions, the host's processor where code is built for it.
            make: writes the entry's files into the folder that it is given.

        Returns:
            The entry's folder. Its files are to be read only.

        Raises:
            MachineError: full disk, no permission.
        """
        key = digest_of({"schema": SCHEMA, "kind": kind, "parts": dict(key_parts)})
        final = self.root / kind / key
        if not find_damage(final):
            return final
        # One lock per entry: whoever comes second waits, and finds what the first has made.
        with locked(self.root / "locks" / key, wait=True), machine_errors(self.root):
            final.parent.mkdir(exist_ok=True)
            recover(final)
            if find_damage(final):
                self._make(final, {"kind": kind, "key": key, "parts": dict(key_parts)}, make)
        return final

    def _make(self, final: Path, record: dict[str, Any], make: Callable[[Path], None]) -> None:
        folder = partial_of(final)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            with machine_errors(folder):
                make(folder)
                seal(final, record)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
