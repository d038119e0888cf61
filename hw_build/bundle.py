"""Makes bundle.zip from a run: the manifest, golden vectors, hardware if there is, the driver.

The same run gives the same bytes. What reads it is `deploy.bundle`; the form is in docs/board.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import deploy
from deploy.bundle import BITSTREAM, HANDOFF, INPUTS, LABELS, MANIFEST, MEMORIES, OUTPUTS
from deploy.manifest import Manifest, Member

from .blocks import Block, memories_of, ports
from .boards import Board
from .emit import identity_of
from .executors import scores_layer
from .golden import execute
from .graph import ArgMax, TopK
from .graph_file import Imported
from .lower_streams import flat

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every member, so that a bundle's bytes depend on its content alone."""


def write_bundle(
    path: Path,
    *,
    imported: Imported,
    blocks: tuple[Block, ...],
    board: Board,
    clock_mhz: float,
    rtl: Path,
    inputs: np.ndarray,
    labels: np.ndarray | None,
    class_names: tuple[str, ...] | None,
    simulated: Mapping[str, float],
    hashes: Mapping[str, str],
    versions: Mapping[str, str],
    hardware: Path | None = None,
) -> Manifest:
    """Writes the bundle and returns its manifest.

    Args:
        inputs: golden inputs, integers (N, n); the golden model gives their outputs.
        labels: classes of the first inputs, or None.
        simulated: `interval`, `latency` in cycles and `accuracy` (or None), of the RTL.
        hashes, versions: as the manifest shows them.
        hardware: a folder with accelerator.bit and accelerator.hwh, if they were built.
    """
    graph = imported.graph
    outputs = execute(graph, inputs, keep=[graph.output.name])[graph.output.name]
    sent, received = (flat(stream).packing(board.dma_bits) for stream in ports(blocks))
    files = {
        INPUTS: npy_bytes(inputs.reshape(len(inputs), -1).astype(sent.dtype)),
        OUTPUTS: npy_bytes(outputs.reshape(len(outputs), -1)),
        **driver_files(),
    }
    if labels is not None:
        files[LABELS] = npy_bytes(labels.astype(np.int64))
    memories = memories_of(blocks)
    if memories.contents:
        files[MEMORIES] = npy_bytes(memories.to_flat())
    if hardware is not None:
        for name in (BITSTREAM, HANDOFF):
            files[name] = (hardware / Path(name).name).read_bytes()
    kind = {ArgMax: "class", TopK: "classes"}.get(type(graph.output), "scores")
    meaning = graph.meanings[scores_layer(graph)]
    manifest = Manifest(
        identity=identity_of(rtl),
        board=board.name,
        part=board.part,
        clock_mhz=clock_mhz,
        mover="axi_dma",
        input=sent,
        output=received,
        quantiser=imported.quantiser.to_json(),
        output_meaning={
            "kind": kind,
            "scale": np.asarray(meaning.scale).tolist() if kind == "scores" else 1.0,
            "offset": np.asarray(meaning.offset).tolist() if kind == "scores" else 0.0,
            "class_names": None if class_names is None else list(class_names),
            "n_pixels": math.prod(outputs.shape[1:-1]),
        },
        interval_cycles=simulated["interval"],
        latency_cycles=int(simulated["latency"]),
        accuracy=simulated["accuracy"],
        hashes=hashes,
        versions=versions,
        members=members_of(files),
        memories=[content.shape for content in memories.contents],
    )
    write_members(path, manifest, files)
    return manifest


def members_of(files: Mapping[str, bytes]) -> dict[str, Member]:
    """What the manifest says of these files."""
    return {
        name: Member(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()
    }


def write_members(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Writes the zip: the manifest, then its members; the same ones give the same bytes."""
    text = json.dumps(manifest.to_json(), indent=1, allow_nan=False) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in [(MANIFEST, text.encode()), *sorted(files.items())]:
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def driver_files() -> dict[str, bytes]:
    """The sources of `deploy/`, by their paths in a bundle."""
    folder = Path(deploy.__file__).parent
    return {f"deploy/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.py"))}


def npy_bytes(array: np.ndarray) -> bytes:
    """The bytes of an .npy file of version 1, little endian."""
    file = io.BytesIO()
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    np.lib.format.write_array(file, little, version=(1, 0), allow_pickle=False)
    return file.getvalue()
