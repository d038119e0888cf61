"""A compiled network, and how it is kept in a folder: graph.json to read, weights.npz beside it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.errors import UserError
from hw_build.graph import Graph, Meaning
from hw_build.input_quantiser import InputQuantiser
from hw_build.layer_file import layer_from_json, layer_to_json

SCHEMA = 4
"""Raised by one whenever an older reader would misread the files."""

GRAPH_FILE, WEIGHTS_FILE = "graph.json", "weights.npz"


@dataclass(frozen=True, eq=False)
class Imported:
    """A QONNX network as the flow knows it.

    Attributes:
        graph: the integers, from the host's to the scores or the class.
        quantiser: what the host does first, from the model's input to the graph's.
        input_shape: the model's input without the batch.
        host_tail: QONNX operators after the graph's output, which the host finishes.
        notes: what a reader of the report should know, one sentence each.
    """

    graph: Graph
    quantiser: InputQuantiser
    input_shape: tuple[int, ...]
    host_tail: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def save(imported: Imported, folder: Path) -> None:
    """Writes graph.json and weights.npz into `folder`, which is made if need be.

    The same network gives the same bytes. Arrays are stored in the narrowest type that holds
    them and come back as the types that the graph documents.
    """
    arrays: dict[str, np.ndarray] = {}
    graph = imported.graph
    document = {
        "schema": SCHEMA,
        "input_shape": list(imported.input_shape),
        "quantiser": imported.quantiser.to_json(),
        "layers": [layer_to_json(layer, arrays) for layer in graph.layers],
        "meanings": {
            name: {
                "tensor": meaning.tensor,
                "scale": _real_to_json(meaning.scale, f"{name}.scale", arrays),
                "offset": _real_to_json(meaning.offset, f"{name}.offset", arrays),
                "channels_first": meaning.channels_first,
            }
            for name, meaning in graph.meanings.items()
        },
        "host_tail": list(imported.host_tail),
        "notes": list(imported.notes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (folder / GRAPH_FILE).write_text(text, encoding="utf-8")
    np.savez(folder / WEIGHTS_FILE, **arrays)


def load(folder: Path) -> Imported:
    """The inverse of `save`. UserError names the file and the key that is wrong."""
    document = _read_json(folder / GRAPH_FILE)
    arrays = _read_arrays(folder / WEIGHTS_FILE)
    where = str(folder / GRAPH_FILE)
    try:
        layers = tuple(layer_from_json(fields, arrays) for fields in document["layers"])
        meanings = {
            name: Meaning(
                fields["tensor"],
                _real_from_json(fields["scale"], arrays),
                _real_from_json(fields["offset"], arrays),
                bool(fields["channels_first"]),
            )
            for name, fields in document["meanings"].items()
        }
        graph = Graph(layers, meanings)
        graph.infer()
        return Imported(
            graph,
            InputQuantiser.from_json(document["quantiser"]),
            tuple(int(n) for n in document["input_shape"]),
            tuple(document["host_tail"]),
            tuple(document["notes"]),
        )
    except KeyError as error:
        raise _damaged(where, f"no entry {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _damaged(where, str(error)) from error


def _damaged(where: str, found: str) -> UserError:
    return UserError(
        "the graph's files don't fit together",
        where=where,
        found=found,
        expected=f"{GRAPH_FILE} and {WEIGHTS_FILE} as one run wrote them",
        fix="compile the network again",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("there is no compiled graph", where=str(path)) from error
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise _damaged(str(path), str(error)) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise UserError(
            "the compiled graph is of another version",
            where=str(path),
            found=f"schema {found}",
            expected=f"schema {SCHEMA}",
            fix="compile the network again",
        )
    return document


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise UserError("the graph's weights are missing", where=str(path)) from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise _damaged(str(path), str(error)) from error


def _real_to_json(values: np.ndarray, key: str, arrays: dict[str, np.ndarray]) -> float | str:
    """A scalar as a number (its shortest exact text), a vector as its key in the archive."""
    values = np.asarray(values, np.float64)
    if values.ndim == 0:
        return float(values)
    arrays[key] = values
    return key


def _real_from_json(value: float | str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return arrays[value] if isinstance(value, str) else np.asarray(float(value))
