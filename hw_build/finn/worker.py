"""Run FINN+'s own steps on a model in its dialect: `python -m hw_build.finn.worker FOLDER`.

A process of its own, started by `hw_build.finn.flow`: FINN wants environment variables, a settings
file and Vivado's simulator (an empty class stands in for it here), and it prints a lot. Nothing of
that reaches the flow.

FOLDER holds `job.json`, `dialect.onnx` and `inputs.npy` (N, C), the values of the input tensor.
Written there: `outputs.npz` (tensor name -> (N, C) float32), `final.onnx`, FINN's own files under
`finn/`, and last `worker.json`.
"""

from __future__ import annotations

import copy
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
from qonnx.core.onnx_exec import execute_onnx
from qonnx.custom_op.registry import getCustomOp

from hw_build.finn.repair import repair_types

finn.xsi.SimEngine = type("SimEngine", (), {})  # before the imports below ask Vivado for it

from finn.builder import build_dataflow_steps as steps  # noqa: E402
from finn.builder.build_dataflow_config import (  # noqa: E402
    DataflowBuildConfig,
    DataflowOutputType,
)
from finn.util.settings import initialize_dummy_settings  # noqa: E402

HARDWARE = "finn.custom_op.fpgadataflow"
NO_REQUANT_BITS = 33  # thresholds stay thresholds, however wide their output is
PACKAGES = ("finn-plus", "qonnx", "onnx", "onnxruntime", "numpy", "torch")
TYPE_ATTRIBUTES = {
    "input_type": "inputDataType",
    "weight_type": "weightDataType",
    "accumulator_type": "accDataType",
    "output_type": "outputDataType",
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
            path.write_text(json.dumps(_folding_config(model, job["folding"]), indent=1))
            config.folding_config_file = str(path)
        model = step(model, config)
        if "minimize_bit_width" in name:
            model, sentences = repair_types(model, dialect)
            repairs |= dict.fromkeys(sentences)
        seconds[name] = round(time.perf_counter() - start, 4)
    model.save(str(folder / "final.onnx"))

    print("step: execution", flush=True)
    start = time.perf_counter()
    outputs = _execute(model, np.load(folder / "inputs.npy"))
    seconds["execution"] = round(time.perf_counter() - start, 4)
    np.savez(folder / "outputs.npz", **outputs)
    reports = folder / "finn" / "report"
    report = {
        "nodes": [_describe(node) for node in model.graph.node],
        "cycles": json.loads((reports / "estimate_layer_cycles.json").read_text()),
        "resources": json.loads((reports / "estimate_layer_resources.json").read_text()),
        "performance": json.loads((reports / "estimate_network_performance.json").read_text()),
        "overflows": _overflows(model, outputs),
        "repairs": list(repairs),
        "seconds": seconds,
        "versions": {package: version(package) for package in PACKAGES},
    }
    (folder / "worker.json").write_text(json.dumps(report, indent=1))


def _folding_config(model: ModelWrapper, folding: dict[str, list[int]]) -> dict[str, dict]:
    """FINN's folding file: our PE and SIMD, and for the rest the least PE at that interval."""
    config: dict[str, dict] = {"Defaults": {}}
    cycles = [1]
    for node in model.graph.node:
        op = getCustomOp(node)
        if node.op_type.startswith("MVAU"):
            pe, simd = folding[node.input[1].removesuffix(".weights")]
            config[node.name] = {"PE": pe, "SIMD": simd}
            cycles.append(op.get_nodeattr("MH") // pe * (op.get_nodeattr("MW") // simd))
    for node in model.graph.node:
        if node.name not in config:
            n_channels = model.get_tensor_shape(node.input[0])[-1]
            enough = (pe for pe in range(1, n_channels + 1) if n_channels % pe == 0)
            config[node.name] = {"PE": next(pe for pe in enough if n_channels // pe <= max(cycles))}
    return config


def _execute(model: ModelWrapper, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor that a node of `model` yields, for each input vector by itself.

    HLS layers run only with Vitis HLS. So each specialised layer is executed by the class that it
    is derived from, FINN's own Python model of it, on the final attributes, weights and thresholds.
    """
    executed = copy.deepcopy(model)
    for node in executed.graph.node:
        node.op_type = node.op_type.removesuffix("_hls").removesuffix("_rtl")
        node.domain = HARDWARE
    source = executed.graph.input[0].name
    names = [node.output[0] for node in executed.graph.node]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for row in inputs:
        context = execute_onnx(executed, {source: row[None]}, return_full_exec_context=True)
        for name in names:
            rows[name].append(context[name][0])
    return {name: np.array(values, np.float32) for name, values in rows.items()}


def _overflows(model: ModelWrapper, outputs: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """The first value of each tensor that its declared type does not hold."""
    found = []
    for name, values in outputs.items():
        kind = model.get_tensor_datatype(name)
        outside = np.argwhere(~kind.allowed(values))
        if len(outside):
            vector, channel = outside[0].tolist()
            value = float(values[vector, channel])
            found.append(
                {"tensor": name, "type": kind.name, "index": [vector, channel], "value": value}
            )
    return found


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
        **{
            ours: DataType[op.get_nodeattr(theirs)].name if theirs in known else None
            for ours, theirs in TYPE_ATTRIBUTES.items()
        },
    }


if __name__ == "__main__":
    run_worker(Path(sys.argv[1]))
