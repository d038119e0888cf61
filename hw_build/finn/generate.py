"""FINN+'s code for each layer, and its vendor steps: `python -m hw_build.finn.generate FOLDER`.

A process of its own, as `hw_build.finn.worker`, and after it: FOLDER holds the folded `final.onnx`,
whose execution has been compared with the golden integers, and `build.json`. Written there:
`code/NODE/`, what FINN generates for each layer, `code.json`, and from the vendor's steps, where
`build.json` asks for them, FINN's own folders `bitfile/`, `driver/` and `deploy/` under `finn/`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import finn.xsi
from finn.util.settings import initialize_dummy_settings
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

build = json.loads((Path(sys.argv[1]) / "build.json").read_text())
initialize_dummy_settings()
# FINN's modules ask for Vivado's simulator when they are imported.
if build["vendor"]:
    print("step: xsi", flush=True)
    finn.xsi.ensure_available()  # builds FINN's bridge to it, once, with Vivado's own library
else:
    finn.xsi.SimEngine = type("SimEngine", (), {})

from finn.builder import build_dataflow_steps as steps  # noqa: E402
from finn.builder.build_dataflow_config import (  # noqa: E402
    DataflowBuildConfig,
    DataflowOutputType,
    ShellFlowType,
)

VENDOR_STEPS = (
    steps.step_generate_hardware,
    steps.step_create_stitched_ip,
    steps.step_prepare_synthesis,
    steps.step_synthesize_bitfile,
    steps.step_make_driver,
    steps.step_deployment_package,
)


def generate(folder: Path) -> None:
    """Code generation, which needs no tool of a vendor, and then the steps that do."""
    config = DataflowBuildConfig(
        output_dir=str(folder / "finn"),
        synth_clk_period_ns=1000 / build["clock_mhz"],
        board=build["board"],
        shell_flow_type=ShellFlowType.VIVADO_ZYNQ,
        generate_outputs=[
            DataflowOutputType.STITCHED_IP,
            DataflowOutputType.BITFILE,
            DataflowOutputType.PYNQ_DRIVER,
            DataflowOutputType.DEPLOYMENT_PACKAGE,
        ],
    )
    model = ModelWrapper(str(folder / "final.onnx"))
    print("step: step_hw_codegen", flush=True)
    model = steps.step_hw_codegen(model, config)
    generated = []
    for node in model.graph.node:
        made = Path(getCustomOp(node).get_nodeattr("code_gen_dir_ipgen"))
        names = sorted(path.name for path in made.iterdir())
        shutil.copytree(made, folder / "code" / node.name)
        if not build["vendor"]:
            shutil.rmtree(made)
        generated.append({"node": node.name, "op_type": node.op_type, "files": names})
    (folder / "code.json").write_text(json.dumps(generated, indent=1))
    for step in VENDOR_STEPS if build["vendor"] else ():
        print(f"step: {step.__name__}", flush=True)
        model = step(model, config)


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
