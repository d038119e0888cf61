"""The gate between the golden model and the RTL: every integer on every stream.

Layers have streams of their own; between them stand converters, whose streams carry a layer's
integers in other beats. All are compared, so that a fault in a converter can't hide behind weights
that happen to be zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deploy.errors import GateError

from .blocks import Block, inner_streams
from .gates import GateResult, compare_layers
from .golden import execute
from .graph import Flatten, Graph
from .simulator import SimulationResult, Simulator, Stalls
from .timing import predicted_ends


def carried_layers(blocks: tuple[Block, ...]) -> dict[str, str]:
    """By the name of each stream, in stream order: the layer whose integers it carries.

    Between the parts of a concatenation of more than two tensors runs one that is no layer's.
    """
    return {stream.name: stream.layer for stream in inner_streams(blocks) if stream.layer}


@dataclass(frozen=True, eq=False)
class RtlGate:
    """The integers that every stream has to carry for `inputs`, by stream, in stream order.

    `start` is the number of the first input, where these are some of many.
    """

    inputs: np.ndarray
    expected: dict[str, np.ndarray]
    start: int = 0

    @classmethod
    def of(
        cls, graph: Graph, blocks: tuple[Block, ...], inputs: np.ndarray, start: int = 0
    ) -> RtlGate:
        """Asks the golden model."""
        carried = carried_layers(blocks)
        golden = execute(graph, inputs, keep=set(carried.values()))
        return cls(inputs, {stream: golden[layer] for stream, layer in carried.items()}, start)

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
        passed = compare_layers(name, expected, result.layers, list(expected), self.start)
        return result, passed


MOST_BYTES = 1 << 29
"""Of recorded beats, and of the integers they are compared with, at a time."""


@dataclass(frozen=True, eq=False)
class RtlCheck:
    """What a whole batch's gate found: the integers of one layer, the first transfer's cycles."""

    integers: np.ndarray
    first: SimulationResult
    cycles: int
    passed: GateResult


def check_batch(
    model: Simulator,
    graph: Graph,
    blocks: tuple[Block, ...],
    inputs: np.ndarray,
    layer: str,
    *,
    stalls: Stalls | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RtlCheck:
    """The gate on any number of inputs, in as few transfers as memory allows.

    Args:
        layer: the layer whose integers are returned, (N, ...), as the RTL put them out.

    Raises:
        GateError: as `RtlGate.check`.
    """
    n, step = len(inputs), frames_at_a_time(blocks)
    stream = _stream_of(layer, graph, blocks)
    parts: list[np.ndarray] = []
    first, cycles = None, 0
    for start in range(0, n, step):
        gate = RtlGate.of(graph, blocks, inputs[start : start + step], start)

        def show(done: int, _: int, start: int = start) -> None:
            if progress is not None:
                progress(start + done, n)

        result, passed = gate.check(model, stalls=stalls, progress=show)
        parts.append(result.layers[stream])
        first, cycles = first or result, cycles + result.cycles
    integers = np.concatenate(parts).reshape(n, *graph.infer()[layer].shape)
    return RtlCheck(integers, first, cycles, GateResult(passed.name, n))


def check_cycles(blocks: tuple[Block, ...], result: SimulationResult) -> GateResult:
    """The gate between the exact model of the streams and the RTL: when every frame left.

    `result` is an accelerator's first transfer, without stalls. Frames that the model neither
    follows nor knows to repeat themselves are not compared.

    Raises:
        GateError: the first frame that left in another cycle than predicted.
    """
    expected = predicted_ends(blocks, len(result.frame_ends))
    found = result.frame_ends[: len(expected)]
    if (found != expected).any():
        frame = int(np.argmax(found != expected))
        raise GateError(
            "the simulated cycles are not the predicted ones",
            where=f"frame {frame} of the first transfer",
            found=f"its last beat left {found[frame]:,} cycles after the first was offered",
            expected=f"{expected[frame]:,} cycles, by the exact model of the streams",
        )
    return GateResult("cycle model = RTL, when frames leave", len(expected))


def _stream_of(layer: str, graph: Graph, blocks: tuple[Block, ...]) -> str:
    """The first stream that carries a layer's integers; a Flatten is a view of its source's."""
    while isinstance(flat := graph[layer], Flatten):
        layer = flat.source
    return next(name for name, carried in carried_layers(blocks).items() if carried == layer)


def frames_at_a_time(blocks: tuple[Block, ...]) -> int:
    """Frames whose beats and integers take at most `MOST_BYTES`, all streams recorded."""
    of_a_frame = sum(
        stream.beats * -(-stream.width // 32) * 4 + stream.vectors * stream.n * 4
        for stream in inner_streams(blocks)
    )
    return max(1, MOST_BYTES // of_a_frame)
