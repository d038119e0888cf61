"""A run directory is a record: stages that are whole, each with a manifest of how it was made.

Form and promises: docs/run_directory.md.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from deploy.durable import (
    canonical_json,
    copy_atomically,
    digest_of,
    locked,
    machine_errors,
    sha256_of,
    write_atomically,
)
from deploy.errors import UserError
from deploy.sealed import SCHEMA, find_damage, partial_of, read_manifest, recover, seal
from deploy.stage_changes import describe_changes, first_change
from deploy.terminal import say

__all__ = ["RunDirectory", "StageStatus", "sha256_of", "write_atomically"]

_STAGE_NAME = re.compile(r"\d\d_[a-z0-9_]+")


@dataclass(frozen=True)
class StageStatus:
    """One stage as it lies there.

    Args:
        name: as `run_stage` was given it.
        state: "whole", "damaged" or "partial".
        seconds: how long it took; None unless its manifest can be read.
        created: when, ISO 8601 in UTC; None unless its manifest can be read.
        bytes: the size of its files.
        note: what is damaged, or empty.
    """

    name: str
    state: str
    seconds: float | None
    created: str | None
    bytes: int
    note: str = ""


class RunDirectory:
    """The record of one run, in a folder that is made with the first stage.

    Args:
        path: the folder.
        command: what the stages' manifests say made them; None for this process's `sys.argv`.
    """

    def __init__(self, path: Path | str, command: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._command = command
        self._lock_depth = 0
        if self.path.exists() and not self.path.is_dir():
            raise UserError("a run directory is a folder", where=str(path), found="a file")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing this run. A command holds it from start to end.

        Raises:
            UserError: another process holds it; the message names its pid and command.
        """
        with ExitStack() as stack:
            if not self._lock_depth:
                stack.enter_context(locked(self.path / ".lock", wait=False))
            self._lock_depth += 1
            try:
                yield
            finally:
                self._lock_depth -= 1

    def run_stage(
        self,
        name: str,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, Path],
        tools: Mapping[str, str],
        body: Callable[[Path], None],
        seed: int | None = None,
        resumable: bool = False,
        overwrite: bool = True,
        say: Callable[[str], None] = say,
    ) -> Path:
        """Make the stage, unless it lies there whole and made from exactly these things.

        Args:
            name: two digits, an underscore, a word: "01_train".
            config: what the stage's result depends on, as JSON holds it.
            inputs: the files (or folders) that the stage reads, by the names to be shown.
            tools: versions of the tools that make the result.
            body: writes the stage's files into the folder that it is given.
            seed: of the stage's random numbers, if it draws any.
            resumable: after a kill or a failure, keep what `body` has written, and give it to the
                next `body` that runs with the same key. `body` then tells itself what is whole.
            overwrite: whether to replace what was made, wholly or in part, from other things.
            say: takes one line on why the stage runs, or that it is skipped.

        Returns:
            The stage's folder.

        Raises:
            UserError: an input is missing, another process writes this run, or something would
                be replaced that may not be.
            MachineError: full disk, no permission.
        """
        if not _STAGE_NAME.fullmatch(name):
            raise ValueError(f"no name for a stage: {name!r}")
        record: dict[str, Any] = {
            "name": name,
            "config": dict(config),
            "inputs": {k: self._describe_input(name, k, Path(p)) for k, p in inputs.items()},
            "tools": dict(tools),
            "seed": seed,
        }
        record = json.loads(canonical_json(record))  # as a manifest gives it back
        record["key"] = _key_of(record)
        final = self.path / name
        with self.lock(), machine_errors(self.path):
            self._remove_leftovers()
            recover(final)
            if not overwrite:
                self.refuse_other(name, record)
            why = self._why_run(final, record)
            if why:
                resumes = resumable and self._is_left_from(final, record["key"])
                say(f"{name}: {'goes on' if resumes else 'runs'}: {why}")
                self._make(final, record, body, resumable, resumes)
            else:
                say(f"{name}: skipped, nothing it depends on has changed")
                self._remove_partial(final)
        return final

    def _make(
        self,
        final: Path,
        record: dict[str, Any],
        body: Callable[[Path], None],
        resumable: bool,
        resumes: bool,
    ) -> None:
        folder = partial_of(final)
        if not resumes:
            self._remove_partial(final)
            write_atomically(_begun_file_of(final), canonical_json(record))
            folder.mkdir()
        start = time.perf_counter()
        try:
            with machine_errors(folder):
                body(folder)
                record["seconds"] = round(time.perf_counter() - start, 3)
                record["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
                record["command"] = list(sys.argv if self._command is None else self._command)
                record["commit"] = project_commit()
                seal(final, record)
            _begun_file_of(final).unlink()
        finally:
            if not resumable:
                self._remove_partial(final)

    def _remove_leftovers(self) -> None:
        """What a kill left of files that were being written at the top. We hold the lock."""
        for path in self.path.glob(".*.tmp"):
            path.unlink()

    def _is_left_from(self, final: Path, key: str) -> bool:
        """Whether the partial folder was begun with this key."""
        begun = _read_begun(final)
        return begun is not None and begun["key"] == key

    def refuse_other(self, name: str, record: Mapping[str, Any]) -> None:
        """Refuse to go on where a stage, or a part of it, was made from other things.

        Args:
            name: the stage's name.
            record: of `config`, `inputs`, `tools` and `seed` those that are to be the same.

        Raises:
            UserError: the first thing that differs, by its key.
        """
        final = self.path / name
        for before in (read_manifest(final), _read_begun(final)):
            change = first_change(before, record) if before else None
            if change:
                raise UserError(
                    f"stage {name} of this run was made from something else",
                    where=f"{self.path}: {change.key}",
                    found=change.before,
                    expected=change.now,
                    fix="give another run directory, or replace what is there by --overwrite",
                )

    def _remove_partial(self, final: Path) -> None:
        shutil.rmtree(partial_of(final), ignore_errors=True)
        _begun_file_of(final).unlink(missing_ok=True)

    def _describe_input(self, stage: str, key: str, path: Path) -> dict[str, str]:
        if not path.exists():
            raise UserError(f"an input of stage {stage} is missing: {key}", where=str(path))
        inside = path.is_relative_to(self.path)
        shown = path.relative_to(self.path) if inside else path
        with machine_errors(self.path):
            return {"path": shown.as_posix(), "sha256": sha256_of(path)}

    def _why_run(self, final: Path, record: dict[str, Any]) -> str:
        if not final.exists():
            interrupted = partial_of(final).exists()
            return "the last run was interrupted in it" if interrupted else "no earlier result"
        manifest = read_manifest(final)
        if manifest is not None and manifest.get("key") != record["key"]:
            return describe_changes(manifest, record)
        return find_damage(final)

    def stage(self, name: str, *, made_by: str) -> Path:
        """The folder of a stage that is whole.

        Args:
            name: the stage's name.
            made_by: the command that makes it, for the message.

        Raises:
            UserError: it is not there, or damaged.
        """
        self.manifest(name, made_by=made_by)
        return self.path / name

    def manifest(self, name: str, *, made_by: str = "") -> dict[str, Any]:
        """The manifest of a stage that is whole; its keys are in docs/run_directory.md.

        Args:
            name: the stage's name.
            made_by: the command that makes it, for the message.

        Raises:
            UserError: it is not there, or damaged.
        """
        folder = self.path / name
        damage = find_damage(folder) if folder.exists() else "no such stage"
        manifest = read_manifest(folder)
        if damage or manifest is None:
            raise UserError(
                f"the run has no whole stage {name}",
                where=str(folder),
                found=damage,
                fix=f"run: {made_by}" if made_by else "",
            )
        return manifest

    def publish(self, path: Path | str) -> Path:
        """Show a stage's file at the run directory's top, under its own name.

        Args:
            path: the file, absolute or relative to the run directory.

        Returns:
            Its path at the top: a hard link where possible, else a copy.

        Raises:
            UserError: there is no such file.
            MachineError: full disk, no permission.
        """
        source = self.path / path
        if not source.is_file():
            raise UserError("no such file to publish", where=str(source))
        target = self.path / source.name
        with self.lock():
            copy_atomically(source, target)
        return target

    def status(self) -> list[StageStatus]:
        """Every stage in the order of its name. Reads all files, and changes nothing.

        Raises:
            UserError: there is no such run directory.
        """
        if not self.path.is_dir():
            raise UserError("no such run directory", where=str(self.path))
        names = {p.name for p in self.path.iterdir() if p.is_dir()}
        partial = {n[1:].removesuffix(".partial") for n in names if n.endswith(".partial")}
        stages = sorted(n for n in names | partial if _STAGE_NAME.fullmatch(n))
        return [self._status_of(n) for n in stages]

    def _status_of(self, name: str) -> StageStatus:
        folder = self.path / name
        if not folder.exists():
            return StageStatus(name, "partial", None, None, _size_of(partial_of(folder)))
        manifest = read_manifest(folder) or {}
        damage = find_damage(folder)
        return StageStatus(
            name=name,
            state="damaged" if damage else "whole",
            seconds=manifest.get("seconds"),
            created=manifest.get("created"),
            bytes=_size_of(folder),
            note=damage,
        )


def _key_of(record: Mapping[str, Any]) -> str:
    return digest_of(
        {
            "schema": SCHEMA,
            "name": record["name"],
            "config": record["config"],
            "inputs": {name: entry["sha256"] for name, entry in record["inputs"].items()},
            "tools": record["tools"],
            "seed": record["seed"],
        }
    )


def _begun_file_of(final: Path) -> Path:
    """Beside the partial folder: the record that it was begun with."""
    return final.with_name(f".{final.name}.begun")


def _read_begun(final: Path) -> dict[str, Any] | None:
    """The record of a partial folder that holds something; None where there is none."""
    folder = partial_of(final)
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    try:
        return json.loads(_begun_file_of(final).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _size_of(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


@functools.cache
def project_commit() -> str | None:
    """The commit that this code is of, with "-dirty" if files differ from it; None if unknown."""
    root = Path(__file__).resolve().parent.parent
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
