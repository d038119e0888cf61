"""An accelerator for a frame rate, before any RTL: folding, FIFOs, cycles and estimated size."""

from __future__ import annotations

from dataclasses import dataclass

from .blocks import Block
from .boards import Board
from .estimate import block_resources
from .fifo_sizing import full_interval, size_fifos
from .fifos import with_fifos
from .folding import Folding
from .folding_search import choose_folding
from .graph import Graph
from .lowering import lower
from .resources import Resources
from .synthesis import with_port_blocks
from .timing import Cycles, predict

MOST_TRIES = 10


@dataclass(frozen=True, eq=False)
class Design:
    """What the flow would build: `blocks` with their FIFOs, `cycles` as the exact model of the
    streams has them, `resources` of the whole accelerator as estimated."""

    folding: dict[str, Folding]
    blocks: tuple[Block, ...]
    cycles: Cycles
    resources: Resources
    clock_mhz: float

    @property
    def frames_per_second(self) -> float:
        """Of these cycles at this clock, which nothing has shown to be reached."""
        return self.clock_mhz * 1e6 / self.cycles.interval


def design_for(
    graph: Graph, target_fps: float, board: Board, clock_mhz: float | None = None
) -> Design:
    """The folding and the FIFOs that the flow chooses by itself, and what follows from them.

    Args:
        target_fps: frames a second to reach with the least hardware; above what the network and
            its ports allow, the fastest design.
        clock_mhz: the board's default if not given.

    Raises:
        UserError: more than one frame a clock cycle is asked for.
    """
    clock_mhz = board.clock_mhz if clock_mhz is None else clock_mhz
    folding = folding_for(graph, target_fps, clock_mhz, board.dma_bits)
    bare = lower(graph, folding, board.dma_bits)
    blocks = with_fifos(bare, size_fifos(bare))
    resources = sum((block_resources(block) for block in with_port_blocks(blocks)), Resources())
    return Design(folding, blocks, predict(blocks), resources, clock_mhz)


def folding_for(
    graph: Graph, target_fps: float, clock_mhz: float, port_bits: int
) -> dict[str, Folding]:
    """The cheapest folding found that meets `target_fps`, or comes nearest.

    `choose_folding` counts the beats of every block; one that has to wait for its own first ones
    can need a little more, and is then folded for a little less. FIFOs see to the rest.
    """
    interval = int(clock_mhz * 1e6 / target_fps)
    wanted, best, fewest = interval, {}, float("inf")
    for _ in range(MOST_TRIES):
        folding = choose_folding(graph, wanted, port_bits)
        cycles = full_interval(lower(graph, folding, port_bits))
        if cycles < fewest:
            best, fewest = folding, cycles
        if cycles <= interval or wanted == 1:
            break
        wanted = max(1, min(wanted - 1, int(wanted * interval / cycles)))
    return best
