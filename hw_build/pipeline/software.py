"""Stages in software alone: the integer graph, and the gates that it computes the network."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .. import graph_file
from ..executors import check_software, classes_of
from ..importer import import_qonnx
from ..progress import progress
from ..vectors import integers_of
from ..writable import onto, writable
from .context import Flow, hardware_of, write_json
from .folders import GOLDEN, GRAPH, HARDWARE


def make_graph(flow: Flow) -> None:
    """QONNX to the integer graph."""
    options = flow.options
    # Where neither the file nor --input-type says what integers the input takes, X.npy may.
    seen = integers_of(options.inputs) if options.inputs and not options.input_type else None

    def body(folder: Path) -> None:
        imported = import_qonnx(options.model, options.output, options.input_type, seen)
        if options.onto is not None:
            hardware = graph_file.load(hardware_of(options.onto / GRAPH))
            graph_file.save(hardware, folder / HARDWARE)
            graph = onto(imported.graph, hardware.graph, str(options.onto))
            imported = replace(imported, graph=graph)
        elif options.writable:
            imported = replace(imported, graph=writable(imported.graph))
        graph_file.save(imported, folder)

    config = {"output": options.output, "input_type": options.input_type, "seen_type": seen}
    inputs = {"model": options.model}
    if options.writable:
        config["writable"] = True
    if options.onto is not None:
        inputs["onto"] = options.onto / GRAPH
    flow.stage(
        GRAPH,
        body,
        config=config,
        inputs=inputs,
        tools={"onnx": version("onnx"), "qonnx": version("qonnx")},
    )


def check_golden(flow: Flow) -> None:
    """PyTorch = float64 QONNX oracle = golden model, on all vectors."""

    def body(folder: Path) -> None:
        imported = flow.imported
        vectors = flow.vectors(imported)
        with progress("float64 oracle and golden model, frames") as show:
            checked = check_software(imported, flow.options.model, vectors, show)
        graph, n = imported.graph, vectors.n_own
        accuracies = {}
        if vectors.labels is not None:
            for name, scores in (
                ("oracle", checked.oracle_scores),
                ("golden", checked.scores),
            ):
                classes = classes_of(graph, scores)[:n]
                accuracies[name] = float((classes == vectors.labels).mean())
        np.savez(
            folder / "golden.npz",
            inputs=checked.integers,
            n_own=n,
            oracle=checked.oracle_scores,
            golden=checked.scores,
            **({"labels": vectors.labels} if vectors.labels is not None else {}),
        )
        write_json(
            folder / "gates.json",
            {
                "gates": [asdict(gate) for gate in checked.gates],
                "accuracies": accuracies,
                "origin": vectors.origin,
                "n_own": n,
                "n_vectors": len(vectors.inputs),
                "constant_channels": checked.constant_channels,
                "argmax_ties": checked.ties,
                "float32_differs": vectors.float32_differs,
                "class_names": vectors.class_names,
            },
        )

    flow.stage(
        GOLDEN,
        body,
        inputs={"graph": flow.folder(GRAPH), "model": flow.options.model, **flow.vector_files},
        seed=flow.options.seed,
        tools={"numpy": version("numpy")},
    )
