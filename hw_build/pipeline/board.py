"""What a board with pynq gets: the bundle, and the gate that runs it on the virtual board."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deploy.run_directory import sha256_of

from ..board_gate import check_board, pynq_version
from ..bundle import write_bundle
from ..source_digest import source_digest
from ..verilator import tool_versions
from ..virtual_executor import open_rtl
from .bitstream import bitstream_in
from .context import Flow, read_json, write_json
from .folders import BOARD, BUNDLE, FOLDING, GOLDEN, GRAPH, RTL, SIMULATION


def make_bundle(flow: Flow) -> None:
    """bundle.zip: what a board with pynq needs, golden vectors and the driver included."""
    options = flow.options
    if not options.board.has_pynq:
        return
    hardware = bitstream_in(flow.run.path, flow)

    def body(folder: Path) -> None:
        imported = flow.imported
        with np.load(flow.folder(GOLDEN) / "golden.npz") as file:
            inputs = file["inputs"]
            labels = file["labels"] if "labels" in file.files else None
        class_names = read_json(flow.folder(GOLDEN) / "gates.json")["class_names"]
        manifest = write_bundle(
            folder / "bundle.zip",
            imported=imported,
            blocks=flow.blocks(imported),
            board=options.board,
            clock_mhz=options.clock_mhz,
            rtl=flow.folder(RTL),
            inputs=inputs,
            labels=labels,
            class_names=None if class_names is None else tuple(class_names),
            simulated=read_json(flow.folder(SIMULATION) / "simulation.json"),
            # the model that the graph was made from, whatever lies at its path by now
            hashes={
                "model": flow.run.manifest(GRAPH)["inputs"]["model"]["sha256"],
                "graph": sha256_of(flow.folder(GRAPH)),
            },
            versions={"hw_build": source_digest(), **tool_versions()},
            hardware=hardware,
        )
        write_json(folder / "accelerator.json", manifest.to_json())

    inputs = {name: flow.folder(name) for name in (GRAPH, GOLDEN, FOLDING, RTL, SIMULATION)}
    flow.stage(
        BUNDLE,
        body,
        config={"board": options.board.name, "clock_mhz": options.clock_mhz},
        inputs={**inputs, **({"hardware": hardware} if hardware else {})},
        tools=tool_versions(),
    )
    flow.run.publish(Path(BUNDLE) / "bundle.zip")


def check_on_virtual_board(flow: Flow) -> None:
    """Golden vectors through driver, virtual board and RTL = what the network computes.

    For a board without pynq, the bitstream's own gate is the last one.
    """
    options = flow.options
    if not options.board.has_pynq:
        return

    def body(folder: Path) -> None:
        with open_rtl(flow.run.path) as executor:
            result = check_board(flow.folder(BUNDLE) / "bundle.zip", options.board.name, executor)
        write_json(folder / "board.json", result)

    flow.stage(
        BOARD,
        body,
        config={"board": options.board.name},
        inputs={"bundle": flow.folder(BUNDLE) / "bundle.zip", "rtl": flow.folder(RTL)},
        tools={**tool_versions(), "pynq": pynq_version()},
    )
