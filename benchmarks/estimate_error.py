"""How far estimates of layers are from Yosys' cells, and predicted cycles from the simulated ones.

Usage: python -m benchmarks.estimate_error [--layers N] [--seed S] [--simulate N] [--rows]
    [--seconds T] [--jobs J] [--writable]

The sample is seeded random layers as `benchmarks/random_layers.py` draws them: the unit, pool or
join with its thresholds, the pad and the window before it, the width converters in front. An
error of LUTs is (estimated - synthesised) / synthesised, for layers of `LEAST_LUTS` or more; of
smaller ones those are counted that are far off. The first layers are simulated as well: interval
and latency of each as a network of its own, against those that the model of the streams predicts.
With --writable the host can write the memories of all units, and layers without a unit are left
out. Results of Yosys are kept in the store: a second run is quick. Formulas were fitted to seeds of
100 and more, those of --writable to seed 0 as well; seeds 0 and 5 have shown which terms were
missing, and other seeds below 100 nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.random_layers import RandomLayer, random_layers
from benchmarks.record import print_header
from deploy.store import Store
from hw_build.blocks import Block, writable_memories
from hw_build.emit import RTL_FOLDER, emit
from hw_build.estimate import block_resources
from hw_build.resources import Resources
from hw_build.simulator import Simulator
from hw_build.synthesis import synthesise_block
from hw_build.timing import predict
from hw_build.verilator import build_model
from hw_build.writable import writable
from hw_build.yosys import yosys_version

LEAST_LUTS = 30
"""Layers smaller than this have no relative error to speak of."""

FRAMES = 64
"""Frames that are simulated of each layer."""


@dataclass(frozen=True)
class Compared:
    """A layer, what is estimated of it, what Yosys makes of it, both summed over its blocks."""

    layer: RandomLayer
    estimated: Resources
    synthesised: Resources

    @property
    def lut_error(self) -> float:
        """Relative to the synthesised LUTs."""
        return self.estimated.lut / self.synthesised.lut - 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=221)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--simulate", type=int, default=34, help="how many are simulated as well")
    parser.add_argument("--seconds", type=float, default=1e9, help="no new layer after that")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="Yosys at a time")
    parser.add_argument(
        "--writable", action="store_true", help="units alone, with memories that the host writes"
    )
    parser.add_argument("--rows", action="store_true", help="a line for each layer")
    options = parser.parse_args()
    print_header("estimated, against synthesised (not placed); cycles against simulated")
    print(f"with     {yosys_version()}")
    until = time.monotonic() + options.seconds
    layers = list(random_layers(options.seed, options.layers))
    if options.writable:
        layers = [replace(layer, graph=writable(layer.graph)) for layer in layers]
        layers = [layer for layer in layers if writable_memories(layer.blocks)]
    compared = list(compare(layers, until, options.jobs))
    if options.rows:
        for one in compared:
            e, s = one.estimated, one.synthesised
            print(
                f"{one.layer.kind:15}{e.lut:7.0f}{s.lut:6}{one.lut_error:+7.0%}"
                f"{e.ff:7.0f}{s.ff:6}{e.bram36:6}{s.bram36:6}"
            )
    _print_cells(compared)
    cycles = [simulated_errors(layer) for layer in layers[: options.simulate]]
    for what, errors in zip(("interval", "latency"), zip(*cycles, strict=True), strict=False):
        print(
            f"{what:11} {len(errors)} layers simulated, worst error {max(map(abs, errors)):.2%}, "
            f"{sum(error == 0 for error in errors)} equal"
        )


def _print_cells(compared: list[Compared]) -> None:
    print(f"{'layer':15}{'number':>7}{'LUT: median':>13}{'worst':>8}{'sum':>8}{'FF: median':>12}")
    for kind in (*dict.fromkeys(one.layer.kind for one in compared), "all"):
        rows = [one for one in compared if kind in (one.layer.kind, "all")]
        lut = [one.lut_error for one in rows if one.synthesised.lut >= LEAST_LUTS]
        ff = [
            one.estimated.ff / one.synthesised.ff - 1
            for one in rows
            if one.synthesised.ff >= LEAST_LUTS
        ]
        total = sum(one.estimated.lut for one in rows) / sum(one.synthesised.lut for one in rows)
        print(
            f"{kind:15}{len(rows):7}{_median(lut):12.1%}{max(lut, key=abs, default=0.0):+9.0%}"
            f"{total - 1:+8.1%}{_median(ff):11.1%}"
        )
    small = [one for one in compared if one.synthesised.lut < LEAST_LUTS]
    far = [one for one in small if abs(one.lut_error) > 0.3]
    print(
        f"small       {len(small)} layers of less than {LEAST_LUTS} LUTs, which count in the sums "
        f"alone; {len(far)} of them more than 30 % off"
    )
    wrong = sum(one.estimated.bram36 != one.synthesised.bram36 for one in compared)
    blocks = sum(one.synthesised.bram36 for one in compared)
    print(f"block RAM   {wrong} of {len(compared)} layers wrong; {blocks} in all")


def _median(errors: list[float]) -> float:
    return statistics.median(map(abs, errors)) if errors else 0.0


def blocks_of(layer: RandomLayer) -> tuple[Block, ...]:
    """The layer's own blocks: all but the conversion to the output port."""
    blocks = layer.blocks
    last = max(i for i, block in enumerate(blocks) if not block.module.startswith("lane_"))
    return blocks[: last + 1]


def compare(layers: list[RandomLayer], until: float, jobs: int) -> Iterator[Compared]:
    """The layers with both figures, in order; ends at the first one that is begun too late."""
    store = Store()

    def synthesised(layer: RandomLayer) -> Resources | None:
        total = Resources()
        for block in blocks_of(layer):
            if time.monotonic() > until:
                return None
            found = synthesise_block(RTL_FOLDER, block, "xc7", store)
            total += Resources(found.lut, found.ff, found.bram36, found.dsp)
        return total

    with ThreadPoolExecutor(jobs) as pool:
        for layer, found in zip(layers, pool.map(synthesised, layers), strict=True):
            if found is None:
                return
            estimated = sum(map(block_resources, blocks_of(layer)), Resources())
            yield Compared(layer, estimated, found)


def simulated_errors(layer: RandomLayer) -> tuple[float, float]:
    """Relative errors of the predicted interval and latency of the layer as a network."""
    blocks, source = layer.blocks, layer.graph.input
    images = np.random.default_rng(0).integers(
        source.type.lo, source.type.hi + 1, (FRAMES, *source.shape)
    )
    if source.type.bipolar:
        images |= 1
    with tempfile.TemporaryDirectory() as folder:
        emit(blocks, Path(folder))
        model = Simulator(build_model(Path(folder), blocks), blocks, layer.graph, Path(folder))
        found = model.run(images)
        model.close()
    predicted = predict(blocks)
    return predicted.interval / found.interval - 1, predicted.latency / found.latency - 1


if __name__ == "__main__":
    main()
