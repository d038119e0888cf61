"""What an accelerator does on a board, measured so that it can be trusted, one JSON line each time.

A record tells where its figures come from: `source` is "board", "rtl-simulation" or "golden-model".
`deploy.records` keeps records, and knows what may be shown of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import numpy as np

from deploy.accelerator import Accelerator
from deploy.boards import facts_of
from deploy.errors import UserError
from deploy.executors import GOLDEN
from deploy.records import NOT_MEASURED, SCHEMA, Record

LEAST_REPEATS = 30
BATCHES = (1, 10, 100, 1000)
POWER_S, POWER_STEP_S = 2.0, 0.02


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
        "board": accelerator.board.name,
        "built_for": manifest.board,
        "identity": manifest.identity,
        "bundle_sha256": bundle.sha256,
        "hashes": dict(manifest.hashes),
        "versions": accelerator.board.versions,
        "tools": dict(manifest.versions),
        "clock": {"asked_mhz": accelerator.clock_asked_mhz, "achieved_mhz": accelerator.clock_mhz},
        "golden_vectors": n_golden,
        **_accuracy(accelerator),
        "cycles": _cycles(accelerator),
        "throughput": [_throughput(accelerator, batch, repeats) for batch in batches],
        "power": _power(accelerator, max(batches), power_s),
    }


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
    """Watts of each rail, idle and with a thread that keeps the accelerator busy."""
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
    try:
        loaded = _watts(rails, seconds)
    finally:
        stop.set()
        thread.join()
    elapsed = time.perf_counter() - start
    if failed:
        raise failed[0]
    facts = facts_of(accelerator.manifest.board)
    return {
        "rails": {name: {"idle_w": idle[name], "loaded_w": loaded[name]} for name in sorted(rails)},
        "total": facts.total_rail if facts.total_rail in rails else None,
        "core": facts.core_rail if facts.core_rail in rails else None,
        "loaded_frames_per_s": runs[0] * batch / elapsed,
    }


def _watts(rails: dict[str, Any], seconds: float) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in rails}
    end = time.perf_counter() + seconds
    while True:
        for name, sensor in rails.items():
            samples[name].append(float(sensor.value))
        if time.perf_counter() >= end:
            return samples
        time.sleep(POWER_STEP_S)
