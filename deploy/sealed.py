"""Folders that are whole or absent: made aside, sealed by a manifest, then renamed into place.

A kill at any moment leaves the old folder, or the new one, or enough for `recover` to tell which.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from deploy.durable import fsync, sha256_of, write_atomically

MANIFEST = "manifest.json"
SCHEMA = 1
"""The version of the manifest's form; a folder of another version is made anew."""


def partial_of(final: Path) -> Path:
    """Where `final` is made before it is whole."""
    return final.with_name(f".{final.name}.partial")


def seal(final: Path, record: dict[str, Any]) -> None:
    """Give the partial folder of `final` its manifest and put it in place of an older `final`.

    The manifest is `record` with `schema`, and `outputs`: each file's path in the folder, its
    sha256 and its size in bytes. All is on the disk before the folder gets its name.
    """
    folder = partial_of(final)
    if (folder / MANIFEST).exists():
        raise ValueError(f"{folder / MANIFEST}: this name is the seal's own")
    outputs = {}
    for path in sorted(folder.rglob("*")):
        fsync(path)
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            outputs[name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    manifest = {"schema": SCHEMA, **record, "outputs": outputs}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    _put_in_place(final)


def _put_in_place(final: Path) -> None:
    replaced = _replaced_of(final)
    if final.exists():
        os.rename(final, replaced)
    os.rename(partial_of(final), final)
    fsync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _replaced_of(final: Path) -> Path:
    """Where the `final` of before waits while the new one takes its place."""
    return final.with_name(f".{final.name}.replaced")


def recover(final: Path) -> None:
    """Finish or undo what a kill interrupted in `seal`. The caller holds the lock."""
    folder, replaced = partial_of(final), _replaced_of(final)
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    if (folder / MANIFEST).exists():
        if not find_damage(folder):
            _put_in_place(final)
        else:
            (folder / MANIFEST).unlink()
    if replaced.exists() and not final.exists():
        os.rename(replaced, final)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The folder's manifest, or None where there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    readable = isinstance(manifest, dict) and isinstance(manifest.get("outputs"), dict)
    return manifest if readable and manifest.get("schema") == SCHEMA else None


def find_damage(folder: Path) -> str:
    """What is wrong with a sealed folder, in a few words; empty if it is whole."""
    manifest = read_manifest(folder)
    if manifest is None:
        return f"its {MANIFEST} can't be read"
    for name, expected in manifest["outputs"].items():
        path = folder / name
        if not path.is_file():
            return f"output {name} is missing"
        if path.stat().st_size != expected["bytes"] or sha256_of(path) != expected["sha256"]:
            return f"output {name} is damaged"
    return ""
