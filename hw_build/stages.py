"""The flow from QONNX to a report, as a literal list of stages that meet in files.

Each stage reads what earlier ones wrote, and is skipped when nothing it depends on has changed:
its options, its inputs, its tools, and this package's own sources.
"""

from __future__ import annotations

from collections.abc import Callable

from .options import STAGE_NAMES
from .pipeline.bitstream import build_bitstream
from .pipeline.board import check_on_virtual_board, make_bundle
from .pipeline.context import Flow
from .pipeline.hardware import choose, write_rtl
from .pipeline.report import report
from .pipeline.simulation import simulate, synthesise_blocks
from .pipeline.software import check_golden, make_graph

STAGES: dict[str, Callable[[Flow], None]] = {
    "graph": make_graph,
    "golden": check_golden,
    "folding": choose,
    "rtl": write_rtl,
    "simulation": simulate,
    "synthesis": synthesise_blocks,
    "bitstream": build_bitstream,
    "bundle": make_bundle,
    "board": check_on_virtual_board,
    "report": report,
}
"""The pipeline, in order."""

assert tuple(STAGES) == STAGE_NAMES
