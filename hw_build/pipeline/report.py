"""The report, from what the other stages left."""

from __future__ import annotations

from pathlib import Path

from ..report import write_report
from .context import Flow
from .folders import (
    BITSTREAM,
    BOARD,
    FINN,
    FOLDING,
    GOLDEN,
    GRAPH,
    REPORT,
    RTL,
    SIMULATION,
    SYNTHESIS,
    TRAINING,
)


def report(flow: Flow) -> None:
    """report.html and report.json, at the top of the run directory."""
    inputs = {
        name: flow.folder(name)
        for name in (
            *(TRAINING, GRAPH, GOLDEN, FOLDING, RTL, SIMULATION, SYNTHESIS, BITSTREAM, FINN),
            BOARD,
        )
        if flow.folder(name).exists()
    }
    config = flow.options.to_json()

    def body(folder: Path) -> None:
        imported = flow.imported
        write_report(flow.run.path, folder, config, imported, flow.blocks(imported))

    flow.stage(REPORT, body, config=config, inputs=inputs)
    for name in ("report.html", "report.json"):
        flow.run.publish(Path(REPORT) / name)
