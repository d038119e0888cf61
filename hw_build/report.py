"""The report of a run: report.json for programs, report.html for people, from one record.

What the keys mean is in docs/report.md. Every figure has a kind: estimated (by formulas, before
any tool ran), simulated (cycles of the RTL under Verilator) or synthesised (by Yosys, not placed).
None is measured on a board.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from deploy.errors import UserError

from .blocks import Block, ports
from .boards import Board, board_named
from .budget import busy_all_the_time
from .estimate import ERROR
from .graph_file import Imported
from .pipeline_picture import pipeline_svg
from .report_kinds import KINDS
from .report_layers import layer_rows
from .report_page import page
from .report_rows import RESOURCES, block_rows, depth_of, fifo_rows, total_of
from .report_stages import (
    Json,
    StageResults,
    commands_of,
    commands_of_hardware,
    read_stages,
    tools_of,
)

SCHEMA = 2
"""Raised by one whenever a reader of report.json would misread it."""


def write_report(
    run: Path, folder: Path, config: Json, imported: Imported, blocks: tuple[Block, ...]
) -> None:
    """Writes report.json and report.html into `folder` from what the stages of `run` left.

    Args:
        run: the run directory.
        folder: takes the two files.
        config: the flow's options as JSON (`Options.to_json`).
        imported: the run's compiled network.
        blocks: the accelerator's blocks, in stream order.

    Raises:
        UserError: a stage is missing or belongs to another accelerator; names the command.
    """
    results = read_stages(run, config)
    record = build_record(run, results, config, imported, blocks)
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    interval, port_bits = record["cycles_per_frame"]["predicted"], record["board"]["dma_bits"]
    pictures = {
        name: pipeline_svg(blocks, interval, port_bits, n_columns)
        for name, n_columns in (("wide", None), ("narrow", 1))
    }
    (folder / "report.html").write_text(page(record, pictures), encoding="utf-8")


def build_record(
    run: Path, results: StageResults, config: Json, imported: Imported, blocks: tuple[Block, ...]
) -> Json:
    """The content of report.json; see docs/report.md."""
    golden, simulation = results.golden, results.simulation
    predicted = results.prediction["cycles"]
    hz, board = config["clock_mhz"] * 1e6, board_named(config["board"])
    synthesised = results.synthesis
    ends = dict(zip(("input", "output"), ports(blocks), strict=True))
    n_per_port = {end: stream.beats for end, stream in ends.items()}
    _require_blocks(results, blocks)
    accuracies = None
    if simulation["accuracy"] is not None:
        accuracies = {**golden["accuracies"], "rtl": simulation["accuracy"]}
    return {
        "schema": SCHEMA,
        "name": run.resolve().name,
        "source": config["model"],
        "seed": config["seed"],
        "board": asdict(board),
        "accuracy": simulation["accuracy"],
        "accuracies": accuracies,
        "vectors": {
            "origin": golden["origin"],
            "n_own": golden["n_own"],
            "n_vectors": golden["n_vectors"],
        },
        "gates": [
            gate
            for stage in (golden, simulation, results.bitstream, results.board)
            for gate in (stage or {}).get("gates", [])
        ],
        "argmax_ties": golden["argmax_ties"],
        "float32_differs": golden["float32_differs"],
        "clock_mhz": config["clock_mhz"],
        "target_fps": config["target_fps"],
        "fit": config.get("fit"),
        "cycles_per_frame": {
            "predicted": predicted["interval"],
            "simulated": simulation["interval"],
        },
        "latency_cycles": {"predicted": predicted["latency"], "simulated": simulation["latency"]},
        "frames_per_second": hz / simulation["interval"],
        "port_frames_per_second": hz / predicted["port"],
        "port_cycles": n_per_port,
        "bottleneck": busy_all_the_time(blocks, predicted["interval"]),
        "resources": {
            "estimated": total_of([results.prediction["total"]]),
            "synthesised": total_of(synthesised.values()) if synthesised else None,
        },
        "estimate_error": ERROR,
        "bitstream": results.bitstream,
        "logic_depth": _deepest(synthesised),
        "board_share": _board_share(results, board),
        "interface": _interface(imported, blocks, board),
        "layers": layer_rows(imported.graph, blocks, results),
        "fifos": fifo_rows(blocks),
        "blocks": block_rows(blocks, results),
        "finn": results.finn,
        "training": results.training,
        "notes": [*imported.notes, *results.notes],
        "kinds": KINDS,
        "config": config,
        "tools": tools_of(results.made),
        "commands": list(dict.fromkeys((*commands_of_hardware(run), *commands_of(results.made)))),
        "stages": [
            {key: manifest[key] for key in ("name", "seconds", "created", "commit")}
            for manifest in results.made
        ],
    }


def _require_blocks(results: StageResults, blocks: tuple[Block, ...]) -> None:
    """Refuses figures of another accelerator than the one that is being reported."""
    names = {block.name for block in blocks}
    tables = {"the prediction": results.prediction["estimated"]}
    if results.synthesis is not None:
        tables["the synthesis"] = results.synthesis
    for what, table in tables.items():
        if missing := names - set(table):
            raise UserError(
                f"{what} is of another accelerator",
                found=f"no figures for {', '.join(sorted(missing))}",
                expected="figures for every block",
                fix="run the flow again: python -m hw_build.flow run",
            )


def _deepest(synthesised: Json | None) -> Json | None:
    """The longest combinational path of all blocks, by levels of LUTs, and where it is."""
    if not synthesised:
        return None
    name = max(synthesised, key=lambda name: synthesised[name]["depth"])
    return {**depth_of(synthesised[name]), "block": name}


def _board_share(results: StageResults, board: Board) -> dict[str, float]:
    """Share of the board's cells, 0 to 1, of the synthesised figures, else of the estimated."""
    synthesised = results.synthesis
    used = total_of(synthesised.values() if synthesised else [results.prediction["total"]])
    return {key: used[key] / getattr(board, key) for key in RESOURCES}


def _interface(imported: Imported, blocks: tuple[Block, ...], board: Board) -> Json:
    """What passes between host and accelerator, and what the host does itself."""
    ends = dict(zip(("input", "output"), ports(blocks), strict=True))
    return {
        "model_input_shape": list(imported.input_shape),
        "host_quantises_input": not imported.quantiser.is_identity,
        "host_tail": list(imported.host_tail),
        **{
            end: {
                "n": stream.n,
                "type": str(stream.type),
                "beats": stream.beats,
                "bytes_per_frame": stream.beats * board.dma_bits // 8,
            }
            for end, stream in ends.items()
        },
    }
