"""Stages beside the list: FINN's execution, estimates and hardware of a run's integer graph."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from deploy.errors import UserError
from deploy.run_directory import RunDirectory

from ..finn.build import generate, missing_for_bitstream, require_tools
from ..finn.flow import run_finn
from ..folding import load_folding
from ..golden import execute
from ..options import Options
from .context import Flow
from .folders import FINN, FINN_BUILD, FOLDING, GOLDEN, GRAPH, REPORT
from .report import report

N_FINN_INPUTS = 100
"""FINN executes slowly; the gates of our own executors run on all vectors."""


def check_with_finn(run: RunDirectory) -> Path:
    """FINN's execution = golden model on 100 inputs, FINN's estimates, and the report again.

    Returns the stage's folder, with finn.json in it.
    """
    made_by = f"python -m hw_build.flow run {run.path}"
    flow = Flow(Options.from_json(run.manifest(REPORT, made_by=made_by)["config"]), run)
    folder = _finn_stage(flow, FINN, lambda folder: _compare_with_finn(flow, folder))
    report(flow)
    return folder


def build_with_finn(flow: Flow) -> None:
    """FINN's execution = golden model, its code for each layer, its bitstream if it can be made."""
    missing = missing_for_bitstream()

    def body(folder: Path) -> None:
        _compare_with_finn(flow, folder)
        options = flow.options
        generate(folder, options.board.name, options.clock_mhz, vendor=not missing)

    folder = _finn_stage(flow, FINN_BUILD, body, {} if missing else {"vendor": "found"})
    require_tools(missing, folder / "code")


def _finn_stage(
    flow: Flow, name: str, body: Callable[[Path], None], tools: dict[str, str] | None = None
) -> Path:
    board = flow.options.board
    if not board.has_pynq:
        raise UserError(
            "FINN knows no such device",
            found=f"{board.name}: {board.part}",
            fix=f"python -m hw_build.flow run {flow.run.path} --board pynq_z2, then FINN",
        )
    return flow.stage(
        name,
        body,
        config={"board": board.name, "clock_mhz": flow.options.clock_mhz},
        inputs={
            "graph": flow.folder(GRAPH),
            "folding": flow.folder(FOLDING) / "folding.json",
            "golden": flow.folder(GOLDEN) / "golden.npz",
        },
        tools={"finn-plus": version("finn-plus"), **(tools or {})},
    )


def _compare_with_finn(flow: Flow, folder: Path) -> None:
    """Runs FINN up to its estimates in `folder`; its integers are the golden model's."""
    imported = flow.imported
    folding = load_folding(flow.folder(FOLDING) / "folding.json", imported.graph)
    with np.load(flow.folder(GOLDEN) / "golden.npz") as file:
        inputs = file["inputs"][:N_FINN_INPUTS]
    run_finn(
        imported.graph,
        inputs,
        execute(imported.graph, inputs),
        folder,
        part=flow.options.board.part,
        clock_mhz=flow.options.clock_mhz,
        folding={
            name: (fold.pe, fold.simd)
            for name, fold in folding.items()
            if name != imported.graph.input.name
        },
    )
