"""Run FINN+'s own steps on a model in its dialect: `python -m hw_build.finn.worker FOLDER`.

A process of its own, started by `hw_build.finn.flow`: FINN wants environment variables, a settings
file and Vivado's simulator (an empty class stands in for it here), and it prints a lot. Nothing of
that reaches the flow.

FOLDER holds `job.json`, `dialect.onnx` and `inputs.npy`, N values of the input tensor. Written
there: `outputs.npz` (tensor name -> (N, ...) float32, of those to be compared), `final.onnx`,
FINN's own files under `finn/`, and last `worker.json`.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import finn.xsi
import numpy as np
from onnx import NodeProto
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from hw_build.finn.execution import HARDWARE, execute
from hw_build.finn.folding_file import folding_file
from hw_build.finn.repair import repair_types

finn.xsi.SimEngine = type("SimEngine", (), {})  # before the imports below ask Vivado for it

from finn.builder import build_dataflow_steps as steps  # noqa: E402
from finn.builder.build_dataflow_config import (  # noqa: E402
    DataflowBuildConfig,
    DataflowOutputType,
)
from finn.util.settings import initialize_dummy_settings  # noqa: E402

NO_REQUANT_BITS = 33  # thresholds stay thresholds, however wide their output is
PACKAGES = ("finn-plus", "qonnx", "onnx", "onnxruntime", "numpy", "torch")
TYPE_ATTRIBUTES = {
    "weight_type": "weightDataType",
    "accumulator_type": "accDataType",
}


def run_worker(folder: Path) -> None:
    """Everything from the job in `folder` to `worker.json`."""
    job = json.loads((folder / "job.json").read_text())
    initialize_dummy_settings()
    config = DataflowBuildConfig(
        output_dir=str(folder / "finn"),
        synth_clk_period_ns=1000 / job["clock_mhz"],
        fpga_part=job["part"],
        target_fps=job["target_fps"],
        standalone_thresholds=job["standalone_thresholds"],
        requant_bitwidth_threshold=NO_REQUANT_BITS,
        save_intermediate_models=False,
        generate_outputs=[DataflowOutputType.ESTIMATE_REPORTS],
    )
    dialect = ModelWrapper(str(folder / "dialect.onnx"))
    model = ModelWrapper(str(folder / "dialect.onnx"))
    seconds: dict[str, float] = {}
    repairs: dict[str, None] = {}  # FINN minimises twice, and is put right in the same way twice
    for step in (
        steps.step_convert_to_hw,
        steps.step_minimize_bit_width_initial,
        steps.step_create_dataflow_partition,
        steps.step_specialize_layers,
        steps.step_target_fps_parallelization,
        steps.step_apply_folding_config,
        steps.step_minimize_bit_width,
        steps.step_generate_estimate_reports,
    ):
        name = step.__name__
        print(f"step: {name}", flush=True)
        start = time.perf_counter()
        if step is steps.step_apply_folding_config and job["folding"] is not None:
            path = folder / "folding.json"
            path.write_text(json.dumps(folding_file(model, job["folding"]), indent=1))
            config.folding_config_file = str(path)
        model = step(model, config)
        if step is steps.step_convert_to_hw:
            _require_hardware(model)
            _name_windows(model, job["windows"])
        if "minimize_bit_width" in name:
            model, sentences = repair_types(model, dialect)
            repairs |= dict.fromkeys(sentences)
        seconds[name] = round(time.perf_counter() - start, 4)
    model.save(str(folder / "final.onnx"))

    print("step: execution", flush=True)
    start = time.perf_counter()
    outputs, overflows = execute(model, np.load(folder / "inputs.npy"), job["compared"])
    seconds["execution"] = round(time.perf_counter() - start, 4)
    np.savez_compressed(folder / "outputs.npz", **outputs)
    reports = folder / "finn" / "report"
    report = {
        "nodes": [_describe(node) for node in model.graph.node],
        "cycles": json.loads((reports / "estimate_layer_cycles.json").read_text()),
        "resources": json.loads((reports / "estimate_layer_resources.json").read_text()),
        "performance": json.loads((reports / "estimate_network_performance.json").read_text()),
        "overflows": overflows,
        "repairs": list(repairs),
        "seconds": seconds,
        "versions": {package: version(package) for package in PACKAGES},
    }
    (folder / "worker.json").write_text(json.dumps(report, indent=1))


def _require_hardware(model: ModelWrapper) -> None:
    """An error that names what FINN's conversion did not take."""
    left = [f"{node.op_type} {node.name}" for node in model.graph.node if node.domain != HARDWARE]
    if left:
        raise RuntimeError(f"FINN's conversion left layers that are no hardware: {', '.join(left)}")


def _name_windows(model: ModelWrapper, windows: dict[str, str]) -> None:
    """The tensor that FINN put in front of a max pool gets the name of our Window."""
    for node in model.graph.node:
        if node.output[0] in windows:
            model.rename_tensor(node.input[0], windows[node.output[0]])


def _describe(node: NodeProto) -> dict[str, object]:
    """A node's kind, place in the graph, folding and types."""
    op = getCustomOp(node)
    known = op.get_nodeattr_types()
    weights = [name for name in node.input if name.endswith((".weights", ".thresholds"))]
    return {
        "node": node.name,
        "layers": [name.rpartition(".")[0] for name in weights] or [node.output[0]],
        "op_type": node.op_type,
        "implementation": node.op_type.rpartition("_")[2],
        "pe": op.get_nodeattr("PE") if "PE" in known else None,
        "simd": op.get_nodeattr("SIMD") if "SIMD" in known else None,
        "input_type": op.get_input_datatype().name,
        "output_type": op.get_output_datatype().name,
        **{
            ours: DataType[op.get_nodeattr(theirs)].name if theirs in known else None
            for ours, theirs in TYPE_ATTRIBUTES.items()
        },
    }


if __name__ == "__main__":
    run_worker(Path(sys.argv[1]))
