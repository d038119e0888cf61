"""Stages that decide on the hardware and write it: folding and FIFOs, and the RTL."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ..budget import require_rate, require_room, what_binds
from ..emit import emit
from ..estimate import block_resources
from ..fifo_sizing import size_fifos
from ..fifos import load_fifos, save_fifos, with_fifos
from ..folded import FIFO_FILE, FOLDING_FILE
from ..folding import Folding, load_folding, save_folding
from ..folding_target import estimate_of, excesses, folding_for_rate, folding_for_share
from ..graph import Graph
from ..lowering import lower
from ..options import DEFAULT_TARGET_FPS, Options
from ..resources import Resources
from ..synthesis import with_port_blocks
from ..timing import predict
from .context import Flow, read_json, write_json
from .folders import FOLDING, GRAPH, RTL


def choose(flow: Flow) -> None:
    """Folding and FIFOs, and what follows before simulation: cycles and estimated resources."""
    options = flow.options
    config: dict[str, Any] = {"clock_mhz": options.clock_mhz, "board": options.board.name}
    inputs = {"graph": flow.folder(GRAPH)}
    if options.fifo_file is not None:
        inputs["fifos"] = options.fifo_file
    else:
        config["fifo"] = options.fifo
    if options.folding is not None:
        inputs["folding"] = options.folding
    elif options.fit is not None:
        config["fit"] = options.fit
    if options.target_fps is not None:
        config["target_fps"] = options.target_fps
    if options.oversize:
        config["oversize"] = True

    def body(folder: Path) -> None:
        graph = flow.imported.graph
        folding = _folding(options, graph)
        (folder / FOLDING_FILE).write_text(save_folding(folding))
        blocks = lower(graph, folding, options.board.dma_bits)
        if options.fifo_file is not None:
            depths = load_fifos(options.fifo_file, blocks)
        else:
            depths = size_fifos(blocks, minimal=options.fifo == "minimal")
        (folder / FIFO_FILE).write_text(save_fifos(depths))
        blocks = with_fifos(blocks, depths)
        cycles = predict(blocks)
        if options.target_fps is not None:
            require_rate(blocks, cycles, options.target_fps, options.clock_mhz)
        estimated = {block.name: block_resources(block) for block in with_port_blocks(blocks)}
        total = sum(estimated.values(), Resources())
        require_room(excesses(total, options.board), options.board, options.oversize)
        write_json(
            folder / "prediction.json",
            {
                "cycles": asdict(cycles),
                "binds": what_binds(blocks, cycles.interval),
                "block_cycles": {block.name: block.cycles for block in blocks},
                "estimated": {name: asdict(r) for name, r in estimated.items()},
                "total": asdict(total),
            },
        )

    folder = flow.stage(FOLDING, body, config=config, inputs=inputs)
    predicted, board = read_json(folder / "prediction.json"), options.board.name
    fps = options.clock_mhz * 1e6 / predicted["cycles"]["interval"]
    wishes = (options.target_fps, options.fit, options.folding)
    if wishes == (None, None, None) and fps < DEFAULT_TARGET_FPS:
        flow.say(
            f"  note: {fps:,.0f} frames/s at {options.clock_mhz:g} MHz is the fastest found for "
            f"{board}; what binds is {predicted['binds']}"
        )
    for excess in excesses(Resources(**predicted["total"]), options.board):
        flow.say(f"  warning: too large for {board}: {excess}")


def _folding(options: Options, graph: Graph) -> dict[str, Folding]:
    """The given folding, or the one for the given share or rate.

    Without a wish, that for DEFAULT_TARGET_FPS; where the board has no room for it, the fastest one
    that fits.
    """
    if options.folding is not None:
        return load_folding(options.folding, graph)
    share = options.fit
    if share is None:
        interval = int(options.clock_mhz * 1e6 / (options.target_fps or DEFAULT_TARGET_FPS))
        if options.target_fps is None:
            interval = max(1, interval)
        folding = folding_for_rate(graph, interval, options.board.dma_bits)
        used = estimate_of(lower(graph, folding, options.board.dma_bits))
        fits = not excesses(used, options.board)
        if fits or options.target_fps is not None or options.oversize:
            return folding
        share = 1.0
    size = partial(size_fifos, minimal=options.fifo == "minimal")
    return folding_for_share(graph, options.board, share, size)


def write_rtl(flow: Flow) -> None:
    """SystemVerilog and memory files."""

    def body(folder: Path) -> None:
        emit(flow.blocks_as_built(), folder, flow.options.board.dma_bits)

    flow.stage(
        RTL,
        body,
        config={"port_bits": flow.options.board.dma_bits},
        inputs={
            "graph": flow.folder(GRAPH),
            "folding": flow.folder(FOLDING) / FOLDING_FILE,
            "fifos": flow.folder(FOLDING) / FIFO_FILE,
        },
    )
