"""How long FIFO sizing takes, and how much deeper than needed the FIFOs come out.

Usage: python -m benchmarks.fifo_sizing [NETWORK ...] [--cycles N [N ...]]

NETWORK names a shipped config, by default convolutional ones of all kinds; weights are drawn, not
trained. Each is folded for so many cycles a frame (by default a fast and a slow rate of its data
set) and its FIFOs are sized as the flow does. A line for each says

    interval    cycles from frame to frame that the folding reaches between unbounded FIFOs
    seconds     of sizing, CPU time of this process
    fifos       how many FIFOs there are
    total       their depths, summed, in beats
    least       the sum of their least depths: of each by itself, the others as sized, the least at
                which frames still leave at the interval where the host always offers a beat, found
                by bisection; 0 for a FIFO that isn't needed
    ratio       total / least

and the last line whether all took at most 60 s and have a ratio of 1.2 or less. The least depths
are each FIFO's own: taken together they may be too small, so that the ratio is an upper bound of
what could be saved.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.record import print_header
from benchmarks.untrained import CONFIGS, untrained
from hw_build.blocks import Block
from hw_build.cycle_model.deadlock import DeadlockError
from hw_build.cycle_model.run import follow_frames
from hw_build.fifo_sizing import FRAMES, full_interval, size_fifos
from hw_build.fifos import LEAST_DEPTH, with_fifos
from hw_build.folding_target import folding_for_rate
from hw_build.graph import Graph
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from training.qonnx_export import to_qonnx

LARGE = (
    *("lenet5_w1a1", "cnv_w1a1", "cnv_padded_w1a1", "resnet_w2a2", "depthwise_w4a4"),
    *("fire_w2a2", "conv1d_w1a1"),
)
SMALL = tuple(path.stem for path in sorted(CONFIGS.glob("digits_*_w*a*.toml")))
CYCLES = {LARGE: (30_000, 300_000), SMALL: (1_000, 10_000)}
"""Cycles a frame that networks are folded for."""

MOST_SECONDS, MOST_RATIO = 60.0, 1.2
PORT_BITS = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=(*SMALL, *LARGE))
    parser.add_argument("--cycles", type=int, nargs="+", metavar="N", help="a frame")
    options = parser.parse_args()
    print_header("estimated (exact cycle model); seconds measured on this machine")
    columns = ("network", "asked", "interval", "seconds", "fifos", "total", "least", "ratio")
    print(f"{columns[0]:<26}" + "".join(f"{column:>10}" for column in columns[1:]))
    met = True
    for name in options.networks:
        graph = _graph(name)
        cycles = options.cycles or CYCLES[SMALL if name in SMALL else LARGE]
        for asked in cycles:
            met &= _print_sizing(name, graph, asked)
    verdict = "met" if met else "MISSED"
    print(f"target   at most {MOST_SECONDS:g} s, and a ratio of {MOST_RATIO:g}: {verdict}")


def _graph(name: str) -> Graph:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(to_qonnx(untrained(name, 50)[0]).SerializeToString())
        return import_qonnx(path).graph


def _print_sizing(name: str, graph: Graph, asked: int) -> bool:
    """Prints the line of a network at a rate; whether the targets are met."""
    bare = lower(graph, folding_for_rate(graph, asked, PORT_BITS), PORT_BITS)
    started = time.process_time()
    depths = size_fifos(bare)
    seconds = time.process_time() - started
    pace = full_interval(bare)
    if not keeps_pace(bare, depths, pace):
        raise SystemExit(f"{name} at {asked} cycles: the sized FIFOs don't keep the full rate")
    total, least = sum(depths.values()), sum(least_depths(bare, depths, pace).values())
    ratio = total / least if least else (float("inf") if total else 1.0)
    print(
        f"{name:<26}{asked:>10}{float(pace):>10g}{seconds:>10.2f}{len(depths):>10}"
        f"{total:>10}{least:>10}{ratio:>10.3f}",
        flush=True,
    )
    return seconds <= MOST_SECONDS and ratio <= MOST_RATIO


def least_depths(
    blocks: tuple[Block, ...], depths: dict[str, int], pace: Fraction
) -> dict[str, int]:
    """Of each FIFO the least depth in beats that keeps the pace, the others as they are."""
    least = {}
    for name, enough in depths.items():
        too_small = LEAST_DEPTH - 1
        if keeps_pace(blocks, {**depths, name: 0}, pace):
            least[name] = 0
            continue
        while enough - too_small > 1:
            middle = (too_small + enough) // 2
            if keeps_pace(blocks, {**depths, name: middle}, pace):
                enough = middle
            else:
                too_small = middle
        least[name] = enough
    return least


def keeps_pace(blocks: tuple[Block, ...], depths: dict[str, int], pace: Fraction) -> bool:
    """Whether frames leave every `pace` cycles where the host always offers a beat."""
    try:
        run = follow_frames(with_fifos(blocks, depths), FRAMES, until_periodic=True)
    except DeadlockError:
        return False
    return run.interval <= pace


if __name__ == "__main__":
    main()
