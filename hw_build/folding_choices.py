"""What each layer may be folded to, with the cycles and the cost of it, for `folding_search`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .blocks import Block, Stream
from .estimate import block_resources, depthwise_resources, mvu_resources, sum_type
from .folding import (
    Folding,
    divisors,
    fused_thresholds,
    legal_foldings,
    legal_memories,
    port_choices,
    port_lanes,
    weight_memory,
)
from .graph import (
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    TensorInfo,
    Threshold,
    TopK,
    Upsample,
    Window,
)
from .lower_images import concat_block, max_pool_block, pad_block, upsample_block, window_block
from .lower_streams import add_block, convert
from .lower_units import arg_max_block, top_k_block
from .resources import PRICES, Prices, Resources, weights_in_block_memory

MOST_SIMD = 128
"""Wider dot products are folded only where the interval leaves no choice: each doubling of SIMD
adds a level of logic to the longest path, and saves little."""


@dataclass(frozen=True)
class Choice:
    """One folding of a layer: the lanes of its ends, its cycles a frame, its cost in LUTs.

    Cost and cycles include the padding and the window that the layer's input goes through.
    """

    folding: Folding
    lanes_in: int
    lanes_out: int
    cycles: int
    cost: float


class Choices:
    """The foldings of a graph's layers that are worth trying, priced once each."""

    def __init__(self, graph: Graph, port_bits: int, prices: Prices) -> None:
        self.graph, self.prices = graph, prices
        self.fused = fused_thresholds(graph)
        self.infos = _as_carried(graph, self.fused)
        self.legal = legal_foldings(graph, port_bits)
        out = self.infos[graph.output.name]
        self.out_lanes = port_lanes(out.shape, out.type.bits, port_bits)
        self.port_lanes = port_choices(graph.input.shape, graph.input.type.bits, port_bits)
        self.priced: dict[tuple[str, int, int], Choice] = {}

    def of(
        self, layer: Layer, interval: int, *, lanes: Collection[int], whole_windows: bool
    ) -> list[Choice]:
        """The ones that meet the interval, or else the fastest.

        `lanes` are those that the layer's first source may put out. More than a pixel a beat of a
        window's positions is offered if `whole_windows`, or if nothing less is fast enough.
        """
        name = layer.name
        if isinstance(layer, MatVec) and len(self.infos[layer.source].shape) == 1:
            return [self._priced(layer, fold) for fold in self._vector_foldings(layer, interval)]
        if isinstance(layer, MatVec):
            found = self._image_choices(layer, interval, whole_windows)
        elif isinstance(layer, ArgMax | TopK):
            found = [self._priced(layer, Folding(pe, 1)) for pe in self._score_lanes(layer, lanes)]
        else:
            found = [self._priced(layer, Folding(pe, 1)) for pe in self.legal[name].pe.values]
        good = [choice for choice in found if choice.cycles <= interval]
        fewest = min(choice.cycles for choice in found)
        return good or [choice for choice in found if choice.cycles == fewest]

    @cached_property
    def fewest_cycles(self) -> int:
        """A frame of the slowest port or layer, each as fast as it can be by itself."""
        info_in, info_out = self.infos[self.graph.input.name], self.infos[self.graph.output.name]
        fewest = max(
            -(-info_in.n_integers // self.port_lanes[0]), -(-info_out.n_integers // self.out_lanes)
        )
        for name, legal in self.legal.items():
            layer = self.graph[name]
            vector = isinstance(layer, MatVec) and len(self.infos[layer.source].shape) == 1
            if not vector and not isinstance(layer, Input):
                most = Folding(max(legal.pe.values), max(legal.simd.values))
                fewest = max(fewest, self._priced(layer, most).cycles)
        return fewest

    def _priced(self, layer: Layer, fold: Folding) -> Choice:
        key = (layer.name, fold.pe, fold.simd)
        choice = self.priced.get(key)
        if choice is None:
            if isinstance(layer, MatVec):
                choice = self._matvec_choice(layer, fold)
            elif isinstance(layer, ArgMax | TopK):
                choice = self._class_choice(layer, fold.pe)
            else:
                choice = self._lanes_choice(layer, fold.pe)
            self.priced[key] = choice
        return choice

    def _vector_foldings(self, layer: MatVec, interval: int) -> list[Folding]:
        """For each SIMD the least PE, folds without padding, all rows, a beat of the port."""
        rows, columns = layer.weights.shape
        found = []
        for fold_in in range(1, min(columns, interval) + 1):
            least = -(-columns // fold_in)
            if -(-columns // least) != fold_in:
                continue  # the same SIMD at a shorter fold was offered before
            most = max(1, interval // fold_in)
            # one group is offered as well: it needs no replay of the vector
            rows_at_once = {-(-rows // n) for n in (most, *_divisors_up_to(rows, most), 1)}
            if self._puts_out(layer) and -(-rows // self.out_lanes) <= most:
                rows_at_once.add(self.out_lanes)
            for pe in rows_at_once:
                found += [Folding(pe, simd) for simd in {least, _roundest(columns, fold_in)}]
        return [fold for fold in found if fold.simd <= MOST_SIMD] or found

    def _puts_out(self, layer: MatVec) -> bool:
        """Whether the layer's unit feeds the output port."""
        threshold = self.fused.get(layer.name)
        return self.graph.output in (layer, threshold)

    def _image_choices(self, layer: MatVec, interval: int, whole_windows: bool) -> list[Choice]:
        """All PE of each SIMD, from the smallest SIMD on."""
        legal, found = self.legal[layer.name], []
        source = self.graph[layer.source]
        n_positions = source.n_positions if isinstance(source, Window) else 1
        enough = layer.weights.shape[1] // n_positions
        if whole_windows:
            enough = max(enough, MOST_SIMD)
        for simd in legal.simd.values:
            if simd > enough and any(choice.cycles <= interval for choice in found):
                break
            found += [self._priced(layer, Folding(pe, simd)) for pe in legal.pe.values]
        return found

    def _matvec_choice(self, layer: MatVec, fold: Folding) -> Choice:
        x = self.infos[layer.source]
        rows, columns = layer.weights.shape
        cycles = x.n_pixels * -(-columns // fold.simd) * -(-rows // fold.pe)
        threshold, fold = self.fused.get(layer.name), self._placed(layer, fold)
        resources = mvu_resources(layer, threshold, x, fold)
        return self._with_input(layer, fold, fold.simd, fold.pe, cycles, resources)

    def _lanes_choice(self, layer: Layer, pe: int) -> Choice:
        """A layer that works channel by channel, `pe` outputs a beat."""
        fold, lanes = Folding(pe, 1), pe
        info, x = self.infos[layer.name], self.infos[layer.sources[0]]
        if isinstance(layer, Depthwise | Threshold):
            weights = layer if isinstance(layer, Depthwise) else None
            threshold = layer if weights is None else self.fused.get(layer.name)
            n_positions = 1 if weights is None else layer.weights.shape[1]
            if weights is not None:
                lanes = pe * layer.n_channels(x) // len(layer.weights)
                fold = self._placed(weights, fold)
            resources = depthwise_resources(weights, threshold, x, fold)
            cycles = n_positions * info.n_integers // pe
        else:
            blocks = self._blocks_of(layer, lanes)
            resources = sum(map(block_resources, blocks), Resources())
            cycles = max(block.cycles for block in blocks)
        return self._with_input(layer, fold, lanes, pe, cycles, resources)

    def _score_lanes(self, layer: ArgMax | TopK, lanes: Collection[int]) -> list[int]:
        """Those of the scores' streams, and for each number of beats the least lanes."""
        legal, n = self.legal[layer.name].pe.values, self.infos[layer.source].n_channels
        least = {-(-n // n_beats) for n_beats in range(1, n + 1)}
        return [pe for pe in legal if pe in least or pe in lanes]

    def _class_choice(self, layer: ArgMax | TopK, lanes: int) -> Choice:
        """The greatest of scores that come `lanes` a beat; their indices leave one a beat."""
        info, x = self.infos[layer.name], self.infos[layer.source]
        scores = Stream("x", x.n_channels, x.type, lanes, "", x.n_pixels)
        if isinstance(layer, ArgMax):
            block = arg_max_block(layer, info, scores)
        else:
            block = top_k_block(layer, info, scores)
        cost = self.prices.cost(block_resources(block))
        return Choice(Folding(lanes, 1), lanes, 1, block.cycles, cost)

    def _blocks_of(self, layer: Layer, lanes: int) -> list[Block]:
        x = [
            Stream(f"x{i}", info.n_channels, info.type, lanes, "", info.n_pixels)
            for i, info in enumerate(self.infos[name] for name in layer.sources)
        ]
        match layer:
            case MaxPool():
                return [max_pool_block(layer, replace(x[0], positions=layer.n_positions))]
            case Add():
                return [add_block(layer, self.infos[layer.name], *x)]
            case Upsample():
                return [upsample_block(layer, self.infos[layer.source], x[0])]
            case Concat():
                blocks: list[Block] = []
                concat_block(blocks, layer, x)
                return blocks
        raise ValueError(f"{layer.name} has no folding")

    def _with_input(
        self,
        layer: Layer,
        fold: Folding,
        lanes_in: int,
        lanes_out: int,
        cycles: int,
        resources: Resources,
    ) -> Choice:
        """The choice with the window and the padding before the layer, if there are any."""
        total, source = resources, self.graph[layer.sources[0]]
        while isinstance(source, Pad | Window):
            x: TensorInfo = self.infos[source.source]
            lanes = min(lanes_in, x.n_channels)
            stream = Stream("x", x.n_channels, x.type, lanes, "", x.n_pixels)
            if isinstance(source, Window):
                outer = not isinstance(layer, MatVec)
                blocks = [window_block(source, x, stream, lanes_in, channel_outer=outer)]
                convert(blocks, blocks[0].sink, lanes_in)  # whole windows, to a share of one
                lanes_in = lanes
            else:
                blocks = [pad_block(source, x, stream)]
            total = sum(map(block_resources, blocks), total)
            cycles = max(cycles, *(block.cycles for block in blocks))
            source = self.graph[source.source]
        return Choice(fold, lanes_in, lanes_out, cycles, self.prices.cost(total))

    def _placed(self, layer: MatVec | Depthwise, fold: Folding) -> Folding:
        """The folding with the memory that is cheapest at the prices of this search."""
        if self.prices == PRICES:
            return fold
        words, width = weight_memory(layer, fold)
        if words == 1:
            return replace(fold, memory=legal_memories(layer, fold)[-1])
        writable = layer.writable is not None
        block = weights_in_block_memory(words, width, prices=self.prices, writable=writable)
        return replace(fold, memory="block" if block else "lut")


def _as_carried(graph: Graph, fused: Mapping[str, Threshold]) -> dict[str, TensorInfo]:
    """What is proven of each layer, in the type of its stream: sums are always signed."""
    infos = graph.infer()
    for layer in graph:
        info = infos[layer.name]
        if isinstance(layer, MatVec | Depthwise) and layer.name not in fused:
            infos[layer.name] = replace(info, type=sum_type(layer, infos[layer.source]))
        elif isinstance(layer, Pad | Window | MaxPool | Upsample | Flatten):
            kind = infos[layer.source].type
            if not kind.bipolar:  # a bipolar image may be padded with zeros
                infos[layer.name] = replace(info, type=kind)
    return infos


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
    return [d for d in divisors(n) if d <= most][-2:]
