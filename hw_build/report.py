"""The report of a run: report.json for programs, report.html for people, from one record.

What the keys mean is in docs/report.md. Every figure has a kind: estimated (by formulas, before
any tool ran), simulated (cycles of the RTL under Verilator) or synthesised (by Yosys, not placed).
None is measured on a board.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.errors import UserError

from .blocks import Block
from .boards import Board, board_named
from .graph import Graph, MatVec, Threshold
from .graph_file import Imported
from .pipeline_picture import pipeline_svg
from .report_page import page
from .report_stages import StageResults, commands_of, read_stages, tools_of

SCHEMA = 1
"""Raised by one whenever a reader of report.json would misread it."""

RESOURCES = ("lut", "ff", "bram36", "dsp")

KINDS = {
    "accuracy": "simulated",
    "accuracies.oracle": "computed in software, float64",
    "accuracies.golden": "computed in software, integers",
    "accuracies.rtl": "simulated",
    "cycles_per_frame.predicted": "estimated",
    "cycles_per_frame.simulated": "simulated",
    "latency_cycles.predicted": "estimated",
    "latency_cycles.simulated": "simulated",
    "frames_per_second": "simulated cycles at the stated clock",
    "port_frames_per_second": "estimated",
    "resources.estimated": "estimated",
    "resources.synthesised": "synthesised",
    "logic_depth": "synthesised",
    "layers.cycles": "estimated",
    "blocks.cycles": "estimated",
    "finn": "estimated by FINN",
}

Json = dict[str, Any]


def write_report(
    run: Path, folder: Path, config: Json, imported: Imported, blocks: tuple[Block, ...]
) -> None:
    """Writes report.json and report.html into `folder` from what the stages of `run` left.

    Args:
        run: the run directory.
        folder: takes the two files.
        config: the flow's options as JSON (`stages.Options.to_json`).
        imported: the run's compiled network.
        blocks: the accelerator's blocks, in stream order.

    Raises:
        UserError: a stage is missing or belongs to another accelerator; names the command.
    """
    results = read_stages(run, config)
    record = build_record(run.resolve().name, results, config, imported, blocks)
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    interval, port_bits = record["cycles_per_frame"]["predicted"], record["board"]["dma_bits"]
    pictures = {
        name: pipeline_svg(blocks, interval, port_bits, columns)
        for name, columns in (("wide", 4), ("narrow", 1))
    }
    (folder / "report.html").write_text(page(record, pictures), encoding="utf-8")


def build_record(
    name: str, results: StageResults, config: Json, imported: Imported, blocks: tuple[Block, ...]
) -> Json:
    """The content of report.json; see docs/report.md."""
    golden, simulation = results.golden, results.simulation
    predicted = results.prediction["cycles"]
    hz, board = config["clock_mhz"] * 1e6, board_named(config["board"])
    synthesised = results.synthesis
    n_per_port = {"input": blocks[0].source.beats, "output": blocks[-1].sink.beats}
    _require_blocks(results, blocks)
    accuracies = None
    if simulation["accuracy"] is not None:
        accuracies = {**golden["accuracies"], "rtl": simulation["accuracy"]}
    return {
        "schema": SCHEMA,
        "name": name,
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
        "gates": golden["gates"] + simulation["gates"],
        "argmax_ties": golden["argmax_ties"],
        "float32_differs": golden["float32_differs"],
        "clock_mhz": config["clock_mhz"],
        "target_fps": None if config["folding"] else config["target_fps"],
        "cycles_per_frame": {
            "predicted": predicted["interval"],
            "simulated": simulation["interval"],
        },
        "latency_cycles": {"predicted": predicted["latency"], "simulated": simulation["latency"]},
        "frames_per_second": hz / simulation["interval"],
        "port_frames_per_second": hz / predicted["port"],
        "port_cycles": n_per_port,
        "bottleneck": _bottleneck(blocks, n_per_port, predicted["interval"]),
        "resources": {
            "estimated": _total([results.prediction["total"]]),
            "synthesised": _total(synthesised.values()) if synthesised else None,
        },
        "logic_depth": _deepest(synthesised),
        "board_share": _board_share(results, board),
        "interface": _interface(imported, blocks, board),
        "layers": _layers(imported.graph, blocks, results),
        "blocks": _block_rows(blocks, results),
        "finn": results.finn,
        "training": results.training,
        "notes": [*imported.notes, *results.notes],
        "kinds": KINDS,
        "config": config,
        "tools": tools_of(results.made),
        "commands": commands_of(results.made),
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


def _total(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    rows = list(parts)
    return {key: sum(row[key] for row in rows) for key in RESOURCES}


def _deepest(synthesised: Json | None) -> Json | None:
    """The longest combinational path of all blocks, by levels of LUTs, and where it is."""
    if not synthesised:
        return None
    name = max(synthesised, key=lambda name: synthesised[name]["depth"])
    return {**_depth(synthesised[name]), "block": name}


def _depth(cells: Mapping[str, int]) -> dict[str, int]:
    return {"luts": cells["depth"], "carry_cells": cells["chains"]}


def _board_share(results: StageResults, board: Board) -> dict[str, float]:
    """Share of the board's cells, 0 to 1, of the synthesised figures, else of the estimated."""
    synthesised = results.synthesis
    used = _total(synthesised.values() if synthesised else [results.prediction["total"]])
    return {key: used[key] / getattr(board, key) for key in RESOURCES}


