"""Files that are whole or absent: digests, atomic writing, locks, and the machine's own errors."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.errors import MachineError, UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NEARLY_FULL = 1 << 20  # bytes; below this any failure to write is put down to the disk


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, or of a folder's: its files' relative names and digests.

    A manifest.json at a folder's top tells when it was made, not what it holds: it is left out.
    """
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        return digest_of({n: sha256_of(path / n) for n in names if n != "manifest.json"})
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """One text for one value: keys sorted, no spaces, no NaN.

    Raises:
        TypeError, ValueError: a value that JSON does not hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """The sha256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader, or a kill at any moment, meets the old one or the new one.

    Raises:
        MachineError: full disk, no permission.
    """
    path = Path(path)
    with machine_errors(path.parent), _beside(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync(path.parent)


def copy_atomically(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source` or, between file systems, a copy of it.

    Raises:
        MachineError: full disk, no permission.
    """
    if target.exists() and target.samefile(source):
        return
    with machine_errors(target.parent), _beside(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError as error:
            if error.errno in _FULL:
                raise
            shutil.copyfile(source, temporary)
            fsync(temporary)
        os.replace(temporary, target)
        fsync(target.parent)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty temporary file in the same folder; removed afterwards if it is still there."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.fchmod(handle, 0o644)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Have a file's content, or a folder's entries, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path` against other processes; the kernel drops it when we die.

    Args:
        path: the lock's file; it stays behind, and names the process that held it last.
        wait: wait for another holder, or refuse at once.

    Raises:
        UserError: another process holds it and `wait` is false; the message names that process.
        MachineError: the file can't be written.
    """
    with machine_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (closed below)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                "another process is writing here",
                where=str(path.parent),
                found=file.read().strip() or "a process that just started",
                fix="wait for it to end, or write to another folder",
            ) from None
        with machine_errors(path.parent):
            file.truncate(0)
            file.write(f"pid {os.getpid()}: {' '.join(sys.argv)}\n")
            file.flush()
        yield


@contextmanager
def machine_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk and missing permissions, met while writing in `folder`, into MachineError.

    Libraries report a full disk in exceptions of their own: where next to no space is left, any
    exception but ours is put down to it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _disk_full(folder) from error
        if error.errno in _FORBIDDEN:
            raise MachineError(
                "no permission to read or write a file",
                where=str(error.filename or folder),
                found=error.strerror or str(error),
                fix="change its owner or mode, or write to another folder",
            ) from error
        raise
    except (RuntimeError, ValueError) as error:
        if _free_bytes(folder) < _NEARLY_FULL:
            raise _disk_full(folder) from error
        raise


def _disk_full(folder: Path) -> MachineError:
    written = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return MachineError(
        "the disk is full",
        where=str(folder),
        found=f"{_free_bytes(folder) / 1e6:.1f} MB free, {written / 1e6:.1f} MB written here",
        expected="room for more than that",
        fix="free some space, or write to another disk",
    )


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
