"""The kind of every number in report.json: how it was come by. Meanings: docs/report.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

GRAPH = "counted in the integer graph"
MEMORY = "counted in the memory files"
RTL = "counted in the RTL's parameters"
INPUTS = "counted over the inputs"
CHOSEN = "chosen by the folding"
SHAPES = ("shape", "input_shapes", "output_shape", "kernel", "stride", "dilation", "padding")

KINDS = {
    "accuracy": "simulated",
    "accuracies.oracle": "computed in software, float64",
    "accuracies.golden": "computed in software, integers",
    "accuracies.rtl": "simulated",
    "argmax_ties": INPUTS,
    "bitstream": "placed and routed",
    "bitstream.available": "data sheet",
    "bitstream.clock_mhz": "asked for",
    "bitstream.gates": "counted by comparing",
    "bitstream.seed": "chosen for the fastest clock",
    "bitstream.uart_frames_per_second": "estimated",
    "blocks.cycles": "estimated",
    "blocks.input_bits": RTL,
    "blocks.output_bits": RTL,
    "blocks.logic_depth": "synthesised",
    "blocks.resources.estimated": "estimated",
    "blocks.resources.synthesised": "synthesised",
    "board": "data sheet",
    "board_share": "synthesised, else estimated, of the data sheet's",
    "cycles_per_frame.predicted": "estimated",
    "cycles_per_frame.simulated": "simulated",
    "estimate_error": "estimated against synthesised, over random layers",
    "fifos": RTL,
    "finn": "estimated by FINN",
    "finn.front_end": INPUTS,
    "float32_differs": INPUTS,
    "frames_per_second": "simulated cycles at the stated clock",
    "gates": "counted by comparing",
    "interface": RTL,
    "latency_cycles.predicted": "estimated",
    "latency_cycles.simulated": "simulated",
    **{f"layers.{key}": GRAPH for key in (*SHAPES, "macs", "n_thresholds", "n_vectors")},
    **{f"layers.{key}": GRAPH for key in ("weight_bits", "weight_histogram")},
    "layers.constant_channels": INPUTS,
    "layers.cycles": "estimated",
    "layers.logic_depth": "synthesised",
    "layers.memory_bits": MEMORY,
    "layers.pe": CHOSEN,
    "layers.resources.estimated": "estimated",
    "layers.resources.synthesised": "synthesised",
    "layers.simd": CHOSEN,
    "layers.threshold_histogram": GRAPH,
    "layers.threshold_memory_bits": MEMORY,
    "layers.weight_memory_bits": MEMORY,
    "logic_depth": "synthesised",
    "port_cycles": RTL,
    "port_frames_per_second": "estimated",
    "resources.estimated": "estimated",
    "resources.synthesised": "synthesised",
    "stages.seconds": "wall clock of the machine that ran the flow",
    "training": "PyTorch, float32",
    "training.n_parameters": "counted",
    "training.n_test_samples": "counted",
    "training.n_train_samples": "counted",
    "vectors": INPUTS,
}

SETTINGS = ("clock_mhz", "config", "fit", "schema", "seed", "target_fps", "training.config")
"""Numbers that were asked for, and so have no kind; and the version of the form."""


def kind_of(key: str) -> str | None:
    """The kind of a number by its key with dots, as `numbers` gives it; None for none.

    The longest entry that the key begins with counts. A setting's kind is "asked for".
    """
    parts = key.split(".")
    for n in range(len(parts), 0, -1):
        start = ".".join(parts[:n])
        if start in SETTINGS:
            return "asked for"
        if start in KINDS:
            return KINDS[start]
    return None


def numbers(content: Any, key: str = "") -> Iterator[str]:
    """Keys, with dots and without indices, of all numbers in JSON, one by one."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from numbers(value, f"{key}.{name}" if key else name)
    elif isinstance(content, list):
        for value in content:
            yield from numbers(value, key)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield key
