"""accelerator.json: everything that is known of a built accelerator, as a checked record.

The keys are in docs/board.md. It is read from files of strangers: whatever is missing, unknown or
of another kind is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deploy.boards import BOARDS
from deploy.errors import UserError
from deploy.host import InputSteps, OutputMeaning
from deploy.packing import Packing
from deploy.registers import MOST

SCHEMA = 2
"""Raised by one whenever an older reader would misread the file."""

FORM = "narrowgauge accelerator"
MOVERS = ("axi_dma", "finn_iodma")
"""What moves the beats: an AXI DMA and our registers, or the IODMA blocks of a FINN build."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[A-Za-z0-9-]{1,40}")
_MOST_TEXTS, _LONGEST_TEXT = 1000, 1000
_MOST_MEMORIES = 1 << 16
_MOST_BITS = 1 << 27
"""Of a frame: more is no stream of ours."""

MOST_FRAME_S = 2.0
"""Of one frame, latency and interval together: what takes longer can't be told from a hang."""


@dataclass(frozen=True)
class Member:
    """A file of the bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True, eq=False)
class Manifest:
    """The content of accelerator.json.

    Args:
        identity: sha256 of the build; its first 128 bits stand in the identity registers.
        board, part, clock_mhz: what it was built for.
        mover: one of `MOVERS`.
        input, output: the packing of the streams.
        quantiser, output_meaning: as JSON, for `InputSteps` and `OutputMeaning`.
        interval_cycles, latency_cycles: of the simulated RTL.
        accuracy: of the simulated RTL on the labelled vectors, or None.
        hashes: sha256 by what was hashed.
        versions: by tool.
        memories: of those that the host writes, by number: words, and pieces of 32 bits of one.
        members: the bundle's other files by path.
    """

    identity: str
    board: str
    part: str
    clock_mhz: float
    mover: str
    input: Packing
    output: Packing
    quantiser: Mapping[str, Any]
    output_meaning: Mapping[str, Any]
    interval_cycles: float
    latency_cycles: int
    accuracy: float | None
    hashes: Mapping[str, str]
    versions: Mapping[str, str]
    members: Mapping[str, Member]
    memories: Sequence[tuple[int, int]] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__}
        members = {name: asdict(member) for name, member in sorted(self.members.items())}
        streams = {key: asdict(fields[key]) for key in ("input", "output")}
        return {"form": FORM, "schema": SCHEMA, **fields, **streams, "members": members}

    @property
    def input_steps(self) -> InputSteps:
        return InputSteps.from_json(self.quantiser)

    @property
    def meaning(self) -> OutputMeaning:
        return OutputMeaning.from_json(self.output_meaning, self.output.n)

    @classmethod
    def parse(cls, text: bytes, where: str) -> Manifest:
        """The inverse of `to_json`, from the bytes of a file that nobody vouches for.

        Raises:
            UserError: it is of another version, or not an accelerator.json to the last key.
        """
        try:
            fields = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise _refused(where, f"no JSON: {error}") from error
        if not isinstance(fields, dict) or fields.get("form") != FORM:
            raise _refused(where, f"form {_shown(fields)}")
        if fields.get("schema") != SCHEMA:
            raise UserError(
                "accelerator.json is of another version",
                where=where,
                found=f"schema {str(fields.get('schema'))[:40]}",
                expected=f"schema {SCHEMA}",
                fix="make the bundle with this version: python -m hw_build.flow run RUN",
            )
        del fields["form"], fields["schema"]
        if set(fields) != set(cls.__dataclass_fields__):
            odd = sorted(set(fields) ^ set(cls.__dataclass_fields__))
            raise _refused(where, f"missing or unknown keys: {', '.join(odd)[:200]}")
        try:
            made = cls(**{key: _READERS[key](value) for key, value in fields.items()})
            steps, meaning = made.input_steps, made.meaning
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
            raise _refused(where, f"{type(error).__name__}: {str(error)[:200]}") from error
        except UserError as error:
            raise _refused(where, f"{error.what}: {error.found[:200]}") from error
        frame_s = (made.interval_cycles + made.latency_cycles) / (made.clock_mhz * 1e6)
        if frame_s > MOST_FRAME_S:
            raise _refused(where, f"{frame_s:.3g} s for a frame, more than {MOST_FRAME_S:g} s")
        if math.prod(steps.shape) != made.input.n:
            raise _refused(where, f"{steps.shape} inputs quantised, {made.input.n} sent")
        names = meaning.class_names
        n_scores = made.output.n // meaning.n_pixels
        if names is not None and not meaning.is_class and len(names) != n_scores:
            raise _refused(where, f"{len(names)} class names, {n_scores} scores")
        if names is not None and meaning.is_class and len(names) > made.output.hi + 1:
            raise _refused(where, f"{len(names)} class names, classes up to {made.output.hi}")
        return made


def _refused(where: str, found: str) -> UserError:
    return UserError(
        "not the manifest of an accelerator",
        where=where,
        found=found,
        expected="accelerator.json as the flow writes it",
    )


def _shown(fields: Any) -> str:
    return repr(fields.get("form"))[:60] if isinstance(fields, dict) else type(fields).__name__


def _no_constant(name: str) -> None:
    raise ValueError(f"the constant {name}")


def _matching(pattern: re.Pattern[str]) -> Any:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(repr(value)[:60])
        return value

    return read


def _number(lo: float, hi: float) -> Any:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not lo <= value <= hi:
            raise ValueError(f"{repr(value)[:40]} is not from {lo:g} to {hi:g}")
        return value

    return read


def _packing(fields: Any) -> Packing:
    integers = {"n", "bits", "beat_bits", "lanes"}
    for key, value in fields.items():
        of_kind = isinstance(value, bool) != (key in integers)
        if not of_kind and not (key == "lanes" and value is None):
            raise ValueError(f"{key} = {repr(value)[:40]}")
        if key in integers and value is not None and not isinstance(value, int):
            raise ValueError(f"{key} = {repr(value)[:40]}")
    packing = Packing(**fields)
    if packing.n * packing.beat_bits > _MOST_BITS:
        raise ValueError(f"a frame of {packing.n} integers")
    return packing


def _texts(fields: Any) -> dict[str, str]:
    texts = dict(_object(fields))
    if len(texts) > _MOST_TEXTS:
        raise ValueError(f"{len(texts)} entries")
    for text in (*texts, *texts.values()):
        if not isinstance(text, str) or len(text) > _LONGEST_TEXT or not text.isprintable():
            raise ValueError(f"no short printable text: {repr(text)[:40]}")
    return texts


def _object(fields: Any) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise ValueError(type(fields).__name__)
    return fields


def _members(fields: Any) -> dict[str, Member]:
    members = {}
    for name, entry in _object(fields).items():
        if set(entry) != {"sha256", "bytes"} or not isinstance(entry["bytes"], int):
            raise ValueError(f"member {name[:60]!r}")
        size = _number(0, 1 << 32)(entry["bytes"])
        members[name] = Member(_matching(_SHA256)(entry["sha256"]), int(size))
    return members


def _memories(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or len(value) > _MOST_MEMORIES:
        raise ValueError(f"memories {repr(value)[:40]}")
    whole = _number(1, _MOST_BITS)
    shapes = []
    for entry in value:
        words, pieces = entry
        if not isinstance(words, int) or not isinstance(pieces, int):
            raise ValueError(f"a memory of {repr(entry)[:40]}")
        shapes.append((int(whole(words)), int(whole(pieces))))
    return tuple(shapes)


def _board(value: Any) -> str:
    if value not in BOARDS:
        raise ValueError(f"unknown board {repr(value)[:40]}")
    return value


def _mover(value: Any) -> str:
    if value not in MOVERS:
        raise ValueError(f"mover {repr(value)[:40]}")
    return value


_READERS: dict[str, Any] = {
    "identity": _matching(_SHA256),
    "board": _board,
    "part": _matching(_PART),
    "clock_mhz": _number(1, 1e4),
    "mover": _mover,
    "input": _packing,
    "output": _packing,
    "quantiser": _object,
    "output_meaning": _object,
    "interval_cycles": _number(1, MOST),
    "latency_cycles": _number(1, MOST),
    "accuracy": lambda value: None if value is None else _number(0, 1)(value),
    "hashes": _texts,
    "versions": _texts,
    "members": _members,
    "memories": _memories,
}
