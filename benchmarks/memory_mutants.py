"""Mutants of what writes a unit's memories: tests try them on an accelerator that is written."""

from __future__ import annotations

from .mutants import COMPARE, COUNT, SWAP, TIMING, Mutant, Parameters


def _written(p: Parameters) -> bool:
    return bool(p.get("WRITABLE"))


MEMORY_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        COUNT,
        "memories numbered from one",
        "memory_writer",
        "16'(FIRST + i)",
        "16'(FIRST + i + 1)",
        needs=_written,
    ),
    Mutant(
        COMPARE,
        "all memories of the block written",
        "memory_writer",
        "(bus[47:32] == 16'(FIRST + i))",
        "(bus[47:32] >= 16'(FIRST))",
        needs=_written,
    ),
    Mutant(
        SWAP,
        "the highest piece of a word first",
        "memory_writer",
        "{bus[31:0], held[LANES*32-1:32]}",
        "{held[LANES*32-33:0], bus[31:0]}",
        needs=_written,
    ),
    Mutant(
        COMPARE,
        "start values written where weights are",
        "mvu",
        "if (write_memory[STAGES]) starts",
        "if (write_memory[STAGES+1]) starts",
        needs=_written,
    ),
    Mutant(
        TIMING,
        "the pipeline's address for weights that are written",
        "mvu",
        "memory[new_address[ADDRESS_BITS-1:0]] <= new_weights",
        "memory[address] <= new_weights",
        times=2,
        needs=_written,
    ),
    Mutant(
        COMPARE,
        "thresholds of every stage written at once",
        "threshold_search",
        "if (write[s]) memory",
        "if (|write) memory",
        needs=_written,
    ),
)
