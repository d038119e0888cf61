"""An accelerator after Yosys, block by block: cells, deepest path, nextpnr's clock beside them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from hw_build.blocks import Block
from hw_build.ecp5 import clock_of_block
from hw_build.emit import emit
from hw_build.estimate import block_resources
from hw_build.resources import Resources
from hw_build.synthesis import Synthesised, synthesise, with_port_blocks


def print_synthesis(blocks: tuple[Block, ...], seeds: int, most_luts: float) -> Resources:
    """Prints a line for each block, and the sums, which it returns.

    Args:
        seeds: nextpnr's clock is the best of the seeds 1 to this one.
        most_luts: blocks of more LUTs are not placed, which takes minutes for thousands; they are
            named. None is placed for 0.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        emit(blocks, folder)
        started = time.perf_counter()
        found = synthesise(folder, blocks)
        print(f"yosys    {time.perf_counter() - started:.1f} s, what the store held included")
        print(
            f"{'block':24}{'estimated':>10}{'LUT':>7}{'FF':>7}{'BRAM36':>8}{'depth':>7}{'MHz':>7}"
        )
        for block in with_port_blocks(blocks):
            r, clock = found[block.name], "-"
            if r.lut <= most_luts and r.ff and most_luts:
                routed = [clock_of_block(folder, block, seed + 1) for seed in range(seeds)]
                clock = f"{max(one.clock_mhz for one in routed):.1f}"
            print(
                f"{block.name:24}{block_resources(block).lut:10.0f}{r.lut:7}{r.ff:7}{r.bram36:8}"
                f"{r.depth:7}{clock:>7}",
                flush=True,
            )
    estimated = sum(map(block_resources, with_port_blocks(blocks)), Resources())
    total = _sum(found)
    deepest = max(found, key=lambda name: found[name].depth)
    print(f"{'all':24}{estimated.lut:10.0f}{total.lut:7.0f}{total.ff:7.0f}{total.bram36:8}")
    print(f"depth    {found[deepest].depth} LUTs, in {deepest}")
    left_out = [name for name, r in found.items() if r.lut > most_luts]
    if left_out:
        print(f"placed   all but {', '.join(left_out)}" if most_luts else "placed   no block")
    return total


def _sum(found: Mapping[str, Synthesised]) -> Resources:
    parts = (Resources(r.lut, r.ff, r.bram36, r.dsp) for r in found.values())
    return sum(parts, Resources())
