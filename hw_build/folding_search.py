"""The cheapest folding that keeps every block at or under an interval.

The search goes through the graph once. Along a chain of layers it keeps the best folding so far for
each number of lanes that the last layer puts out, so that width converters are weighed too
(dynamic programming, exact). Where a tensor is read by several layers, or several tensors by one,
the chains that end there are settled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from deploy.errors import UserError

from .blocks import Block, Stream
from .estimate import block_resources, depthwise_resources, mvu_resources
from .folding import (
    Folding,
    converter_cycles,
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
    IntType,
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


def choose_folding(
    graph: Graph, interval: int, port_bits: int = 64, prices: Prices = PRICES
) -> dict[str, Folding]:
    """The cheapest folding with every block at or under `interval` cycles a frame.

    No layer is made faster than the input port can feed it. Cost is that of the estimated resources
    by `prices`; other ones than `PRICES` also decide where weights are kept. Where no folding is
    fast enough, the one that misses the interval by least. Returns foldings by layer; UserError if
    `interval` is below one cycle.
    """
    if interval < 1:
        raise UserError(
            "the target frame rate is above one frame a clock cycle",
            found=f"an interval of {interval} cycles",
            expected="1 cycle or more",
            fix="lower --target-fps or raise --clock-mhz",
        )
    return _Search(graph, interval, port_bits, prices).run()


@dataclass(frozen=True)
class _Choice:
    """One folding of a layer: the lanes of its ends, its cycles a frame, its cost in LUTs.

    Cost and cycles include the padding and the window that the layer's input goes through.
    """

    folding: Folding
    lanes_in: int
    lanes_out: int
    cycles: int
    cost: float


@dataclass(frozen=True)
class _Chain:
    """Foldings since the last settled one. `excess` is by how many cycles blocks miss the interval:
    unavoidable where a port or a layer can be no faster, and then as little as can be."""

    cost: float = 0.0
    excess: int = 0
    foldings: tuple[tuple[str, Folding], ...] = ()

    @property
    def rank(self) -> tuple[int, float]:
        return (self.excess, self.cost)


class _Search:
    def __init__(self, graph: Graph, interval: int, port_bits: int, prices: Prices) -> None:
        self.graph, self.infos, self.prices = graph, graph.infer(), prices
        self.fused = fused_thresholds(graph)
        self.legal = legal_foldings(graph, port_bits)
        self.n_readers = graph.n_readers
        out = self.infos[graph.output.name]
        self.out_lanes = port_lanes(out.shape, out.type.bits, port_bits)
        shape, bits = graph.input.shape, graph.input.type.bits
        self.port_choices = port_choices(shape, bits, port_bits)
        self.n_inputs = self.infos[graph.input.name].n_integers
        # no faster than the input port
        self.interval = max(interval, -(-self.n_inputs // self.port_choices[0]))
        self.chains: dict[str, dict[int, _Chain]] = {}  # by layer and the lanes it puts out
        self.settled: dict[str, Folding] = {}

    def run(self) -> dict[str, Folding]:
        for layer in self.graph:
            self.chains[layer.name] = self._chains_of(layer)
            if self.n_readers[layer.name] > 1:
                self._settle(layer.name)
        self._end(self.graph.output)
        return {name: self.settled[name] for name in self.legal if name in self.settled}

    def _chains_of(self, layer: Layer) -> dict[int, _Chain]:
        if isinstance(layer, Input):
            return {lanes: self._port(layer.name, lanes) for lanes in self.port_choices}
        if layer.name not in self.legal:  # it follows its neighbours
            return self.chains[layer.sources[0]]
        if len(layer.sources) > 1:
            for source in layer.sources:
                self._settle(source)
        extended: dict[int, _Chain] = {}
        for choice in self._choices(layer):
            for lanes, chain in self.chains[layer.sources[0]].items():
                longer = self._longer(chain, layer, choice, lanes)
                best = extended.get(choice.lanes_out)
                if best is None or longer.rank < best.rank:
                    extended[choice.lanes_out] = longer
        return extended

    def _port(self, name: str, lanes: int) -> _Chain:
        """The chain's beginning; a port of other lanes than it could have is named."""
        excess = max(0, -(-self.n_inputs // lanes) - self.interval)
        named = () if lanes == self.port_choices[0] else ((name, Folding(lanes, 1)),)
        return _Chain(0.0, excess, named)

    def _longer(self, chain: _Chain, layer: Layer, choice: _Choice, lanes: int) -> _Chain:
        """`chain`, whose last layer puts out `lanes`, and one more layer."""
        cost, cycles = choice.cost, choice.cycles
        for i, name in enumerate(layer.sources):
            origin = self._origin(name)
            if i > 0:
                (lanes,) = self.chains[name]
            info = self.infos[origin]
            lanes_in = min(choice.lanes_in, info.n_integers)
            n = info.n_channels if info.n_channels % lanes == 0 else info.n_integers
            cost += self.prices.cost(_converter_resources(n, lanes, lanes_in, info.type.bits))
            cycles = max(cycles, converter_cycles(info.n_integers, lanes, lanes_in))
        return _Chain(
            chain.cost + cost,
            max(chain.excess, cycles - self.interval, 0),
            (*chain.foldings, (layer.name, choice.folding)),
        )

    def _settle(self, name: str) -> None:
        """Takes the best chain that ends in a layer as it is."""
        lanes, best = min(self.chains[name].items(), key=lambda item: item[1].rank)
        self.settled.update(best.foldings)
        self.chains[name] = {lanes: _Chain(0.0, best.excess)}

    def _end(self, layer: Layer) -> None:
        """Settles the last chain, with the converter to the output port."""
        n, bits = self.infos[layer.name].n_integers, self.infos[layer.name].type.bits
        ended: dict[int, _Chain] = {}
        for lanes, chain in self.chains[layer.name].items():
            cost = self.prices.cost(_converter_resources(n, lanes, self.out_lanes, bits))
            cycles = converter_cycles(n, lanes, self.out_lanes)
            excess = max(chain.excess, cycles - self.interval, 0)
            ended[lanes] = _Chain(chain.cost + cost, excess, chain.foldings)
        self.chains[layer.name] = ended
        self._settle(layer.name)

    def _origin(self, name: str) -> str:
        """The tensor whose stream is converted for a reader of `name`."""
        while isinstance(layer := self.graph[name], Pad | Window | Flatten):
            name = layer.source
        return name

    def _choices(self, layer: Layer) -> list[_Choice]:
        """The cheap ones that meet the interval, or else the fastest."""
        if isinstance(layer, MatVec) and len(self.infos[layer.source].shape) == 1:
            return [self._matvec_choice(layer, fold) for fold in self._vector_foldings(layer)]
        if isinstance(layer, MatVec):
            found = self._image_choices(layer)
        elif isinstance(layer, ArgMax | TopK):
            found = [self._class_choice(layer, lanes) for lanes in self._score_lanes(layer)]
        else:
            found = [self._lanes_choice(layer, pe) for pe in self.legal[layer.name].pe.values]
        good = [choice for choice in found if choice.cycles <= self.interval]
        fewest = min(choice.cycles for choice in found)
        return good or [choice for choice in found if choice.cycles == fewest]

    def _vector_foldings(self, layer: MatVec) -> list[Folding]:
        """For each SIMD the least PE, folds without padding, all rows, a beat of the port."""
        rows, columns = layer.weights.shape
        found = []
        for fold_in in range(1, min(columns, self.interval) + 1):
            least = -(-columns // fold_in)
            if -(-columns // least) != fold_in:
                continue  # the same SIMD at a shorter fold was offered before
            most = max(1, self.interval // fold_in)
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

    def _image_choices(self, layer: MatVec) -> list[_Choice]:
        """For each SIMD the least PE; whole windows only if no share of a pixel is fast enough."""
        legal, found = self.legal[layer.name], []
        rows, columns = layer.weights.shape
        n_pixels = self.infos[layer.source].n_pixels
        source = self.graph[layer.source]
        n_channels = columns // (source.n_positions if isinstance(source, Window) else 1)
        for simd in legal.simd.values:
            if simd > n_channels and any(c.cycles <= self.interval for c in found):
                break
            fast = [
                pe
                for pe in legal.pe.values
                if n_pixels * (columns // simd) * (rows // pe) <= self.interval
            ]
            pe = fast[0] if fast else rows
            found += [self._matvec_choice(layer, Folding(p, simd)) for p in {pe, rows}]
        return found

    def _matvec_choice(self, layer: MatVec, fold: Folding) -> _Choice:
        x = self.infos[layer.source]
        rows, columns = layer.weights.shape
        cycles = x.n_pixels * -(-columns // fold.simd) * -(-rows // fold.pe)
        threshold, fold = self.fused.get(layer.name), self._placed(layer, fold)
        resources = mvu_resources(layer, threshold, x, fold)
        return self._with_input(layer, fold, fold.simd, fold.pe, cycles, resources)

    def _lanes_choice(self, layer: Layer, pe: int) -> _Choice:
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
            block = self._block_of(layer, lanes)
            resources, cycles = block_resources(block), block.cycles
        return self._with_input(layer, fold, lanes, pe, cycles, resources)

    def _score_lanes(self, layer: ArgMax | TopK) -> list[int]:
        """Those of the scores' chains, and for each number of beats the least lanes."""
        legal, n = self.legal[layer.name].pe.values, self.infos[layer.source].n_channels
        least = {-(-n // n_beats) for n_beats in range(1, n + 1)}
        return [lanes for lanes in legal if lanes in least or lanes in self.chains[layer.source]]

    def _class_choice(self, layer: ArgMax | TopK, lanes: int) -> _Choice:
        """The greatest of scores that come `lanes` a beat; their indices leave one a beat."""
        info, x = self.infos[layer.name], self.infos[layer.source]
        scores = Stream("x", x.n_channels, x.type, lanes, "", x.n_pixels)
        if isinstance(layer, ArgMax):
            block = arg_max_block(layer, info, scores)
        else:
            block = top_k_block(layer, info, scores)
        cost = self.prices.cost(block_resources(block))
        return _Choice(Folding(lanes, 1), lanes, 1, block.cycles, cost)

    def _block_of(self, layer: Layer, lanes: int) -> Block:
        x = [
            Stream(f"x{i}", info.n_channels, info.type, lanes, "", info.n_pixels)
            for i, info in enumerate(self.infos[name] for name in layer.sources)
        ]
        match layer:
            case MaxPool():
                return max_pool_block(layer, replace(x[0], positions=layer.n_positions))
            case Add():
                return add_block(layer, self.infos[layer.name], *x)
            case Upsample():
                return upsample_block(layer, self.infos[layer.source], x[0])
            case Concat():
                blocks: list[Block] = []
                concat_block(blocks, layer, x)
                return blocks[-1]
        raise ValueError(f"{layer.name} has no folding")

    def _with_input(
        self,
        layer: Layer,
        fold: Folding,
        lanes_in: int,
        lanes_out: int,
        cycles: int,
        resources: Resources,
    ) -> _Choice:
        """The choice with the window and the padding before the layer, if there are any."""
        total, source = resources, self.graph[layer.sources[0]]
        while isinstance(source, Pad | Window):
            x: TensorInfo = self.infos[source.source]
            lanes = min(lanes_in, x.n_channels)
            stream = Stream("x", x.n_channels, x.type, lanes, "", x.n_pixels)
            if isinstance(source, Window):
                outer = not isinstance(layer, MatVec)
                block = window_block(source, x, stream, lanes_in, channel_outer=outer)
                lanes_in = lanes
            else:
                block = pad_block(source, x, stream)
            total, cycles = total + block_resources(block), max(cycles, block.cycles)
            source = self.graph[source.source]
        return _Choice(fold, lanes_in, lanes_out, cycles, self.prices.cost(total))

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


@lru_cache(maxsize=65536)
def _converter_resources(n: int, source_lanes: int, sink_lanes: int, bits: int) -> Resources:
    """A splitter, a joiner, both or none."""
    blocks: list[Block] = []
    convert(blocks, Stream("x", n, IntType(bits, signed=False), source_lanes, "x"), sink_lanes)
    return sum((block_resources(block) for block in blocks), Resources())
