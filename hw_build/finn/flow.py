"""Our integer graph through FINN+: executed and compared exactly, estimated by FINN's own formulas.

`run_finn` writes the graph in FINN's dialect, has FINN's build steps run on it in a process of
their own (`hw_build.finn.worker`), compares FINN's execution with the golden integers, and returns
what FINN estimates. qonnx is imported here; finn itself only by the worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from deploy.errors import GateError, MachineError, UserError
from hw_build.finn.dialect import FinnModel, to_finn
from hw_build.finn.folding import Folding, cycles_per_frame, folding_refusal
from hw_build.finn.result import FinnResult, build_result
from hw_build.graph import Graph, Window

PACKAGE = "finn-plus"
PRODUCTS = ("worker.json", "outputs.npz", "final.onnx", "folding.json", "finn.json")


def run_finn(
    graph: Graph,
    inputs: np.ndarray,
    expected: dict[str, np.ndarray],
    folder: Path,
    *,
    part: str,
    clock_mhz: float,
    folding: Folding | None = None,
    target_fps: float | None = None,
    standalone_thresholds: bool = False,
) -> FinnResult:
    """Run FINN on `graph`, compare it with `expected`, and write `folder/finn.json`.

    Args:
        graph: a chain of layers on vectors and images.
        inputs: (N, C) or (N, H, W, C) integers as the graph's Input takes them.
        expected: golden integers (N, *layer's shape) by layer name. The output has to be there; of
            the others those are compared that FINN keeps as a tensor, which a MatVec is not where
            it is fused with its Threshold. Windows show in what is made of them.
        folder: takes the job, FINN's files and `log.txt`; made if absent.
        part: the FPGA part, as in `hw_build.boards`.
        folding: PE and SIMD of every MatVec, and of other layers that have them. Where FINN can't
            take it, or it is None, FINN folds for `target_fps` (None: the frame rate of `folding`;
            without one, PE = SIMD = 1).
        standalone_thresholds: keep thresholds apart from matrix-vector units, which lets FINN use
            its DSP-based RTL unit where weights and activations have 4 bits or more.

    Raises:
        UserError: a graph that FINN's dialect or FINN itself does not take.
        MachineError: finn-plus or a package that it needs is missing, or the process was killed.
        GateError: FINN's integers differ from the golden ones, or leave the type FINN gave them.
    """
    if graph.output.name not in expected or not len(inputs):
        raise ValueError("run_finn compares the graph's output on at least one input")
    require_finn()
    model = to_finn(graph, standalone_thresholds=standalone_thresholds)
    refusal = folding_refusal(graph, folding)
    if refusal and folding and target_fps is None:
        target_fps = clock_mhz * 1e6 / cycles_per_frame(graph, folding)
    compared = [
        layer.name for layer in graph if layer.name in expected and not isinstance(layer, Window)
    ]
    job = {
        "part": part,
        "clock_mhz": clock_mhz,
        "folding": None if refusal else folding,
        "target_fps": max(1, int(target_fps)) if refusal and target_fps else None,
        "standalone_thresholds": standalone_thresholds,
        "windows": model.windows,
        "compared": compared,
    }
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in PRODUCTS:
        (folder / name).unlink(missing_ok=True)
    (folder / "job.json").write_text(json.dumps(job, indent=1))
    model.model.save(str(folder / "dialect.onnx"))
    np.save(folder / "inputs.npy", model.carried[graph.input.name].encode(inputs))
    start = time.perf_counter()
    run_process("hw_build.finn.worker", folder)
    seconds = time.perf_counter() - start
    report = json.loads((folder / "worker.json").read_text())
    for overflow in report["overflows"]:
        raise GateError(
            "FINN gave a tensor a type that does not hold its values",
            where=f"layer {overflow['tensor']}, index {overflow['index']}",
            found=f"{overflow['value']:g}",
            expected=f"a value of type {overflow['type']}",
        )
    with np.load(folder / "outputs.npz") as outputs:
        compared = _compare(graph, model, expected, dict(outputs))
    report["seconds"]["whole_process"] = round(seconds, 3)
    result = build_result(job, report, refusal or "as given", compared, len(inputs))
    (folder / "finn.json").write_text(result.to_json())
    return result


def require_finn() -> None:
    """MachineError unless finn-plus is installed; its import is left to the worker."""
    try:
        version(PACKAGE)
    except PackageNotFoundError as error:
        raise MachineError(
            "FINN is not installed",
            found=f"no package {PACKAGE} in {sys.prefix}",
            expected=f"{PACKAGE}, which `import finn` comes from",
            fix="run `make setup`",
        ) from error


def run_process(
    module: str, folder: Path, log_name: str = "log.txt", keep: tuple[str, ...] = ()
) -> None:
    """Run a module that imports FINN on `folder`, with all that it prints in `log_name` there.

    FINN's own variables and the vendor's are hidden from it, but for those that begin as `keep`
    says. Whatever FINN, torch or their libraries leave in a home or temporary directory goes into
    one under `folder` that is removed with the process.
    """
    command = [sys.executable, "-m", module, str(folder)]
    log = folder / log_name
    with tempfile.TemporaryDirectory(dir=folder) as scratch, log.open("w") as stream:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FINN_", "XILINX_")) or (keep and name.startswith(keep))
        }
        environment |= {
            "FINN_BUILD_DIR": str(folder / "finn"),
            "FINN_SETTINGS": str(Path(scratch) / "settings.yaml"),
            "HOME": scratch,
            "TMPDIR": scratch,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "SANITIZE_QUANT_TENSORS": "0",  # qonnx rounds nothing on the quiet, and is faster
        }
        done = subprocess.run(
            command, cwd=scratch, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
    if done.returncode:
        raise _failure(done.returncode, log)


def _failure(returncode: int, log: Path) -> MachineError | UserError:
    """The error for a worker that ended with `returncode`, from the last lines it wrote."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    begun = [line.removeprefix("step: ") for line in lines if line.startswith("step: ")]
    where = begun[-1] if begun else "its start"
    last = lines[-1] if lines else "no word"
    if returncode < 0:
        found = f"signal {-returncode}"
        return MachineError(f"FINN was killed in {where}", found=found, fix=f"see {log}")
    if last.startswith(("ModuleNotFoundError", "ImportError")):
        return MachineError("a package that FINN needs is missing", found=last, fix="`make setup`")
    return UserError(f"FINN stopped in {where}", found=last, fix=f"see {log}")


def _compare(
    graph: Graph,
    model: FinnModel,
    expected: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
) -> list[str]:
    """Names of the layers that FINN yields and that equal `expected`, or GateError."""
    compared = []
    for layer in graph:
        carried = model.carried[layer.name]
        if layer.name not in expected or carried.tensor not in outputs:
            continue
        found = carried.decode(outputs[carried.tensor])
        right = expected[layer.name]
        if found.shape != right.shape:
            raise ValueError(f"{layer.name}: expected {right.shape}, FINN yields {found.shape}")
        if (found != right).any():
            index = tuple(np.argwhere(found != right)[0].tolist())
            n_wrong = np.count_nonzero(found != right)
            raise GateError(
                "FINN's execution differs from the golden integers",
                where=f"layer {layer.name}, index {index}",
                found=f"{found[index]}; {n_wrong} of {found.size} integers of this layer differ",
                expected=str(right[index]),
            )
        compared.append(layer.name)
    if graph.output.name not in compared:
        raise GateError(
            "FINN's graph does not yield the output", where=f"layer {graph.output.name}"
        )
    return compared
