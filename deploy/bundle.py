"""bundle.zip: all that a board needs, read as a file that nobody vouches for.

Nothing is written, and nothing but zip, JSON and integers is interpreted, before every member has
proved to be what accelerator.json says, to the last byte.
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.durable import machine_errors
from deploy.errors import UserError
from deploy.manifest import Manifest, Member
from deploy.memories import Memories

MANIFEST = "accelerator.json"
INPUTS, OUTPUTS, LABELS = "vectors/inputs.npy", "vectors/outputs.npy", "vectors/labels.npy"
MEMORIES = "weights/memories.npy"
BITSTREAM, HANDOFF = "hardware/accelerator.bit", "hardware/accelerator.hwh"
_CODE = re.compile(r"deploy/[a-z_][a-z0-9_]*\.py")
_DATA = {INPUTS, OUTPUTS, LABELS, MEMORIES}
_HARDWARE = {BITSTREAM, HANDOFF}

MOST_MANIFEST_BYTES = 16 << 20
MOST_BYTES = 512 << 20
"""Of all members together, unpacked: a Zynq-7000 board has no more memory."""
MOST_LISTING_BYTES = 64 << 10
"""Of the zip's own list of its members: some hundreds of them."""


def is_executable(name: str) -> bool:
    """Whether a member is code or a bitstream: it may do anything to the machine it runs on."""
    return name in _HARDWARE or bool(_CODE.fullmatch(name))


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle, all of it in memory.

    Args:
        path: where it was read from.
        sha256: of the zip file.
        manifest: its accelerator.json.
        files: the bytes of all other members by path.
    """

    path: Path
    sha256: str
    manifest: Manifest
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, path: Path | str) -> Bundle:
        """Reads and verifies; writes nothing.

        Raises:
            UserError: no bundle, another version, or any member that is missing, altered, extra,
                or has a path or a size that lies.
            MachineError: no permission.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(
                "no such bundle", where=str(path), fix="python -m hw_build.flow run RUN"
            )
        with machine_errors(path.parent), open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        _check_end(content, str(path))
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = _entries(archive, str(path))
                text = _content(archive, entries[MANIFEST], MOST_MANIFEST_BYTES, str(path))
                manifest = Manifest.parse(text, f"{path}: {MANIFEST}")
                _check_names(entries, manifest, str(path))
                files = {
                    name: _verified(archive, entries[name], member, str(path))
                    for name, member in manifest.members.items()
                }
        except (
            *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
            *(OSError, ValueError, MemoryError),
        ) as error:
            raise UserError(
                "the bundle can't be read",
                where=str(path),
                found=f"{type(error).__name__}: {str(error)[:200]}",
                expected="bundle.zip as the flow wrote it",
            ) from error
        bundle = cls(path, hashlib.sha256(content).hexdigest(), manifest, files)
        bundle.vectors()  # they are data: they are right or the bundle is refused
        bundle.memories()
        return bundle

    @property
    def has_bitstream(self) -> bool:
        return BITSTREAM in self.files and HANDOFF in self.files

    @property
    def executables(self) -> dict[str, str]:
        """sha256 of the code and the hardware members, by path."""
        members = self.manifest.members
        return {name: members[name].sha256 for name in sorted(members) if is_executable(name)}

    def vectors(self) -> GoldenVectors:
        """The golden vectors.

        Raises:
            UserError: they don't fit the streams or each other.
        """
        where, manifest = str(self.path), self.manifest
        inputs = read_integers(self.files[INPUTS], f"{where}: {INPUTS}")
        outputs = read_integers(self.files[OUTPUTS], f"{where}: {OUTPUTS}")
        labels = None
        if LABELS in self.files:
            labels = read_integers(self.files[LABELS], f"{where}: {LABELS}")
        if (
            inputs.shape[1:] != (manifest.input.n,)
            or outputs.shape != (len(inputs), manifest.output.n)
            or not len(inputs)
            or (labels is not None and (labels.ndim != 1 or not 0 < len(labels) <= len(inputs)))
        ):
            raise UserError(
                "the golden vectors don't fit the accelerator",
                where=where,
                found=f"inputs {inputs.shape}, outputs {outputs.shape}"
                + ("" if labels is None else f", labels {labels.shape}"),
                expected=f"(N, {manifest.input.n}) and (N, {manifest.output.n}), N at least 1",
            )
        return GoldenVectors(inputs, outputs, labels)

    def memories(self) -> Memories:
        """What the host writes to the accelerator's memories; nothing where they are fixed.

        Raises:
            UserError: it doesn't fit the memories that the manifest tells of.
        """
        shapes, where = self.manifest.memories, f"{self.path}: {MEMORIES}"
        if not shapes and MEMORIES not in self.files:
            return Memories(())
        try:
            if MEMORIES not in self.files:
                raise ValueError("no such member")
            return Memories.of_flat(read_integers(self.files[MEMORIES], where), shapes)
        except ValueError as error:
            raise UserError(
                "the weights don't fit the accelerator's memories", where=where, found=str(error)
            ) from error

    def write(self, folder: Path, names: list[str] | None = None) -> None:
        """Writes members (all of them by default) below `folder`, which may exist.

        Raises:
            MachineError: full disk, no permission.
        """
        with machine_errors(folder):
            for name in names if names is not None else self.files:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.files[name])


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Inputs (N, n), the right outputs (N, m), and the classes of the first frames, or None."""

    inputs: np.ndarray
    outputs: np.ndarray
    labels: np.ndarray | None


def _check_end(content: bytes, where: str) -> None:
    """Refuses what would keep zipfile busy: too large a file, or too long a list of members."""
    end = content[-22:]  # without a comment, as the flow writes it
    listing_bytes = int.from_bytes(end[12:16], "little")
    is_zip = end[:4] == b"PK\x05\x06" and end[20:] == b"\0\0" and content[-42:-38] != b"PK\x06\x07"
    if len(content) > MOST_BYTES:
        found = f"more than {MOST_BYTES} bytes"
    elif not is_zip:
        found = "no end of a plain zip file"
    elif listing_bytes > MOST_LISTING_BYTES:
        found = f"a list of members of {listing_bytes} bytes"
    else:
        return
    raise UserError(
        "the bundle can't be read",
        where=where,
        found=found,
        expected="bundle.zip as the flow wrote it",
    )


def _entries(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by name, once their headers are harmless."""

    def refuse(what: str, found: str) -> UserError:
        return UserError(what, where=where, found=found, expected="bundle.zip as the flow wrote it")

    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for entry in archive.infolist():
        name = entry.orig_filename
        if name != MANIFEST and name not in _DATA and not is_executable(name):
            leaves = name.startswith(("/", "\\")) or ".." in name or ":" in name
            what = "leaves the folder" if leaves else "does not belong to a bundle"
            raise refuse(f"a member of the bundle {what}", repr(name)[:100])
        if name in entries:
            raise refuse("a member of the bundle is there twice", name)
        if entry.flag_bits & 1:
            raise refuse("a member of the bundle is encrypted", name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise refuse("a member of the bundle is no plain file", f"{name}: mode {kind:o}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse("a member of the bundle is compressed unusually", name)
        total += entry.file_size
        entries[name] = entry
    if total > MOST_BYTES:
        raise refuse("the bundle unpacks to too much", f"{total} bytes")
    if MANIFEST not in entries:
        raise refuse("the bundle has no manifest", f"no {MANIFEST}")
    return entries


def _check_names(entries: Mapping[str, zipfile.ZipInfo], manifest: Manifest, where: str) -> None:
    listed = {MANIFEST, *manifest.members}
    missing, extra = sorted(listed - set(entries)), sorted(set(entries) - listed)
    missing += sorted({INPUTS, OUTPUTS} - listed)
    if missing or extra:
        what = "is missing from the bundle" if missing else "is in the bundle and not its manifest"
        raise UserError(f"a member {what}", where=where, found=", ".join(missing or extra)[:200])
    if (BITSTREAM in listed) != (HANDOFF in listed):
        raise UserError("a bitstream comes with its .hwh", where=where, found="one of the two")


def _content(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int, where: str
) -> bytes:
    """The unpacked bytes, never more than `most_bytes`, whatever the headers say."""
    with archive.open(entry) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes or len(content) != entry.file_size:
        raise UserError(
            "a member's size is not what the bundle says",
            where=f"{where}: {entry.filename}",
            found=f"{len(content)} bytes or more",
            expected=f"{min(most_bytes, entry.file_size)} bytes",
        )
    return content


def _verified(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, member: Member, where: str
) -> bytes:
    content = _content(archive, entry, member.bytes, where)
    found = hashlib.sha256(content).hexdigest()
    if len(content) != member.bytes or found != member.sha256:
        raise UserError(
            "a member of the bundle was altered",
            where=f"{where}: {entry.filename}",
            found=f"{len(content)} bytes, sha256 {found[:12]}...",
            expected=f"{member.bytes} bytes, sha256 {member.sha256[:12]}...",
        )
    return content


_NPY = re.compile(
    rb"\{'descr': '([|<][iu][1248])', 'fortran_order': False, 'shape': "
    rb"\((\d{1,9}),(?: (\d{1,9}),?)?\), \} *\n"
)


def read_integers(data: bytes, where: str) -> np.ndarray:
    """A little-endian integer array, (N,) or (N, C), from the bytes of an .npy file of version 1.

    The header is matched, not evaluated, and the size must be right to the byte.

    Raises:
        UserError: anything else.
    """
    length = int.from_bytes(data[8:10], "little")
    header = _NPY.fullmatch(data[10 : 10 + length]) if data[:8] == b"\x93NUMPY\x01\x00" else None
    if header is None:
        raise UserError("not an .npy file of integers", where=where, found=repr(data[:60]))
    shape = tuple(int(size) for size in header.groups()[1:] if size is not None)
    dtype = np.dtype(header.group(1).decode())
    body, expected = data[10 + length :], int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(body) != expected:
        raise UserError(
            "an .npy file has another size than its shape says",
            where=where,
            found=f"{len(body)} bytes of values",
            expected=f"{expected} for {dtype} {shape}",
        )
    return np.frombuffer(body, dtype).reshape(shape)
