"""A toy accelerator in a bundle: what the driver's tests need, with deploy and numpy alone."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bundle import INPUTS, LABELS, MANIFEST, OUTPUTS
from deploy.errors import GateError
from deploy.executors import RTL, Execution
from deploy.manifest import Manifest, Member
from deploy.packing import Packing

IDENTITY = hashlib.sha256(b"toy").hexdigest()
INTERVAL, LATENCY = 7, 30
INPUT = Packing(20, 3, signed=True)
OUTPUT = Packing(4, 12, signed=True)


def toy(x: np.ndarray) -> np.ndarray:
    """Four sums of five inputs each, weighted 1 to 5: integers (N, 20) to (N, 4)."""
    return (x.astype(np.int32).reshape(-1, 4, 5) * np.arange(1, 6)).sum(axis=2)


class ToyExecutor:
    """Computes `toy`; stuck from frame `stuck_at` on."""

    source = RTL

    def __init__(
        self, identity: str = IDENTITY, stuck_at: int | None = None, manifest: Any = None
    ) -> None:
        self.identity, self.stuck_at = identity, stuck_at
        self.input = INPUT if manifest is None else manifest.input
        self.output = OUTPUT if manifest is None else manifest.output
        self.transfers: list[int] = []
        self.resets = 0
        self.written: list[tuple[int, int]] = []

    def run(self, data: np.ndarray, frames: int) -> Execution:
        self.transfers.append(frames)
        if self.stuck_at is not None and frames > self.stuck_at:
            raise GateError("no beat moved", where=f"frame {self.stuck_at}")
        out = self.output.pack(toy(self.input.unpack(data)))
        return Execution(out.reshape(-1), LATENCY - 1 + INTERVAL * np.arange(frames), 3, 0)

    def write(self, register: int, value: int) -> None:
        self.written.append((register, value))

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        pass


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0))
    return file.getvalue()


def toy_files(n: int = 50, seed: int = 0) -> dict[str, bytes]:
    """The bundle's members but for the manifest."""
    inputs = np.random.default_rng(seed).integers(-4, 4, (n, INPUT.n)).astype(np.int8)
    outputs = toy(inputs)
    labels = outputs.argmax(axis=1)
    return {
        INPUTS: npy(inputs),
        OUTPUTS: npy(outputs),
        LABELS: npy(labels),
        "deploy/errors.py": b"# the driver\n",
    }


def toy_manifest(files: dict[str, bytes], **changes: Any) -> Manifest:
    quant = {"scale": 0.5, "zero_point": 0.0, "low": -4.0, "high": 3.0, "rounding": "ROUND"}
    manifest = Manifest(
        identity=IDENTITY,
        board="pynq_z2",
        part="xc7z020clg400-1",
        clock_mhz=100.0,
        mover="axi_dma",
        input=INPUT,
        output=OUTPUT,
        quantiser={
            "shape": [4, 5],
            "type": "INT3",
            "lo": -4,
            "hi": 3,
            "steps": [{"op": "quant", "parameters": quant}],
            "scale": 1.0,
        },
        output_meaning={
            "kind": "scores",
            "scale": 0.25,
            "offset": [0.0, 1.0, 0.0, 0.0],
            "class_names": ["a", "b", "c", "d"],
            "n_pixels": 1,
        },
        interval_cycles=INTERVAL,
        latency_cycles=LATENCY,
        accuracy=1.0,
        hashes={},
        versions={},
        members={k: Member(hashlib.sha256(v).hexdigest(), len(v)) for k, v in files.items()},
    )
    return replace(manifest, **changes)


_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every member, so that the same bundle is the same bytes."""


def write_toy(path: Path, files: dict[str, bytes] | None = None, **changes: Any) -> Path:
    """Writes the bundle; `changes` are made to the manifest."""
    files = toy_files() if files is None else files
    manifest = toy_manifest(files, **changes)
    text = json.dumps(manifest.to_json()).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in ((MANIFEST, text), *files.items()):
            member = zipfile.ZipInfo(name, _LONG_AGO)
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return path
