"""The cheapest folding that keeps every block at or under an interval.

The search goes through the layers once, in their order (dynamic programming). Of all foldings so
far that leave the same lanes to the streams that are still to be read it keeps the best one, so
that width converters are weighed too. In a chain that is one stream; between a fork and the layer
where its branches meet it is one for each branch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from heapq import nsmallest
from typing import NamedTuple

from deploy.errors import UserError

from .blocks import Block, Stream
from .estimate import block_resources
from .folding import Folding, converter_cycles
from .folding_choices import Choice, Choices
from .graph import Flatten, Graph, Input, IntType, Layer, Pad, Window
from .lower_streams import convert
from .resources import PRICES, Prices, Resources

WORTH = 0.05
"""The share of the cost that whole windows a beat have to save: they lengthen paths, and estimates
are not much nearer than that."""

MOST_PATHS = 4000
"""The best ones that are kept at a layer. Graphs with a few branches side by side have fewer, and
the search is exact; it would take too long for many."""


def choose_folding(
    graph: Graph, interval: int, port_bits: int = 64, prices: Prices = PRICES
) -> dict[str, Folding]:
    """The cheapest folding with every block at or under `interval` cycles a frame.

    Where no folding is fast enough, the cheapest that misses the interval by least: no layer is
    made faster than the slowest one, or a port, can be. Cost is that of the estimated resources by
    `prices`; other ones than `PRICES` also decide where weights are kept. Returns foldings by
    layer; UserError if `interval` is below one cycle.
    """
    return FoldingSearch(graph, port_bits, prices).at(interval)


class FoldingSearch:
    """`choose_folding` of one graph, for as many intervals as are asked.

    `worth` is that of whole windows, see `WORTH`.
    """

    def __init__(
        self, graph: Graph, port_bits: int = 64, prices: Prices = PRICES, worth: float = WORTH
    ) -> None:
        self.graph, self.choices = graph, Choices(graph, port_bits, prices)
        self.worth = worth

    def at(self, interval: int) -> dict[str, Folding]:
        """The folding that `choose_folding` documents."""
        if interval < 1:
            raise UserError(
                "the target frame rate is above one frame a clock cycle",
                found=f"an interval of {interval} cycles",
                expected="1 cycle or more",
                fix="lower --target-fps or raise --clock-mhz",
            )
        interval = max(interval, self.choices.fewest_cycles)
        path = self._best(interval, whole_windows=True)
        if self.worth:
            plain = self._best(interval, whole_windows=False)
            if plain.excess == path.excess and plain.cost <= (1 + self.worth) * path.cost:
                path = plain
        found = {step.layer: step.folding for step in path.steps() if step.folding is not None}
        return {name: found[name] for name in self.choices.legal if name in found}

    def _best(self, interval: int, *, whole_windows: bool) -> _Path:
        def passed(interval: int) -> _Path:
            return _Pass(self.graph, self.choices, interval, whole_windows=whole_windows).run()

        path = passed(interval)
        if path.excess:  # of a width converter: the rest need not be faster
            slower = passed(interval + path.excess)
            if not slower.excess:
                return slower._replace(excess=path.excess)
        return path


Lanes = tuple[int, ...]
"""Of the streams that are still to be read, one after another."""


class _Path(NamedTuple):
    """Foldings of the layers so far. `excess` is by how many cycles blocks miss the interval."""

    excess: int
    cost: float
    layer: str
    folding: Folding | None
    before: _Path | None

    def steps(self) -> Iterator[_Path]:
        """The last layer's first."""
        path: _Path | None = self
        while path is not None:
            yield path
            path = path.before


