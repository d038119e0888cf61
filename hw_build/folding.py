"""Folding: how many rows (PE) and columns (SIMD) of each matrix are computed in a cycle.

A layer of MH outputs and MW inputs takes ceil(MW / SIMD) * ceil(MH / PE) cycles a frame; what
doesn't divide is padded. The interval of the pipeline is that of its slowest block, width
converters included, so the search keeps every one of them at or under the wanted interval and
takes the cheapest chain.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import gcd, prod
from pathlib import Path
from typing import Any

from deploy.errors import UserError
from deploy.packing import Packing

from .estimate import Resources, mvu_resources
from .graph import ArgMax, Graph, IntType, MatVec, Threshold


@dataclass(frozen=True)
class Folding:
    """PE rows and SIMD columns a cycle."""

    pe: int
    simd: int


@dataclass(frozen=True)
class _Layer:
    """What the search needs to know of a matrix-vector layer."""

    name: str
    rows: int
    columns: int
    act: IntType  # of the inputs
    resources: object  # (pe, simd) -> Resources


@dataclass(frozen=True)
class _Chain:
    """Foldings of the layers so far. `excess` is by how many cycles converters miss the interval:
    unavoidable where the port itself is too narrow, and then as little as can be."""

    cost: float
    excess: int
    foldings: tuple[Folding, ...]

    @property
    def rank(self) -> tuple[int, float]:
        return (self.excess, self.cost)

    def with_layer(self, folding: Folding, cost: float, excess: int) -> _Chain:
        return _Chain(self.cost + cost, max(self.excess, excess), (*self.foldings, folding))


def port_lanes(shape: tuple[int, ...], bits: int, port_bits: int) -> int:
    """Integers in a beat at the accelerator's outer ends: what fits, at most a whole frame.

    Of an image (H, W, C) whole pixels, or a share of one: its lanes are a multiple of C or divide
    it, so that the beats of pixels are those of the frame.
    """
    most, n_channels = port_bits // bits, shape[-1]
    if len(shape) == 1:
        return min(n_channels, most)
    if n_channels > most:
        return max(lanes for lanes in range(1, most + 1) if n_channels % lanes == 0)
    n_pixels = prod(shape[:-1])
    return n_channels * min(n_pixels, most // n_channels)


def converter_lanes(source_lanes: int, sink_lanes: int) -> int:
    """Lanes between the splitting and the joining half of a width converter."""
    return gcd(source_lanes, sink_lanes)


def converter_cycles(n: int, source_lanes: int, sink_lanes: int) -> int:
    """Cycles a vector of `n` integers takes through the converter between two widths."""
    if source_lanes == sink_lanes:
        return -(-n // sink_lanes)
    middle = converter_lanes(source_lanes, sink_lanes)
    cycles = -(-n // middle)
    if middle < sink_lanes:  # the joiner spends a cycle on each beat of padding
        per_beat = sink_lanes // middle
        cycles = -(-cycles // per_beat) * per_beat
    return cycles


def choose_folding(graph: Graph, interval: int, port_bits: int = 64) -> dict[str, Folding]:
    """The cheapest folding with every block at or under `interval` cycles a frame.

    No layer is made faster than the input port can feed it. Cost is estimated LUTs, a block RAM
    counted as `LUTS_PER_BRAM` of them. Returns foldings by the names of the graph's MatVec layers;
    UserError if `interval` is below one cycle.
    """
    if interval < 1:
        raise UserError(
            "the target frame rate is above one frame a clock cycle",
            found=f"an interval of {interval} cycles",
            expected="1 cycle or more",
            fix="lower --target-fps or raise --clock-mhz",
        )
    layers = _layers(graph)
    first = layers[0]
    lanes = port_lanes((first.columns,), first.act.bits, port_bits)
    interval = max(interval, -(-first.columns // lanes))  # no faster than the input port
    # the best chain so far for each number of lanes that its last layer puts out
    chains: dict[int, _Chain] = {lanes: _Chain(0.0, 0, ())}
    for layer in layers:
        extended: dict[int, _Chain] = {}
        for folding, cost in _candidates(layer, interval):
            for lanes, chain in chains.items():
                longer = chain.with_layer(
                    folding,
                    cost + _converter_cost(lanes, folding.simd, layer.act.bits),
                    max(0, converter_cycles(layer.columns, lanes, folding.simd) - interval),
                )
                best = extended.get(folding.pe)
                if best is None or longer.rank < best.rank:
                    extended[folding.pe] = longer
        chains = extended
    best = min(chains.values(), key=lambda chain: chain.rank)
    return {layer.name: fold for layer, fold in zip(layers, best.foldings, strict=True)}


LUTS_PER_BRAM = 200
"""What one block RAM of 36 kbit counts in the search; a Zynq-7020 has 380 LUTs for each."""


def _layers(graph: Graph) -> list[_Layer]:
    infos = graph.infer()
    thresholds = {layer.source: layer for layer in graph if isinstance(layer, Threshold)}
    found = []
    for layer in graph:
        if isinstance(layer, MatVec):
            source, threshold = infos[layer.source], thresholds.get(layer.name)

            @cache
            def resources(pe: int, simd: int, layer=layer, source=source, threshold=threshold):
                return mvu_resources(layer, threshold, source, pe, simd)

            rows, columns = layer.weights.shape
            found.append(_Layer(layer.name, rows, columns, source.type, resources))
    return found


MOST_SIMD = 128
"""Wider dot products are folded only where the interval leaves no choice: each doubling of SIMD
adds a level of logic to the longest path, and saves little."""


def _candidates(layer: _Layer, interval: int) -> list[tuple[Folding, float]]:
    """Foldings that meet the interval with their cost: for each SIMD the least PE, and all rows."""
    found = []
    for fold_in in range(1, min(layer.columns, interval) + 1):
        least = -(-layer.columns // fold_in)
        if -(-layer.columns // least) != fold_in:
            continue  # the same SIMD at a shorter fold was offered before
        fold_out_most = max(1, interval // fold_in)
        # one group is offered as well: it needs no replay of the vector
        for fold_out in {fold_out_most, *_divisors_up_to(layer.rows, fold_out_most), 1}:
            pe = -(-layer.rows // fold_out)
            for simd in {least, _roundest(layer.columns, fold_in)}:
                resources: Resources = layer.resources(pe, simd)
                cost = resources.lut + LUTS_PER_BRAM * resources.bram36
                found.append((Folding(pe, simd), cost))
    shallow = [(folding, cost) for folding, cost in found if folding.simd <= MOST_SIMD]
    return shallow or found


def _roundest(columns: int, fold_in: int) -> int:
    """Of the SIMDs that take `fold_in` beats, the one with the most factors of two.

    It pads a little more than the least, and makes a far simpler width converter.
    """
    least = -(-columns // fold_in)
    most = least if fold_in == 1 else -(-columns // (fold_in - 1)) - 1
    shift = next(b for b in range(most.bit_length(), -1, -1) if most >> b << b >= least)
    return most >> shift << shift


def _divisors_up_to(n: int, most: int) -> list[int]:
    """The two largest divisors of `n` that are at most `most`: folds without padding."""
    return [d for d in range(min(n, most), 0, -1) if n % d == 0][:2]


def _converter_cost(source_lanes: int, sink_lanes: int, bits: int) -> float:
    """LUTs of a splitter: a multiplexer from all lanes to those of the middle; joiners shift."""
    middle = converter_lanes(source_lanes, sink_lanes)
    return 0.0 if middle == source_lanes else bits * source_lanes / 4 + 8


def save_folding(folding: dict[str, Folding]) -> str:
    """The folding as JSON text, as `--folding FILE` takes it."""
    return json.dumps({k: {"pe": v.pe, "simd": v.simd} for k, v in folding.items()}, indent=2)


def load_folding(path: Path, graph: Graph) -> dict[str, Folding]:
    """A folding from a file that a run wrote, checked against the graph; UserError by layer."""
    matvecs = {layer.name: layer for layer in graph if isinstance(layer, MatVec)}
    try:
        table = json.loads(path.read_text())
        folding = {
            k: Folding(*(_whole(v, k, key) for key in ("pe", "simd"))) for k, v in table.items()
        }
    except OSError as error:
        raise UserError(
            "the folding file can't be read", where=str(path), found=str(error)
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            "not a folding file",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected='{"fc0": {"pe": 16, "simd": 49}, ...}',
            fix="start from the folding.json of a run",
        ) from error
    if set(folding) != set(matvecs):
        raise UserError(
            "the folding file doesn't name the network's layers",
            where=str(path),
            found=", ".join(folding) or "no layer",
            expected=", ".join(matvecs),
        )
    for name, fold in folding.items():
        rows, columns = matvecs[name].weights.shape
        for what, got, most in (("pe", fold.pe, rows), ("simd", fold.simd, columns)):
            if not 1 <= got <= most:
                raise UserError(
                    "impossible folding",
                    where=f"{path}: {name}.{what}",
                    found=str(got),
                    expected=f"1 to {most}: the layer has {rows} outputs and {columns} inputs",
                )
    return folding


def _whole(entry: dict[str, Any], layer: str, key: str) -> int:
    """`entry[key]`, which has to be an integer: 1.5 lanes are no rounding matter."""
    value = entry[key]
    if type(value) is not int:
        raise TypeError(f"{layer}.{key} is {value!r}, not an integer")
    return value


def pipeline_has_argmax(graph: Graph) -> bool:
    """Whether the accelerator ends in an arg max, so that one class a frame leaves it."""
    return isinstance(graph.output, ArgMax)


def input_port(graph: Graph, port_bits: int) -> Packing:
    """How the host packs its integers for the accelerator's input port."""
    shape, kind = graph.input.shape, graph.input.type
    lanes = port_lanes(shape, kind.bits, port_bits)
    return Packing(prod(shape), kind.bits, kind.signed, kind.bipolar, port_bits, lanes)
