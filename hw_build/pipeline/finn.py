"""Stages beside the list: FINN's execution, estimates and hardware of a run's integer graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from deploy.errors import UserError
from deploy.run_directory import RunDirectory

from ..finn.build import generate, missing_for_bitstream, require_tools
from ..finn.flow import run_finn
from ..finn.front_end import check_front_end
from ..finn.result import FinnResult, FrontEnd
from ..folding import load_folding
from ..golden import execute
from ..graph import Graph, MatVec, Window
from ..options import Options
from .context import Flow, read_json
from .folders import FINN, FINN_BUILD, FOLDING, GOLDEN, GRAPH, REPORT
from .report import report

MOST_INPUTS, FEWEST_INPUTS = 100, 10
"""FINN executes slowly; the gates of our own executors run on all vectors."""

MOST_PRODUCTS = 100_000_000_000
"""Multiplications in all that FINN executes: on large convolutions about half a minute."""


def check_with_finn(run: RunDirectory) -> Path:
    """FINN's execution = golden model on some inputs, FINN's estimates, and the report again.

    FINN's own reading of the QONNX file as well: its differences are rounding ties. Returns the
    stage's folder, with finn.json in it.
    """
    made_by = f"python -m hw_build.flow run {run.path}"
    flow = Flow(Options.from_json(run.manifest(REPORT, made_by=made_by)["config"]), run)

    def body(folder: Path) -> None:
        result = _compare_with_finn(flow, folder)
        start = time.perf_counter()
        front_end = _read_by_finn(flow, folder / "front_end")
        seconds = {**result.seconds, "front_end": round(time.perf_counter() - start, 3)}
        result = replace(result, seconds=seconds, front_end=front_end)
        (folder / "finn.json").write_text(result.to_json())

    folder = _finn_stage(flow, FINN, body, {"model": flow.options.model, **flow.vector_files})
    front_end = FrontEnd(**read_json(folder / "finn.json")["front_end"])
    flow.say(f"  FINN's own reading of the file: {front_end.summary}")
    report(flow)
    return folder


def build_with_finn(flow: Flow) -> None:
    """FINN's execution = golden model, its code for each layer, its bitstream if it can be made."""
    missing = missing_for_bitstream()

    def body(folder: Path) -> None:
        _compare_with_finn(flow, folder)
        options = flow.options
        generate(folder, options.board.name, options.clock_mhz, vendor=not missing)

    vendor = {} if missing else {"vendor": "found"}
    folder = _finn_stage(flow, FINN_BUILD, body, tools=vendor)
    require_tools(missing, folder / "code")


def _finn_stage(
    flow: Flow,
    name: str,
    body: Callable[[Path], None],
    inputs: dict[str, Path] | None = None,
    tools: dict[str, str] | None = None,
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
            **(inputs or {}),
        },
        tools={"finn-plus": version("finn-plus"), **(tools or {})},
    )


def n_finn_inputs(graph: Graph) -> int:
    """How many inputs FINN executes: 100, or fewer of a network with many products a frame."""
    infos = graph.infer()
    per_frame = sum(
        layer.weights.size * infos[layer.name].n_pixels
        for layer in graph
        if isinstance(layer, MatVec)
    )
    return max(FEWEST_INPUTS, min(MOST_INPUTS, MOST_PRODUCTS // max(per_frame, 1)))


def _read_by_finn(flow: Flow, folder: Path) -> FrontEnd:
    """The run's QONNX file through FINN's own front end, on as many of its inputs."""
    imported = flow.imported
    inputs = flow.vectors(imported).inputs[: n_finn_inputs(imported.graph)]
    inputs = inputs.reshape(len(inputs), *imported.input_shape)
    return check_front_end(flow.options.model, inputs, folder)


def _compare_with_finn(flow: Flow, folder: Path) -> FinnResult:
    """Runs FINN up to its estimates in `folder`; its integers are the golden model's."""
    graph = flow.imported.graph
    folding = load_folding(flow.folder(FOLDING) / "folding.json", graph)
    with np.load(flow.folder(GOLDEN) / "golden.npz") as file:
        inputs = file["inputs"][: n_finn_inputs(graph)]
    return run_finn(
        graph,
        inputs,
        execute(graph, inputs, [one.name for one in graph if not isinstance(one, Window)]),
        folder,
        part=flow.options.board.part,
        clock_mhz=flow.options.clock_mhz,
        folding={
            name: (fold.pe, fold.simd) for name, fold in folding.items() if name != graph.input.name
        },
    )
