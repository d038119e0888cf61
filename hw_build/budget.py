"""Whether an accelerator meets what was asked of it, said before any RTL is written."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from deploy.errors import UserError

from .blocks import Block, ports
from .boards import Board
from .folding_target import Excess
from .timing import Cycles


def busy_all_the_time(blocks: Sequence[Block], interval: float) -> list[str]:
    """The ports and the blocks, by name, that are busy in every cycle of the interval."""
    ends = zip(("input port", "output port"), ports(tuple(blocks)), strict=True)
    busy = [end for end, stream in ends if stream.beats == interval]
    return busy + [block.name for block in blocks if block.cycles == interval]


def what_binds(blocks: Sequence[Block], interval: float) -> str:
    """What keeps the interval from being shorter, in words."""
    busy = busy_all_the_time(blocks, interval)
    if not busy:
        return "blocks that wait for each other: deeper FIFOs (--fifo auto) may help"
    return f"{', '.join(busy)}: busy in every cycle"


def require_rate(
    blocks: Sequence[Block], cycles: Cycles, target_fps: float, clock_mhz: float
) -> None:
    """UserError, with what binds and the best rate that these blocks reach, if they miss it."""
    hz = clock_mhz * 1e6
    if cycles.interval * target_fps <= hz:
        return
    best = floor(hz / cycles.interval)
    raise UserError(
        "the frame rate isn't reached",
        where=f"--target-fps {target_fps:.15g}",
        found=f"{cycles.interval:g} cycles a frame, {best:,} frames/s at {clock_mhz:g} MHz; "
        f"what binds is {what_binds(blocks, cycles.interval)}",
        expected=f"{floor(hz / target_fps):,} cycles a frame at most",
        fix=f"--target-fps {best} or less; or --clock-mhz {cycles.interval * target_fps / 1e6:.6g} "
        "or more",
    )


def require_room(excesses: Sequence[Excess], board: Board, allowed: bool) -> None:
    """UserError if an accelerator is too large for its board, unless that is `allowed`."""
    if not excesses or allowed:
        return
    raise UserError(
        f"the accelerator is too large for {board.name}",
        found="; ".join(map(str, excesses)),
        fix="a lower --target-fps, --fit 0.7 for the fastest that leaves room, another --board, or "
        "--oversize to simulate it all the same",
    )
