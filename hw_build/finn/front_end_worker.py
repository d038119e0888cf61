"""FINN's own reading of a QONNX file: `python -m hw_build.finn.front_end_worker FOLDER`.

A process of its own, started by `hw_build.finn.front_end`. It does what FINN's first build step
does (`step_qonnx_to_finn`: clean up, convert), and runs the converted graph as FINN verifies it:
node by node, in float32.

FOLDER holds `model.onnx` and `inputs.npy`, (N, ...) as the model takes them. Written there:
`cleaned.onnx` and `converted.onnx`, the graph before and after FINN's conversion; `tensors.npz`,
of the converted graph: what its quantisers make, what they round, and the scores, (N, ...) float32;
and last `worker.json`.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import finn.xsi
import numpy as np
from onnx.helper import tensor_dtype_to_np_dtype
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.cleanup import cleanup_model

from hw_build.finn.quantisers import quantisers_of, rounded_by, scores_of

finn.xsi.SimEngine = type("SimEngine", (), {})  # before the import below asks Vivado for it

from finn.transformation.qonnx.convert_qonnx_to_finn import ConvertQONNXtoFINN  # noqa: E402

MOST_LETTERS = 300
FRAMES_AT_ONCE = 10
"""qonnx loads every node anew each time: frame by frame takes ten times as long. More would need
much memory, for MultiThreshold compares every value with every threshold at once."""


def run_worker(folder: Path) -> None:
    """Everything from the model in `folder` to `worker.json`."""
    refused = None
    try:
        convert_and_run(folder)
    except RefusalError as refusal:
        refused = str(refusal)
    (folder / "worker.json").write_text(json.dumps({"refused": refused}))


def convert_and_run(folder: Path) -> None:
    """From the model in `folder` to `tensors.npz`, as far as FINN takes it."""
    with finn_step("cleanup_model"):
        model = ModelWrapper(str(folder / "model.onnx"))
        dims = model.graph.input[0].type.tensor_type.shape.dim
        if dims and dims[0].dim_value != 1:
            model = model.transform(ChangeBatchSize(1))
        model = cleanup_model(model)
    model.save(str(folder / "cleaned.onnx"))
    quantised = [each.tensor for each in quantisers_of(model.model)]
    with finn_step("ConvertQONNXtoFINN"):
        model = copy.deepcopy(model).transform(ConvertQONNXtoFINN())
    model.save(str(folder / "converted.onnx"))
    inputs = np.load(folder / "inputs.npy")
    rounded = [rounded_by(model.model, tensor) for tensor in quantised]
    compared = [*quantised, *rounded, scores_of(model.model)]
    with finn_step("execute_onnx", "converted, but not executed"):
        tensors = execute(model, inputs, compared)
    np.savez(folder / "tensors.npz", **tensors)


class RefusalError(Exception):
    """FINN does not take the file; its own words."""


@contextmanager
def finn_step(step: str, failure: str = "not converted") -> Iterator[None]:
    """A step of FINN's, said in the log; whatever FINN raises in it is its answer to the file."""
    print(f"step: {step}", flush=True)
    try:
        yield
    except Exception as error:
        words = str(error).strip().splitlines() or ["no word"]
        text = f"{failure}: {step}: {type(error).__name__}: {words[0]}"
        raise RefusalError(text[:MOST_LETTERS]) from error


def execute(
    model: ModelWrapper, inputs: np.ndarray, tensors: Sequence[str]
) -> dict[str, np.ndarray]:
    """Of these tensors, those that the graph still has, (N, ...) for inputs (N, ...)."""
    graph_input = model.graph.input[0]
    dtype = tensor_dtype_to_np_dtype(graph_input.type.tensor_type.elem_type)
    n_frames = next(n for n in range(FRAMES_AT_ONCE, 0, -1) if len(inputs) % n == 0)
    if n_frames > 1:
        model = model.transform(ChangeBatchSize(n_frames)).transform(InferShapes())
    known = {graph_input.name, *(name for node in model.graph.node for name in node.output)}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in tensors if name in known}
    for start in range(0, len(inputs), n_frames):
        frames = inputs[start : start + n_frames].astype(dtype)
        context = execute_onnx(model, {graph_input.name: frames}, return_full_exec_context=True)
        for name, arrays in parts.items():
            arrays.append(context[name])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


if __name__ == "__main__":
    run_worker(Path(sys.argv[1]))
