"""Records of measurements: a log of JSON lines, and what may be shown of one.

Seconds and watts of anything but a board are kept, raw, and never shown as figures.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from deploy.durable import machine_errors
from deploy.errors import UserError
from deploy.executors import BOARD, GOLDEN, RTL

SCHEMA = 2
"""Raised by one whenever an older reader would misread a record."""

NOT_MEASURED = "not measured"

Record = dict[str, Any]
Figure = tuple[str, str, str]
"""What it is, how much, and a note: of what kind, or under which conditions."""


def append(path: Path, record: Record) -> None:
    """Adds a record to a log; earlier ones are never touched.

    Raises:
        MachineError: full disk, no permission.
    """
    _add_lines(path, [json.dumps(record, allow_nan=False)])


def merge(path: Path, log: bytes) -> int:
    """Adds to a log those records of another one that it has not; returns how many.

    Raises:
        UserError: the other one is no log.
        MachineError: as `append`.
    """
    lines = _lines(log, "the other log")
    with machine_errors(path.parent):
        own = set(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else set()
    new = [line for line in dict.fromkeys(lines) if line not in own]
    if new:
        _add_lines(path, new)
    return len(new)


def read_log(path: Path) -> list[Record]:
    """All records of a log.

    Raises:
        UserError: there is no such file, or a line is no record.
    """
    if not path.is_file():
        raise UserError("no such log of measurements", where=str(path))
    with machine_errors(path.parent):
        content = path.read_bytes()
    return [json.loads(line) for line in _lines(content, str(path))]


def describe(record: Record) -> str:
    """A record in words: a line for each of its figures."""
    return "\n".join(f"{key:<14}{value}{note}" for key, value, note in figures(record))


def figures(record: Record) -> list[Figure]:
    """Speed and power from a board alone, cycles from simulated RTL labelled."""
    source, clock, cycles = record["source"], record["clock"], record["cycles"]
    labelled = record["labelled_vectors"]
    shown = "no labels" if record["accuracy"] is None else f"{100 * record['accuracy']:.2f} %"
    lines = [
        ("source", source, ""),
        ("board", record["board"], f", pynq {record['versions']['pynq']}, {record['time']}"),
        ("golden", f"{record['golden_vectors']} vectors", ", all right"),
        ("accuracy", shown, f" on {labelled} vectors" if labelled else ""),
        ("clock", f"{clock['achieved_mhz']:g} MHz", f" achieved, {clock['asked_mhz']:g} asked for"),
    ]
    if cycles is None or source == GOLDEN:
        lines.append(("cycles", NOT_MEASURED, ""))
    else:
        stalls = f"input stalls {cycles['input_stalls']}, output stalls {cycles['output_stalls']}"
        note = "" if source == BOARD else f" ({source})"
        beats = f"latency {cycles['latency']}, interval {cycles['interval']}"
        lines.append(("cycles", beats, f", {stalls}{note}"))
    if source != BOARD:
        return [*lines, ("speed, power", NOT_MEASURED, f": {source} is no board")]
    return [*lines, *_speed(record["throughput"]), *_power(record["power"])]


def _speed(throughput: list[Record]) -> list[Figure]:
    lines = []
    for entry in throughput:
        batch = entry["batch"]
        for name, key in (("DMA alone", "dma_s"), ("end to end", "end_to_end_s")):
            low, median, high = np.percentile(entry[key], [5, 50, 95])
            spread = f"({batch / high:,.0f} to {batch / low:,.0f}, 5th to 95th percentile)"
            speed = f"batch {batch}, {name}: {batch / median:,.0f} frames/s"
            lines.append(("speed", speed, f" {spread}"))
    return lines


def _power(power: Record | str) -> list[Figure]:
    """The rails that are known for what they feed; never a sum, as rails lie behind each other."""
    if power == NOT_MEASURED:
        return [("power", NOT_MEASURED, "")]
    lines = []
    for what, name in (("the whole board", power["total"]), ("the logic", power["core"])):
        if name is None:
            lines.append(("power", f"of {what}: {NOT_MEASURED}", ""))
            continue
        rail = power["rails"][name]
        idle, loaded = (float(np.median(rail[key])) for key in ("idle_w", "loaded_w"))
        energy_mj = 1e3 * loaded / power["loaded_frames_per_s"]
        watts = f"{idle:.3f} W idle, {loaded:.3f} W loaded"
        lines.append(
            ("power", f"of {what} (rail {name}): {watts}", f", {energy_mj:.4f} mJ a frame")
        )
    return lines


def _lines(log: bytes, where: str) -> list[str]:
    """The lines of a log, each of which can be described."""
    lines = log.decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if record["schema"] != SCHEMA or record["source"] not in (BOARD, RTL, GOLDEN):
                raise ValueError(f"schema {record['schema']}, source {record['source']}")
            describe(record)
        except (
            *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
            RecursionError,
        ) as error:
            raise UserError(
                "no record of a measurement",
                where=f"{where}, line {number}",
                found=f"no key {error}" if isinstance(error, KeyError) else str(error)[:200],
                expected=f"a line that `measure` wrote, schema {SCHEMA}",
            ) from error
    return lines


def _add_lines(path: Path, lines: list[str]) -> None:
    with machine_errors(path.parent), open(path, "a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
