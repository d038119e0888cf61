"""The software executors held against each other in batches that fit in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx_zoo import ZOO

from deploy.errors import GateError
from hw_build import executors
from hw_build.executors import check_software, scores_layer
from hw_build.golden import execute
from hw_build.graph_file import Imported
from hw_build.importer import import_qonnx
from hw_build.vectors import Vectors

N = 23


@pytest.fixture
def network(tmp_path: Path) -> tuple[Imported, Path, Vectors]:
    """A network, its file, and all that PyTorch may know of it: more activations than a batch."""
    path = tmp_path / "model.onnx"
    onnx.save(ZOO["brevitas_w2a2"]().model, path)
    imported = import_qonnx(path)
    graph = imported.graph
    inputs = imported.quantiser.random_inputs(N, 1)
    integers = execute(graph, imported.quantiser(inputs))
    known = {meaning.tensor: integers[name][:9] for name, meaning in graph.meanings.items()}
    vectors = Vectors(
        inputs,
        N,
        "a test",
        activations=known,
        torch_integers=integers[scores_layer(graph)],
        torch_inputs=integers[graph.input.name],
    )
    return imported, path, vectors


def in_batches_of(frames: int, imported: Imported, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {name: info.shape for name, info in imported.graph.infer().items()}
    of_a_frame = sum(int(np.prod(shapes[name])) for name in imported.graph.meanings)
    monkeypatch.setattr(executors, "MOST_VALUES", frames * of_a_frame)


def test_batches_change_nothing(network, monkeypatch: pytest.MonkeyPatch) -> None:
    imported, path, vectors = network
    whole = check_software(imported, path, vectors)
    assert [gate.vectors for gate in whole.gates] == [N, N, 9, N]
    in_batches_of(4, imported, monkeypatch)
    seen: list[tuple[int, int]] = []
    batched = check_software(imported, path, vectors, lambda *counts: seen.append(counts))
    assert seen == [(done, N) for done in (4, 8, 12, 16, 20, N)]
    assert batched.gates == whole.gates
    assert (batched.ties, batched.constant_channels) == (whole.ties, whole.constant_channels)
    assert (batched.scores == whole.scores).all()
    assert (batched.oracle_scores == whole.oracle_scores).all()


@pytest.mark.parametrize(("what", "frame"), [("scores", 17), ("input", 22), ("activations", 8)])
def test_a_difference_is_named_by_its_frame_among_all(
    what: str, frame: int, network, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported, path, vectors = network
    in_batches_of(4, imported, monkeypatch)
    if what == "activations":
        tensor, array = list(vectors.activations.items())[1]
        array[frame, 2] += 1
        broken = replace(vectors, activations={**vectors.activations, tensor: array})
    else:
        name = {"scores": "torch_integers", "input": "torch_inputs"}[what]
        array = getattr(vectors, name).copy()
        array[frame, 2] += 1
        broken = replace(vectors, **{name: array})
    with pytest.raises(GateError, match=rf"(?s){what}.*frame {frame}, channel 2"):
        check_software(imported, path, broken)


def test_results_of_other_frames_are_refused(network) -> None:
    imported, path, vectors = network
    short = replace(vectors, torch_integers=vectors.torch_integers[:-1])
    with pytest.raises(GateError, match=r"(?s)another number of frames.*found: +22.*expected: +23"):
        check_software(imported, path, short)
