"""What an accelerator does on a board, measured so that it can be trusted, one JSON line each time.

A record tells where its figures come from: `source` is "board", "rtl-simulation" or "golden-model".
Seconds and watts of anything but a board are kept, raw, and never shown as figures.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from deploy.accelerator import Accelerator
from deploy.durable import machine_errors
from deploy.errors import UserError
from deploy.executors import BOARD, GOLDEN, RTL

SCHEMA = 1
LEAST_REPEATS = 30
BATCHES = (1, 10, 100, 1000)
POWER_S, POWER_STEP_S = 2.0, 0.02

Record = dict[str, Any]


def measure(
    accelerator: Accelerator,
    *,
    batches: Sequence[int] = BATCHES,
    repeats: int = LEAST_REPEATS,
    power_s: float = POWER_S,
) -> Record:
    """One record; the golden vectors all run first, and an error ends it before anything is timed.

    Args:
        batches: the sizes of the sweep, in frames.
        repeats: of each size, at least 30.
        power_s: seconds of sampling, idle and again loaded.

    Raises:
        GateError: a golden vector comes out wrong.
        UserError: too few repeats.
    """
    if repeats < LEAST_REPEATS or not batches or min(batches) < 1:
        raise UserError(
            "too little to measure",
            found=f"{repeats} repeats of batches {list(batches)}",
            expected=f"at least {LEAST_REPEATS} repeats of batches of 1 frame or more",
        )
    n_golden = accelerator.check_golden()
    manifest, bundle = accelerator.manifest, accelerator.bundle
    return {
        "schema": SCHEMA,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": accelerator.source,
        "board": accelerator.board.device.name,
        "built_for": manifest.board,
        "identity": manifest.identity,
        "bundle_sha256": bundle.sha256,
        "versions": accelerator.board.versions,
        "clock": {"asked_mhz": accelerator.clock_asked_mhz, "achieved_mhz": accelerator.clock_mhz},
        "golden_vectors": n_golden,
        **_accuracy(accelerator),
        "cycles": _cycles(accelerator),
        "throughput": [_throughput(accelerator, batch, repeats) for batch in batches],
        "power": _power(accelerator, max(batches), power_s),
    }


def append(path: Path, record: Record) -> None:
    """Adds a record to a log; earlier ones are never touched.

    Raises:
        MachineError: full disk, no permission.
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    with machine_errors(path.parent), open(path, "a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_log(path: Path) -> list[Record]:
    """All records of a log.

    Raises:
        UserError: there is no such file, or a line is no record.
    """
    if not path.is_file():
        raise UserError("no such log of measurements", where=str(path))
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            if record["schema"] != SCHEMA or record["source"] not in (BOARD, RTL, GOLDEN):
                raise ValueError(f"schema {record['schema']}, source {record['source']}")
        except (ValueError, TypeError, KeyError) as error:
            where = f"{path}, line {number}"
            raise UserError("no record of a measurement", where=where, found=str(error)) from error
        records.append(record)
    return records


def describe(record: Record) -> str:
    """A record in words: speed and power from a board alone, cycles from simulated RTL labelled."""
    source, clock = record["source"], record["clock"]
    labelled = record["labelled_vectors"]
    shown = "no labels" if record["accuracy"] is None else f"{100 * record['accuracy']:.2f} %"
    lines = [
        f"source        {source}",
        f"board         {record['board']}, pynq {record['versions']['pynq']}, {record['time']}",
        f"golden        {record['golden_vectors']} vectors, all right",
        f"accuracy      {shown}" + (f" on {labelled} vectors" if labelled else ""),
        f"clock         {clock['achieved_mhz']:g} MHz achieved, {clock['asked_mhz']:g} asked for",
    ]
    cycles = record["cycles"]
    if cycles is None or source == GOLDEN:
        lines.append("cycles        not measured")
    else:
        note = "" if source == BOARD else f" ({source})"
        lines.append(
            f"cycles        latency {cycles['latency']}, interval {cycles['interval']}, "
            f"input stalls {cycles['input_stalls']}, output stalls {cycles['output_stalls']}{note}"
        )
    if source != BOARD:
        lines.append(f"speed, power  not measured: {source} is no board")
        return "\n".join(lines)
    for entry in record["throughput"]:
        batch = entry["batch"]
        for name, key in (("DMA alone", "dma_s"), ("end to end", "end_to_end_s")):
            low, median, high = np.percentile(entry[key], [5, 50, 95])
            lines.append(
                f"speed         batch {batch}, {name}: {batch / median:,.0f} frames/s "
                f"({batch / high:,.0f} to {batch / low:,.0f}, 5th to 95th percentile)"
            )
    power = record["power"]
    if power == NOT_MEASURED:
        lines.append(f"power         {NOT_MEASURED}")
    else:
        idle, loaded = (float(np.median(power[key])) for key in ("idle_w", "loaded_w"))
        energy_mj = 1e3 * loaded / power["loaded_frames_per_s"]
        lines.append(
            f"power         {idle:.3f} W idle, {loaded:.3f} W loaded, {energy_mj:.4f} mJ a frame "
            f"(rails {', '.join(power['rails'])})"
        )
    return "\n".join(lines)


NOT_MEASURED = "not measured"


def _accuracy(accelerator: Accelerator) -> Record:
    vectors = accelerator.bundle.vectors()
    if vectors.labels is None:
        return {"accuracy": None, "labelled_vectors": 0}
    n = len(vectors.labels)
    classes = accelerator.classify(accelerator.run(vectors.inputs[:n]))
    return {"accuracy": float((classes == vectors.labels).mean()), "labelled_vectors": n}


def _cycles(accelerator: Accelerator) -> Record | None:
    """The counters of one transfer of as many golden vectors as fit; None without counters."""
    if not accelerator.board.has_registers or accelerator.source == GOLDEN:
        return None
    frames, _ = accelerator.move(accelerator.bundle.vectors().inputs[:1000])
    return {"frames": frames, **asdict(accelerator.counters())}


def _throughput(accelerator: Accelerator, batch: int, repeats: int) -> Record:
    inputs = accelerator.bundle.vectors().inputs
    data = inputs[np.arange(batch) % len(inputs)]
    end_to_end, dma = [], []
    accelerator.run(data)  # buffers and caches are warm
    for _ in range(repeats):
        start = time.perf_counter()
        accelerator.run(data)
        end_to_end.append(time.perf_counter() - start)
    for _ in range(repeats):
        moved, total = 0, 0.0
        while moved < batch:
            frames, seconds = accelerator.move(data[moved:])
            moved, total = moved + frames, total + seconds
        dma.append(total)
    return {"batch": batch, "repeats": repeats, "end_to_end_s": end_to_end, "dma_s": dma}


def _power(accelerator: Accelerator, batch: int, seconds: float) -> Record | str:
    """Watts of all rails together, idle and with a thread that keeps the accelerator busy."""
    rails = accelerator.board.power_rails()
    if not rails:
        return NOT_MEASURED
    inputs = accelerator.bundle.vectors().inputs
    data = inputs[np.arange(batch) % len(inputs)]
    idle = _watts(rails, seconds)
    stop, runs = threading.Event(), [0]
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                accelerator.run(data)
                runs[0] += 1
        except BaseException as error:  # noqa: BLE001 (given on below)
            failed.append(error)

    thread = threading.Thread(target=work)
    start = time.perf_counter()
    thread.start()
    loaded = _watts(rails, seconds)
    stop.set()
    thread.join()
    elapsed = time.perf_counter() - start
    if failed:
        raise failed[0]
    return {
        "rails": sorted(rails),
        "idle_w": idle,
        "loaded_w": loaded,
        "loaded_frames_per_s": max(runs[0], 1) * batch / elapsed,
    }


def _watts(rails: dict[str, Any], seconds: float) -> list[float]:
    samples = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        samples.append(float(sum(sensor.value for sensor in rails.values())))
        time.sleep(POWER_STEP_S)
    return samples
