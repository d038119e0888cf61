"""Folding: how many rows (PE) and columns (SIMD) of each matrix are computed in a cycle.

A layer of MH outputs and MW inputs takes ceil(MW / SIMD) * ceil(MH / PE) cycles a vector, and an
image is a vector a pixel. Here are the rules: what a folding may be, the lanes that follow from it,
and the file it is kept in. `folding_search` chooses one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import ceil, gcd, prod
from pathlib import Path
from typing import Any

from deploy.errors import UserError

from .graph import (
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Graph,
    Input,
    Layer,
    MatVec,
    MaxPool,
    TensorInfo,
    Threshold,
    TopK,
    Upsample,
    Window,
)


@dataclass(frozen=True)
class Folding:
    """PE rows and SIMD columns a cycle, and where the weights are: "auto" (the cheaper of two),
    "lut", "block" (RAM), or "logic" (constants of a layer that is unrolled as a whole)."""

    pe: int
    simd: int
    memory: str = "auto"


def weight_memory(layer: MatVec | Depthwise, fold: Folding) -> tuple[int, int]:
    """Words and bits of a word of the layer's weights; one word if they are one constant."""
    rows, columns = layer.weights.shape
    simd = fold.simd if isinstance(layer, MatVec) else 1
    words = ceil(columns / simd) * ceil(rows / fold.pe)
    padded = rows % fold.pe or columns % simd
    constant = layer.has_one_weight and not padded
    return 1 if constant else words, fold.pe * simd * layer.weight_bits


def legal_memories(layer: Layer, fold: Folding) -> tuple[str, ...]:
    """What `memory` of the layer's folding may be: one word of weights is constants, in logic.

    Unless the host may write it: then it is in LUTs.
    """
    if not isinstance(layer, MatVec | Depthwise):
        return ("auto",)
    if weight_memory(layer, fold)[0] > 1:
        return ("auto", "lut", "block")
    return ("auto", "lut") if layer.writable is not None else ("auto", "lut", "logic")


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


def port_choices(shape: tuple[int, ...], bits: int, port_bits: int) -> tuple[int, ...]:
    """Lanes that the input port may have, those of `port_lanes` first.

    A vector may come with a few lanes less where these divide it: no padding, simpler converters.
    """
    most = port_lanes(shape, bits, port_bits)
    fewer = [d for d in divisors(shape[0]) if most / 2 < d < most] if len(shape) == 1 else []
    return (most, *fewer)


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


def save_folding(folding: dict[str, Folding]) -> str:
    """The folding as JSON text, as `--folding FILE` takes it."""
    table = {name: asdict(fold) for name, fold in folding.items()}
    return json.dumps(table, indent=2)


def load_folding(path: Path, graph: Graph, port_bits: int = 64) -> dict[str, Folding]:
    """A folding from a file that a run wrote, checked against the graph; UserError by layer."""
    try:
        table = json.loads(path.read_text())
        folding = {k: _entry(k, v) for k, v in table.items()}
    except OSError as error:
        raise UserError(
            "the folding file can't be read", where=str(path), found=str(error)
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            "not a folding file",
            where=str(path),
            found=f"{type(error).__name__}: {error}",
            expected='{"fc0": {"pe": 16, "simd": 49, "memory": "auto"}, ...}',
            fix="start from the folding.json of a run",
        ) from error
    legal = legal_foldings(graph, port_bits)
    optional = {layer.name for layer in graph if isinstance(layer, Input | ArgMax | TopK)}
    if set(folding) - optional != set(legal) - optional:
        raise UserError(
            "the folding file doesn't name the network's layers",
            where=str(path),
            found=", ".join(folding) or "no layer",
            expected=", ".join(name for name in legal if name not in optional),
        )
    for name, fold in folding.items():
        for what, got, factors in zip(
            ("pe", "simd"), (fold.pe, fold.simd), (legal[name].pe, legal[name].simd), strict=True
        ):
            if got not in factors.values:
                raise UserError(
                    "impossible folding",
                    where=f"{path}: {name}.{what}",
                    found=str(got),
                    expected=str(factors),
                )
        layer = graph[name]
        memories = legal_memories(layer, fold)
        if fold.memory not in memories:
            expected = " or ".join(memories)
            if isinstance(layer, MatVec) and fold.memory == "logic":
                rows, columns = layer.weights.shape
                expected += f", or logic with a PE of {rows} and a SIMD of {columns}"
            raise UserError(
                "impossible memory" if len(memories) > 1 else "a layer without weights",
                where=f"{path}: {name}.memory",
                found=fold.memory,
                expected=expected,
            )
    return folding


def _entry(layer: str, entry: dict[str, Any]) -> Folding:
    """A layer's entry of the file; `memory` may be left out, a key of another name is an error."""
    if unknown := entry.keys() - Folding.__dataclass_fields__:
        raise ValueError(f"{layer} has no {', '.join(sorted(unknown))}")
    memory = entry.get("memory", "auto")
    return Folding(_whole(entry, layer, "pe"), _whole(entry, layer, "simd"), str(memory))


