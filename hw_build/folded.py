"""The blocks of a run, as its folding stage has decided on them."""

from __future__ import annotations

from pathlib import Path

from .blocks import Block
from .fifos import load_fifos, with_fifos
from .folding import load_folding
from .graph import Graph
from .lowering import lower

FOLDING_FILE, FIFO_FILE = "folding.json", "fifos.json"


def load_blocks(folder: Path, graph: Graph, port_bits: int) -> tuple[Block, ...]:
    """The graph's blocks with the folding and the FIFOs in a folding stage's folder."""
    blocks = lower(graph, load_folding(folder / FOLDING_FILE, graph), port_bits)
    return with_fifos(blocks, load_fifos(folder / FIFO_FILE, blocks))
