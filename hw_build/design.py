"""An accelerator for a frame rate, before any RTL: folding, FIFOs, cycles and estimated size."""

from __future__ import annotations

from dataclasses import dataclass

from .blocks import Block
from .boards import Board
from .fifo_sizing import size_fifos
from .fifos import with_fifos
from .folding import Folding
from .folding_target import estimate_of, folding_for_rate
from .graph import Graph
from .lowering import lower
from .resources import Resources
from .timing import Cycles, predict


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
    folding = folding_for_rate(graph, int(clock_mhz * 1e6 / target_fps), board.dma_bits)
    bare = lower(graph, folding, board.dma_bits)
    blocks = with_fifos(bare, size_fifos(bare))
    return Design(folding, blocks, predict(blocks), estimate_of(blocks), clock_mhz)
