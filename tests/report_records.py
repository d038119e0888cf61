"""Reports of made-up runs, whole enough for the pages that show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hw_build.report import SCHEMA

FIGURES = {  # name: accuracy, cycles per frame, LUT estimated, LUT synthesised
    "small_w1a1": (0.81, 4000, 1200.5, 1100.0),
    "middle_w2a2": (0.88, 2000, 3400.0, None),
    "large_w4a4": (0.93, 1000, 9100.0, 9900.0),
    "poor_w2a2": (0.79, 4000, 5000.0, 5100.0),
    "unlabelled": (None, 500, 700.0, None),
}


def report(name: str) -> dict[str, Any]:
    """What a comparison reads of report.json."""
    accuracy, cycles, estimated, synthesised = FIGURES[name]
    cells = {"ff": 10.0, "bram36": 0.5, "dsp": 0.0}
    layer = {"weight_kind": "ternary", "weight_bits": 2, "shape": [4, 8], "macs": 32}
    layer["operator"] = "matrix-vector"
    pool = {"weight_kind": "binary", "weight_bits": 1, "shape": [8, 4], "macs": 0}
    pool["operator"] = "sum pool"
    return {
        "schema": SCHEMA,
        "name": name,
        "board": {"name": "pynq_z2"},
        "config": {},
        "gates": [{"name": "golden = RTL", "vectors": 10, "mismatches": 0}],
        "accuracy": accuracy,
        "clock_mhz": 100.0,
        "frames_per_second": 1e8 / cycles,
        "latency_cycles": {"simulated": 2 * cycles},
        "resources": {
            "estimated": {"lut": estimated, **cells},
            "synthesised": None if synthesised is None else {"lut": synthesised, **cells},
        },
        "layers": [{**layer, "memory_bits": 40}, {**pool, "memory_bits": 8}],
    }


def write_reports(folder: Path, changes: dict[str, Any] | None = None) -> list[Path]:
    """A run directory with nothing but its report, for each of the made-up runs."""
    runs = []
    for name in FIGURES:
        run = folder / name
        run.mkdir(parents=True)
        (run / "report.json").write_text(json.dumps(report(name) | (changes or {})))
        runs.append(run)
    return runs
