"""The driver on the real pynq and a virtual board, opened for a test; skipped without pynq."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import INPUT, ToyExecutor, write_toy

from deploy import Accelerator
from deploy.boards import BOARDS
from deploy.packing import Packing
from deploy.virtual_blocks import Faults

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")

    from deploy.pynq_virtual import virtual_board

OLD = int(pynq.__version__.split(".")[0]) < 4
HERE = "pynq_z2" if OLD else "zcu104"
FINN = {
    "mover": "finn_iodma",
    "input": Packing(20, 3, signed=True, beat_bits=16, lanes=5),
    "output": Packing(4, 12, signed=True, beat_bits=16, lanes=1),
}
MOVERS = {"axi_dma": {}, "finn_iodma": FINN}
RUNNABLE = [name for name, facts in BOARDS.items() if OLD or not facts.is_zynq7]
MOST_SECONDS = 120 if "TESTED_PYTHON" in os.environ else 10
"""Of a test. An emulated processor works so long, not waits: it shows results, not seconds."""


@contextmanager
def ends_soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Around a test: a hang is told after 1.5 s, and all is over after MOST_SECONDS."""
    monkeypatch.setattr("deploy.virtual_blocks.HANG_S", 1.5)
    start = time.monotonic()
    yield
    assert time.monotonic() - start < MOST_SECONDS


def opener(folder: Path) -> Callable[..., object]:
    """What opens the driver on a virtual board, with its bundle in `folder`."""

    @contextmanager
    def open_it(
        board: str = HERE,
        executor: ToyExecutor | None = None,
        changes: dict | None = None,
        faults: Faults | None = None,
        contiguous_mb: float | None = None,
        part: str | None = None,
        before: ToyExecutor | None = None,
        **options: object,
    ) -> Iterator[Accelerator]:
        fitting = {"board": board, "part": BOARDS[board].part, **(changes or {})}
        path = write_toy(folder / "bundle.zip", **fitting)
        from deploy.bundle import Bundle

        manifest = Bundle.read(path).manifest
        executor = executor or ToyExecutor(manifest=manifest)
        more = {"faults": faults, "contiguous_mb": contiguous_mb, "part": part, "before": before}
        with (
            virtual_board(board, manifest, executor, **more) as hardware,
            Accelerator(path, hardware=hardware, **options) as accelerator,
        ):
            accelerator.executor, accelerator.hardware = executor, hardware
            yield accelerator

    return open_it


def frames(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 4, (n, INPUT.n)).astype(np.int8)