class _Pass:
    """Once through the layers."""

    def __init__(
        self, graph: Graph, choices: Choices, interval: int, *, whole_windows: bool
    ) -> None:
        self.graph, self.choices = graph, choices
        self.interval, self.whole_windows = interval, whole_windows
        self.infos, self.unread = choices.infos, graph.n_readers
        self.live: list[str] = []  # streams that are still to be read
        self.carriers: dict[str, str] = {}  # by layer: the one of those that holds its integers
        self.paths: dict[Lanes, _Path] = {}

    def run(self) -> _Path:
        for layer in self.graph:
            if isinstance(layer, Input):
                self._begin(layer)
            elif layer.name in self.choices.legal:
                self._fold(layer)
            else:  # it follows its neighbours
                self.carriers[layer.name] = carrier = self.carriers[layer.sources[0]]
                self.unread[carrier] += self.unread[layer.name] - 1
        return self._end(self.graph.output.name)

    def _begin(self, layer: Input) -> None:
        """A port of other lanes than it has by itself is named."""
        n = self.infos[layer.name].n_integers
        for lanes in self.choices.port_lanes:
            folding = None if lanes == self.choices.port_lanes[0] else Folding(lanes, 1)
            excess = max(0, -(-n // lanes) - self.interval)
            self.paths[lanes,] = _Path(excess, 0.0, layer.name, folding, None)
        self._carry(layer.name, [])

    def _carry(self, name: str, kept: list[str]) -> None:
        self.live = [*kept, name]
        self.carriers[name] = name

    def _fold(self, layer: Layer) -> None:
        """Goes on with each path and each folding of a layer."""
        read = [self.live.index(self.carriers[name]) for name in layer.sources]
        for name in layer.sources:
            self.unread[self.carriers[name]] -= 1
        kept = [place for place, name in enumerate(self.live) if self.unread[name]]
        choices = self.choices.of(
            layer,
            self.interval,
            lanes={lanes[read[0]] for lanes in self.paths},
            whole_windows=self.whole_windows,
        )
        by_lanes: dict[int, list[Choice]] = {}
        for choice in choices:
            by_lanes.setdefault(choice.lanes_in, []).append(choice)
        found: dict[Lanes, _Path] = {}
        for lanes_in, alike in by_lanes.items():
            converted = self._converted(layer, lanes_in, read, kept)
            for choice in alike:
                late = choice.cycles - self.interval
                for lanes, before in converted.items():
                    excess, cost = max(before.excess, late), before.cost + choice.cost
                    key = (*lanes, choice.lanes_out)
                    best = found.get(key)
                    if best is None or (excess, cost) < best[:2]:
                        found[key] = _Path(excess, cost, layer.name, choice.folding, before)
        if len(found) > MOST_PATHS:
            found = dict(nsmallest(MOST_PATHS, found.items(), key=lambda item: item[1][:2]))
        self.paths = found
        self._carry(layer.name, [self.live[place] for place in kept])

    def _converted(
        self, layer: Layer, lanes_in: int, read: list[int], kept: list[int]
    ) -> dict[Lanes, _Path]:
        """By the lanes of `kept` streams: the best path, with the converters to `lanes_in`."""
        converters = [
            {lanes: self._converter(name, lanes, lanes_in) for lanes in {p[at] for p in self.paths}}
            for name, at in zip(layer.sources, read, strict=True)
        ]
        found: dict[Lanes, _Path] = {}
        for lanes, path in self.paths.items():
            excess, cost = path.excess, path.cost
            for at, table in zip(read, converters, strict=True):
                cycles, more = table[lanes[at]]
                excess, cost = max(excess, cycles - self.interval), cost + more
            key = tuple(lanes[at] for at in kept)
            best = found.get(key)
            if best is None or (excess, cost) < best[:2]:
                found[key] = _Path(excess, cost, layer.name, None, path)
        return found

    def _converter(self, name: str, source_lanes: int, sink_lanes: int) -> tuple[int, float]:
        """Cycles and cost of the converter between the stream of `name` and who reads it."""
        layer = self.graph[name]
        whole = isinstance(layer, Flatten | Input) or layer is self.graph.output
        while isinstance(layer := self.graph[name], Pad | Window | Flatten):
            name = layer.source
        info = self.infos[name]
        n = info.n_integers if whole or isinstance(layer, Input) else info.n_channels
        cycles = info.n_integers // n * converter_cycles(n, source_lanes, sink_lanes)
        resources = _converter_resources(n, source_lanes, sink_lanes, info.type.bits)
        return cycles, self.choices.prices.cost(resources)

    def _end(self, name: str) -> _Path:
        """The best path, with the converter to the output port."""
        (at,) = (i for i, live in enumerate(self.live) if live == self.carriers[name])
        lanes_out = self.choices.out_lanes
        ended = []
        for lanes, path in self.paths.items():
            cycles, cost = self._converter(name, lanes[at], lanes_out)
            excess = max(path.excess, cycles - self.interval)
            ended.append(_Path(excess, path.cost + cost, name, None, path))
        return min(ended, key=lambda path: path[:2])


@lru_cache(maxsize=65536)
def _converter_resources(n: int, source_lanes: int, sink_lanes: int, bits: int) -> Resources:
    """A splitter, a joiner, both or none."""
    blocks: list[Block] = []
    convert(blocks, Stream("x", n, IntType(bits, signed=False), source_lanes, "x"), sink_lanes)
    return sum((block_resources(block) for block in blocks), Resources())
