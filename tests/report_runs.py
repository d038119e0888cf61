"""Run directories with every stage but the report, written without running the flow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from deploy.run_directory import RunDirectory
from hw_build.bitstream import CAVEAT
from hw_build.blocks import Block
from hw_build.fifos import with_fifos
from hw_build.folding import Folding, save_folding
from hw_build.graph import (
    BIPOLAR,
    Add,
    ArgMax,
    Graph,
    Input,
    IntType,
    MatVec,
    Pad,
    Threshold,
    Window,
)
from hw_build.graph_file import Imported
from hw_build.input_quantiser import InputQuantiser
from hw_build.lowering import lower
from hw_build.report import write_report
from hw_build.timing import predict

CLOCK_MHZ = 100.0
FOLDINGS = {"fc0": Folding(4, 10), "fc1": Folding(2, 8)}


@dataclass
class Run:
    """A run directory with every stage but the report, as the flow leaves it."""

    path: Path
    imported: Imported
    blocks: tuple[Block, ...]
    config: dict[str, Any]

    def stage(self, name: str, files: dict[str, Any], inputs: dict[str, Path] | None = None):
        def body(folder: Path) -> None:
            for file, content in files.items():
                (folder / file).write_text(json.dumps(content))

        self.stage_of(name, body, inputs)

    def stage_of(
        self, name: str, body: Callable[[Path], None], inputs: dict[str, Path] | None = None
    ) -> None:
        """A stage whose files `body` writes."""
        RunDirectory(self.path).run_stage(
            name,
            config={"board": self.config["board"]},
            inputs=inputs or {},
            tools={"yosys": "1.0"},
            body=body,
            seed=0,
            say=lambda line: None,
        )

    def report(self) -> tuple[dict[str, Any], str]:
        folder = self.path / "made"
        folder.mkdir(exist_ok=True)
        write_report(self.path, folder, self.config, self.imported, self.blocks)
        record = json.loads((folder / "report.json").read_text())
        return record, (folder / "report.html").read_text()


def cells(scale: int) -> dict[str, float]:
    return {"lut": 100.0 * scale, "ff": 50.0 * scale, "bram36": 0.5, "dsp": 0.0}


def network(middle: str = "fc0_act", note: str = "a note") -> Imported:
    rng = np.random.default_rng(1)
    graph = Graph(
        (
            Input("input", (40,), BIPOLAR),
            MatVec("fc0", "input", rng.choice([-1, 1], (24, 40))),
            Threshold(
                middle, "fc0", np.sort(rng.integers(-9, 9, (24, 3))), 0, 1, IntType(2, False)
            ),
            MatVec("fc1", middle, rng.integers(-2, 3, (10, 24))),
            ArgMax("class", "fc1"),
        )
    )
    quantiser = InputQuantiser((40,), BIPOLAR, -1, 1)
    return Imported(graph, quantiser, (40,), ("Softmax",), (note,))


def made_run(
    path: Path,
    imported: Imported,
    foldings: dict[str, Folding] = FOLDINGS,
    fifos: Mapping[str, int] = MappingProxyType({}),
    *,
    labels: bool = True,
) -> Run:
    """Writes the stages of a run up to its simulation."""
    blocks = with_fifos(lower(imported.graph, foldings), fifos)
    config = {
        "model": str(path / "model.onnx"),
        "board": "pynq_z2",
        "clock_mhz": CLOCK_MHZ,
        "target_fps": 200_000.0,
        "folding": None,
        "fifo": "auto",
        "seed": 7,
    }
    run = Run(path, imported, blocks, config)
    gate = {"name": "oracle = golden", "vectors": 1000, "mismatches": 0}
    accuracies = {"oracle": 0.75, "golden": 0.75}
    threshold = imported.graph.layers[2].name
    run.stage(
        "04_golden",
        {
            "gates.json": {
                "gates": [gate],
                "accuracies": accuracies if labels else {},
                "origin": "test set" if labels else "seeded random inputs (seed 7)",
                "n_own": 600,
                "n_vectors": 1000,
                "constant_channels": {threshold: 3, "fc1": 0},
                "argmax_ties": 5,
                "float32_differs": 2 if labels else None,
            }
        },
    )
    predicted = predict(blocks)
    run.stage(
        "05_folding",
        {
            "folding.json": json.loads(save_folding(foldings)),
            "fifos.json": dict(fifos),
            "prediction.json": {
                "cycles": asdict(predicted),
                "estimated": {block.name: cells(1) for block in blocks},
                "total": cells(len(blocks)),
            },
        },
    )
    run.stage("06_rtl", {"accelerator.sv": "module accelerator; endmodule"})
    run.stage(
        "07_simulation",
        {
            "simulation.json": {
                "gates": [{**gate, "name": "golden = RTL"}],
                "interval": predicted.interval + 0.5,
                "latency": predicted.latency + 2,
                "cycles": 12345,
                "accuracy": 0.75 if labels else None,
            }
        },
    )
    return run


def synthesise(run: Run) -> None:
    figures = {
        block.name: {**cells(2), "depth": 4 + i, "chains": 1} for i, block in enumerate(run.blocks)
    }
    figures["transfer"] = {**cells(1), "depth": 2, "chains": 0}
    run.stage("08_synthesis", {"synthesis.json": figures}, {"rtl": run.path / "06_rtl"})


def cross_check(run: Run) -> None:
    layer = {
        "node": "MVAU_hls_0",
        "layers": ["fc0", "fc0_act"],
        "op_type": "MVAU_hls",
        "pe": 4,
        "simd": 10,
        "cycles": 24,
        "lut": 900,
        "bram18": 3,
        "dsp": 0,
    }
    run.stage(
        "09_finn",
        {
            "finn.json": {
                "kind": "estimated by FINN",
                "part": "xc7z020clg400-1",
                "clock_mhz": CLOCK_MHZ,
                "folding": "given",
                "folding_reason": "as given",
                "layers": [layer],
                "total": {"lut": 987, "bram18": 3, "uram": 0, "dsp": 0},
                "cycles_per_frame": 24,
                "latency_cycles": 60,
                "frames_per_second": 4.1e6,
                "latency_us": 0.6,
                "vectors": 100,
                "compared": ["fc0_act", "class"],
                "repairs": ["accumulator of MVAU_hls_0 widened"],
                "front_end": {
                    "not_compared": None,
                    "frames": 100,
                    "quantisers": 3,
                    "left": ["fc0_act"],
                    "ties": {"inp<q>": 224},
                    "float32": {},
                    "frames_touched": 89,
                    "class_changes": 2,
                },
            }
        },
        {"folding": run.path / "05_folding" / "folding.json"},
    )


def route(run: Run) -> None:
    path = {"source": "a/b", "destination": "c/<d>", "slack_ns": 0.5, "requirement_ns": 10.0}
    warning = {"is_error": False, "identity": "Common 17-1000", "text": "look at <this>"}
    warning["meaning"] = "harmless"
    summary = {
        "kind": "routed by Vivado",
        "caveat": CAVEAT,
        "vivado": "2022.2",
        "clock_mhz": CLOCK_MHZ,
        "timing": {
            "slack_ns": 0.521,
            "hold_slack_ns": 0.03,
            "most_mhz": 105.5,
            "layer": "fc0",
            "path": {**path, "levels": 9},
        },
        "whole": {"lut": 1234.0, "ff": 2345.0, "bram36": 6.5, "dsp": 0.0},
        "accelerator": {"lut": 777.0, "ff": 888.0, "bram36": 1.5, "dsp": 0.0},
        "critical_warnings": [warning],
    }
    run.stage("09_bitstream", {"bitstream.json": summary}, {"rtl": run.path / "06_rtl"})


def image_run(path: Path) -> Run:
    """A run of a convolution with a path around it, and a FIFO on that path."""
    rng = np.random.default_rng(2)
    levels, kind = np.sort(rng.integers(-9, 9, (4, 3))), IntType(2, signed=False)
    graph = Graph(
        (
            Input("input", (6, 6, 2), IntType(2, signed=True)),
            MatVec("conv0", "input", rng.choice([-1, 1], (4, 2))),
            Threshold("conv0_act", "conv0", levels, 0, 1, kind),
            Pad("pad", "conv0_act", 1, 1, 1, 1, 0),
            Window("window", "pad", (3, 3)),
            MatVec("conv1", "window", rng.integers(-7, 8, (4, 36))),
            Threshold("conv1_act", "conv1", levels, 0, 1, kind),
            Add("add", "conv1_act", "conv0_act"),
        )
    )
    foldings = {"conv0": Folding(2, 2), "conv1": Folding(1, 2), "add": Folding(1, 1)}
    imported = Imported(graph, InputQuantiser((6, 6, 2), IntType(2, True), -2, 1), (2, 6, 6))
    return made_run(path, imported, foldings, {"conv0_act_fork1": 40})
