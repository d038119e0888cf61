"""What every stage is given: one run of the flow, its options and its folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.run_directory import RunDirectory
from deploy.terminal import say

from .. import graph_file
from ..folded import load_blocks
from ..graph_file import Imported
from ..options import Options
from ..source_digest import source_digest
from ..vectors import Vectors, exported_vectors, given_vectors
from .folders import FOLDING, GRAPH, HARDWARE


@dataclass(frozen=True)
class Flow:
    """One run of the flow: its options and its run directory."""

    options: Options
    run: RunDirectory
    say: Callable[[str], None] = say

    def stage(
        self,
        name: str,
        body: Callable[[Path], None],
        *,
        config: dict[str, Any] | None = None,
        inputs: dict[str, Path] | None = None,
        tools: dict[str, str] | None = None,
        seed: int | None = None,
        resumable: bool = False,
    ) -> Path:
        """Runs or skips one stage of this flow."""
        return self.run.run_stage(
            name,
            config=config or {},
            inputs=inputs or {},
            tools={"hw_build": source_digest(), **(tools or {})},
            body=body,
            seed=seed,
            resumable=resumable,
            say=self.say,
        )

    def folder(self, name: str) -> Path:
        """The folder of an earlier stage."""
        return self.run.path / name

    @property
    def imported(self) -> Imported:
        return graph_file.load(self.folder(GRAPH))

    def vectors(self, imported: Imported) -> Vectors:
        """The inputs of the gates: the run's test set, or the user's, or random ones."""
        options = self.options
        if options.vectors is not None and options.inputs is None:
            return exported_vectors(options.vectors, imported.input_shape)
        return given_vectors(options.inputs, imported.quantiser, options.seed)

    @property
    def vector_files(self) -> dict[str, Path]:
        """The file that the inputs come from, as an input of a stage."""
        path = self.options.inputs or self.options.vectors
        return {"inputs": path} if path is not None else {}

    def blocks(self, imported: Imported):
        """The accelerator's blocks, from the graph, the folding and the FIFOs of this run."""
        return load_blocks(self.folder(FOLDING), imported.graph, self.options.board.dma_bits)

    def blocks_as_built(self):
        """The same with the memories that the hardware comes with, before the host writes any."""
        return self.blocks(graph_file.load(hardware_of(self.folder(GRAPH))))


def hardware_of(folder: Path) -> Path:
    """In a graph stage's folder: the graph that the hardware is built from."""
    other = folder / HARDWARE
    return other if other.is_dir() else folder


def read_json(path: Path) -> dict[str, Any]:
    """What an earlier stage left in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Leaves a JSON file for later stages."""
    path.write_text(json.dumps(content, indent=1) + "\n")
