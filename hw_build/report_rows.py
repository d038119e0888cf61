"""The report's tables: a row per layer of the network, a row per block of the RTL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .blocks import Block
from .graph import Graph, MatVec, Threshold
from .report_stages import Json, StageResults

RESOURCES = ("lut", "ff", "bram36", "dsp")


def total_of(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The sum of records of cells, by the names of `RESOURCES`."""
    rows = list(parts)
    return {key: sum(row[key] for row in rows) for key in RESOURCES}


def depth_of(cells: Mapping[str, int]) -> dict[str, int]:
    """The longest path of a synthesised block: levels of LUTs, and carry cells on it."""
    return {"luts": cells["depth"], "carry_cells": cells["chains"]}


def layer_rows(graph: Graph, blocks: tuple[Block, ...], results: StageResults) -> list[Json]:
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


def block_rows(blocks: tuple[Block, ...], results: StageResults) -> list[Json]:
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
            "estimated": total_of([estimated]) if estimated is not None else None,
            "synthesised": total_of([synthesised]) if synthesised is not None else None,
        },
        "logic_depth": depth_of(synthesised) if synthesised is not None else None,
    }