def _whole(entry: dict[str, Any], layer: str, key: str) -> int:
    """`entry[key]`, which has to be an integer: 1.5 lanes are no rounding matter."""
    value = entry[key]
    if type(value) is not int:
        raise TypeError(f"{layer}.{key} is {value!r}, not an integer")
    return value


@dataclass(frozen=True)
class Factors:
    """The numbers that one side of a folding may be, and what they divide or count."""

    values: tuple[int, ...] | range
    meaning: str

    def __str__(self) -> str:
        if isinstance(self.values, range):
            return f"{self.values[0]} to {self.values[-1]}: {self.meaning}"
        return f"{', '.join(map(str, self.values))}: {self.meaning}"


@dataclass(frozen=True)
class LegalFolding:
    """What a layer's PE and SIMD may be."""

    pe: Factors
    simd: Factors


def legal_foldings(graph: Graph, port_bits: int = 64) -> dict[str, LegalFolding]:
    """By the name of every layer that has a folding, in the graph's order.

    A MatVec on vectors takes any PE and SIMD; what doesn't divide is padded. On images both have
    to divide: PE the outputs, SIMD the channels of a pixel, or the whole window where it is more
    than a pixel. Layers that work channel by channel have SIMD 1 and PE channels a beat. The input
    may be named as well, by the lanes of its port; otherwise the port carries what fits. So may an
    ArgMax, by the scores that it takes a beat; otherwise that is one.
    """
    infos = graph.infer()
    fused = fused_thresholds(graph)
    one = Factors((1,), "the layer works channel by channel")
    legal: dict[str, LegalFolding] = {}
    for layer in graph:
        if isinstance(layer, Input):
            most = port_lanes(layer.shape, layer.type.bits, port_bits)
            pe = Factors(range(1, most + 1), f"what a port of {port_bits} bits carries")
            if len(layer.shape) > 1:
                pe = Factors((most,), "whole pixels, or a share of one")
            legal[layer.name] = LegalFolding(pe, Factors((1,), "the input has lanes alone"))
        elif isinstance(layer, MatVec):
            legal[layer.name] = _legal_matvec(layer, graph, infos)
        elif isinstance(layer, Depthwise):
            n_channels = layer.n_channels(infos[layer.source])
            per_channel = len(layer.weights) // n_channels
            pe = tuple(per_channel * d for d in divisors(n_channels))
            what = f"a divisor of its {n_channels} channels"
            what += f", times {per_channel} outputs a channel" if per_channel > 1 else ""
            legal[layer.name] = LegalFolding(Factors(pe, what), one)
        elif (isinstance(layer, Threshold) and layer not in fused.values()) or isinstance(
            layer, MaxPool | Add | Concat | Upsample
        ):
            # a window's channels are those of its pixels
            channels = [infos[name].n_channels for name in layer.sources]
            if isinstance(layer, MaxPool):
                channels = [infos[layer.name].n_channels]
            what = "a divisor of " + " and ".join(f"{n}" for n in sorted(set(channels)))
            pe = Factors(divisors(gcd(*channels)), f"{what} channels")
            legal[layer.name] = LegalFolding(pe, one)
        elif isinstance(layer, ArgMax):
            x = infos[layer.source]
            pe = Factors(range(1, x.n_channels + 1), f"it has {x.n_channels} scores")
            if x.n_pixels > 1:
                pe = Factors(divisors(x.n_channels), f"a divisor of its {x.n_channels} scores")
            legal[layer.name] = LegalFolding(pe, one)
        elif isinstance(layer, TopK):
            legal[layer.name] = LegalFolding(Factors((1,), "it takes one score a beat"), one)
    return legal


def _legal_matvec(layer: MatVec, graph: Graph, infos: dict[str, TensorInfo]) -> LegalFolding:
    rows, columns = layer.weights.shape
    if len(infos[layer.source].shape) == 1:
        what = f"the layer has {rows} outputs and {columns} inputs"
        return LegalFolding(Factors(range(1, rows + 1), what), Factors(range(1, columns + 1), what))
    source = graph[layer.source]
    n_positions = source.n_positions if isinstance(source, Window) else 1
    n_channels = columns // n_positions
    simd = divisors(n_channels)
    what = f"a divisor of the {n_channels} channels of a pixel"
    if n_positions > 1:
        simd += tuple(d for d in divisors(columns) if d > n_channels)
        what += f", or a greater one of the {columns} of a window"
    return LegalFolding(
        Factors(divisors(rows), f"a divisor of its {rows} outputs"), Factors(simd, what)
    )


def divisors(n: int) -> tuple[int, ...]:
    """All divisors of `n`, ascending."""
    return tuple(d for d in range(1, n + 1) if n % d == 0)


def fused_thresholds(graph: Graph) -> dict[str, Threshold]:
    """By the name of a MatVec or Depthwise: the Threshold that its unit computes as well.

    That is where nobody but the Threshold reads the sums.
    """
    n_readers = graph.n_readers
    return {
        layer.source: layer
        for layer in graph
        if isinstance(layer, Threshold)
        and isinstance(graph[layer.source], MatVec | Depthwise)
        and n_readers[layer.source] == 1
    }
