"""The gate between the golden model and the RTL: every integer on every stream.

Layers have streams of their own; between them stand converters, whose streams carry a layer's
integers in other beats. All are compared, so that a fault in a converter can't hide behind weights
that happen to be zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .blocks import Block, inner_streams
from .gates import GateResult, compare_layers
from .golden import execute
from .graph import Graph
from .simulator import SimulationResult, Simulator, Stalls


def carried_layers(blocks: tuple[Block, ...]) -> dict[str, str]:
    """By the name of each stream, in stream order: the layer whose integers it carries.

    Between the parts of a concatenation of more than two tensors runs one that is no layer's.
    """
    return {stream.name: stream.layer for stream in inner_streams(blocks) if stream.layer}


@dataclass(frozen=True, eq=False)
class RtlGate:
    """The integers that every stream has to carry for `inputs`, by stream, in stream order."""

    inputs: np.ndarray
    expected: dict[str, np.ndarray]

    @classmethod
    def of(cls, graph: Graph, blocks: tuple[Block, ...], inputs: np.ndarray) -> RtlGate:
        """Asks the golden model."""
        carried = carried_layers(blocks)
        golden = execute(graph, inputs, keep=set(carried.values()))
        return cls(inputs, {stream: golden[layer] for stream, layer in carried.items()})

    def check(
        self,
        model: Simulator,
        n: int | None = None,
        stalls: Stalls | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[SimulationResult, GateResult]:
        """Simulates the first `n` inputs (all by default) and compares all that passed.

        Under `stalls`, the AXI4-Stream rules are checked too.

        Raises:
            GateError: the simulation stops, or the first differing stream, index, expected and got.
        """
        name = "golden model = RTL" + (" under random stalls" if stalls else " (Verilator)")
        result = model.run(
            self.inputs[:n],
            record=list(self.expected),
            stalls=stalls,
            check_protocol=stalls is not None,
            progress=progress,
        )
        expected = {stream: integers[:n] for stream, integers in self.expected.items()}
        return result, compare_layers(name, expected, result.layers, list(expected))
