"""The report's tables of the RTL: a row per block, a row per FIFO."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .blocks import Block
from .report_stages import Json, StageResults

RESOURCES = ("lut", "ff", "bram36", "dsp")


def total_of(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The sum of records of cells, by the names of `RESOURCES`."""
    rows = list(parts)
    return {key: sum(row[key] for row in rows) for key in RESOURCES}


def depth_of(cells: Mapping[str, int]) -> dict[str, int]:
    """The longest path of a synthesised block: levels of LUTs, and carry cells on it."""
    return {"luts": cells["depth"], "carry_cells": cells["chains"]}


def fifo_rows(blocks: tuple[Block, ...]) -> list[Json]:
    """A row per FIFO between blocks, in stream order."""
    return [
        {
            "name": block.name,
            "stream": block.source.name,
            "depth": block.parameters["DEPTH"],
            "beat_bits": block.parameters["WIDTH"],
            "bits": block.parameters["DEPTH"] * block.parameters["WIDTH"],
            "memory": "block RAM" if block.parameters["BLOCK_MEMORY"] else "LUTs",
        }
        for block in blocks
        if block.module == "deep_fifo"
    ]


def block_rows(blocks: tuple[Block, ...], results: StageResults) -> list[Json]:
    """A row per RTL block in stream order; then what else was estimated or synthesised."""
    rows: list[Json] = [
        {
            "name": block.name,
            "module": block.module,
            "cycles": block.cycles,
            "input_bits": block.source.width,
            "output_bits": block.sink.width,
            **resources_of(block.name, results),
        }
        for block in blocks
    ]
    known = {block.name for block in blocks}
    others = [*results.prediction["estimated"], *(results.synthesis or {})]
    for name in dict.fromkeys(others):
        if name not in known:
            rest = dict.fromkeys(("module", "cycles", "input_bits", "output_bits"))
            rows.append({"name": name, **rest, **resources_of(name, results)})
    return rows


def resources_of(name: str, results: StageResults) -> Json:
    """Cells of a block, estimated and synthesised, and its depth; null for what is not known."""
    synthesised = results.synthesis.get(name) if results.synthesis else None
    estimated = results.prediction["estimated"].get(name)
    return {
        "resources": {
            "estimated": total_of([estimated]) if estimated is not None else None,
            "synthesised": total_of([synthesised]) if synthesised is not None else None,
        },
        "logic_depth": depth_of(synthesised) if synthesised is not None else None,
    }