def _bottleneck(blocks: tuple[Block, ...], ports: Mapping[str, int], interval: int) -> list[str]:
    """The blocks, or ports, that are busy in every cycle of the interval."""
    busy = [f"{port} port" for port, beats in ports.items() if beats == interval]
    return busy + [block.name for block in blocks if block.cycles == interval]


def _interface(imported: Imported, blocks: tuple[Block, ...], board: Board) -> Json:
    """What passes between host and accelerator, and what the host does itself."""
    ends = {"input": blocks[0].source, "output": blocks[-1].sink}
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


def _layers(graph: Graph, blocks: tuple[Block, ...], results: StageResults) -> list[Json]:
    """A row per matrix-vector layer, with the threshold that is fused into it."""
    infos, by_name = graph.infer(), {block.name: block for block in blocks}
    thresholds = {layer.source: layer for layer in graph if isinstance(layer, Threshold)}
    rows = []
    for layer in graph:
        if not isinstance(layer, MatVec):
            continue
        threshold, block = thresholds.get(layer.name), by_name[layer.name]
        ends_in = threshold.name if threshold is not None else layer.name
        fold = results.folding[layer.name]
        bits = {memory.file: memory.width * len(memory.words) for memory in block.memories}
        weight_bits = bits[str(block.parameters["WEIGHT_FILE"])]
        rows.append(
            {
                "name": layer.name,
                "shape": list(layer.weights.shape),  # [outputs, inputs]
                "weight_kind": layer.weight_kind,
                "weight_bits": layer.weight_bits,
                "input_type": str(infos[layer.source].type),
                "accumulator_type": str(infos[layer.name].type),
                "output_type": str(infos[ends_in].type),
                "pe": fold["pe"],
                "simd": fold["simd"],
                "cycles": block.cycles,
                "n_thresholds": int(threshold.thresholds.size) if threshold is not None else 0,
                "weight_memory_bits": weight_bits,
                "threshold_memory_bits": sum(bits.values()) - weight_bits,
                "memory_bits": sum(bits.values()),
                "constant_channels": results.golden["constant_channels"].get(ends_in),
                **_resources_of(layer.name, results),
            }
        )
    return rows


def _block_rows(blocks: tuple[Block, ...], results: StageResults) -> list[Json]:
    """A row per RTL block in stream order; then what else was estimated or synthesised."""
    rows: list[Json] = [
        {
            "name": block.name,
            "module": block.module,
            "cycles": block.cycles,
            "input_bits": block.source.width,
            "output_bits": block.sink.width,
            **_resources_of(block.name, results),
        }
        for block in blocks
    ]
    known = {block.name for block in blocks}
    others = [*results.prediction["estimated"], *(results.synthesis or {})]
    for name in dict.fromkeys(others):
        if name not in known:
            rest = dict.fromkeys(("module", "cycles", "input_bits", "output_bits"))
            rows.append({"name": name, **rest, **_resources_of(name, results)})
    return rows


def _resources_of(name: str, results: StageResults) -> Json:
    synthesised = results.synthesis.get(name) if results.synthesis else None
    estimated = results.prediction["estimated"].get(name)
    return {
        "resources": {
            "estimated": _total([estimated]) if estimated is not None else None,
            "synthesised": _total([synthesised]) if synthesised is not None else None,
        },
        "logic_depth": _depth(synthesised) if synthesised is not None else None,
    }
