"""Units and converters, each alone: the blocks that lowering makes, against the golden model.

Every stream stalls at random; without stalls every beat passes in the cycle that the exact model of
the streams says.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from random_networks import ACT_TYPES, WEIGHT_KINDS, random_thresholds, random_weights
from rtl_bench import BenchError, Case, Sink, Source, run_cases, to_ints

from hw_build.blocks import Block, Stream
from hw_build.cycle_model.run import follow_frames
from hw_build.emit import RTL_FOLDER
from hw_build.folding import Folding, divisors
from hw_build.golden import execute
from hw_build.graph import ArgMax, Depthwise, Graph, Input, IntType, MatVec
from hw_build.lower_streams import convert
from hw_build.lower_units import arg_max_block, depthwise_block, matvec_block
from hw_build.mvu_memory import words_of
from hw_build.simulator import zero_padded_streams

STALLS = (0.0, 0.25, 0.5)
N_VECTORS = 12


@dataclass(frozen=True, eq=False)
class Unit:
    """A block, the integers (N_VECTORS, n) that it is given, and those that it has to give back."""

    name: str
    block: Block
    inputs: np.ndarray
    outputs: np.ndarray

    def case(self, compress: int = 0) -> Case:
        """Its instance. Lanes beyond a vector's integers are zero, or the greatest value where
        nothing may read them."""
        block, source, sink = self.block, self.block.source, self.block.sink
        unread = {"arg_max": source.n, "lane_splitter": sink.vector_beats * sink.lanes}
        lanes = lanes_of(source, self.inputs, unread.get(block.module))
        beats = list(words_of(lanes, source.type.bits))
        parameters = dict(block.parameters)
        if block.module == "mvu":
            parameters["COMPRESS"] = compress
        return Case(
            self.name,
            block.module,
            parameters,
            [Source("s_axis", source.width, beats)],
            [Sink("m_axis", sink.width, N_VECTORS * sink.beats)],
            {memory.file: memory.text for memory in block.memories},
        )

    def differs(self, beats: np.ndarray) -> bool:
        """Whether beats, as they left, are not the outputs. Padding lanes are zero, but for those
        that nobody may read."""
        sink = self.block.sink
        wanted = lanes_of(sink, self.outputs)
        mask = lanes_of(sink, np.ones_like(self.outputs)) != 0
        if sink.name in zero_padded_streams((self.block,)):
            mask[:] = True
        every = (1 << sink.type.bits) - 1
        found = [
            [beat >> lane * sink.type.bits & every for lane in range(sink.lanes)]
            for beat in to_ints(beats)
        ]
        return bool((((wanted & every) != np.array(found)) & mask).any())


def lanes_of(stream: Stream, values: np.ndarray, unread: int | None = None) -> np.ndarray:
    """Integers (N, n) as (beats, lanes); a vector's lanes from number `unread` on hold the most."""
    coded = (values > 0).astype(np.int64) if stream.type.bipolar else values.astype(np.int64)
    n_channels = stream.n // stream.positions
    n_groups = -(-n_channels // stream.lanes)
    shape = (len(values), stream.positions, n_groups * stream.lanes)
    padded = np.zeros(shape, np.int64)
    if unread is not None:
        padded[..., unread:] = stream.type.hi
    padded[..., :n_channels] = coded.reshape(len(values), stream.positions, n_channels)
    in_groups = padded.reshape(len(values), stream.positions, n_groups, stream.lanes)
    return in_groups.swapaxes(1, 2).reshape(-1, stream.lanes)


def some(rng: np.random.Generator, n: int) -> int:
    """One, all, or any number between."""
    return int(rng.choice([1, n, rng.integers(1, n + 1), rng.integers(1, n + 1)]))


def inputs_of(rng: np.random.Generator, source: Input) -> np.ndarray:
    """The ends of the range are as likely as all between them."""
    kind, shape = source.type, (N_VECTORS, *source.shape)
    ends = rng.choice([kind.lo, kind.hi], shape)
    inner = ends if kind.bipolar else rng.integers(kind.lo, kind.hi + 1, shape)
    return np.where(rng.random(shape) < 0.5, ends, inner)


def unit_of(rng: np.random.Generator, graph: Graph, name: str, block: Block) -> Unit:
    """A block that computes all of a graph."""
    x = inputs_of(rng, graph.input)
    if isinstance(graph.output, ArgMax) and not graph.input.type.bipolar:
        x[::2] //= 2  # so that the greatest value of the type is not the greatest score
    y = execute(graph, x)[graph.output.name].astype(np.int64)
    return Unit(name, block, x.reshape(N_VECTORS, -1), y.reshape(N_VECTORS, -1))


def dense(seed: int) -> Unit:
    """Any weights and inputs, any folding, every second with a Threshold."""
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers(1, 12, 2))
    kind, act = WEIGHT_KINDS[seed % len(WEIGHT_KINDS)], ACT_TYPES[seed % len(ACT_TYPES)]
    layer = MatVec("fc", "x", random_weights(rng, kind, rows, columns))
    graph, threshold = Graph((Input("x", (columns,), act), layer)), None
    if seed % 2:
        levels = ACT_TYPES[(7 * seed) % len(ACT_TYPES)]
        threshold = random_thresholds(rng, "act", "fc", graph, levels)
        graph = Graph((*graph.layers, threshold))
    fold = Folding(some(rng, rows), some(rng, columns), ("auto", "lut", "block")[seed % 3])
    stream = Stream("x", columns, act, fold.simd, "x")
    block = matvec_block(layer, threshold, graph.infer()["x"], fold, stream)
    return unit_of(rng, graph, f"{rows} x {columns}, {kind} x {act}, {fold}, {seed}", block)


def pixel(rng: np.random.Generator, n_positions: int = 1) -> tuple[Input, Stream]:
    """One pixel of channels of any type up to 16 bits, or a window of some, and its stream."""
    n_channels = int(rng.integers(1, 10))
    signed = bool(rng.integers(2))
    wide = IntType(int(rng.integers(2, 17)), signed)
    kind = (wide, ACT_TYPES[rng.integers(len(ACT_TYPES))])[rng.integers(2)]
    lanes = int(rng.choice(divisors(n_channels)))
    source = Input("x", (1, 1, n_positions * n_channels), kind)
    return source, Stream("x", source.shape[2], kind, lanes, "x", 1, n_positions)


def threshold_alone(seed: int) -> Unit:
    rng = np.random.default_rng(seed)
    source, stream = pixel(rng)
    levels = ACT_TYPES[seed % len(ACT_TYPES)]
    threshold = random_thresholds(rng, "act", "x", Graph((source,)), levels)
    block = depthwise_block(None, threshold, source.infer(), Folding(stream.lanes, 1), stream)
    return unit_of(rng, Graph((source, threshold)), f"{levels} of {source.type}, {seed}", block)


def constant(seed: int) -> Unit:
    """Every channel multiplied by its own constant; some channels are put out several times."""
    rng = np.random.default_rng(seed)
    source, stream = pixel(rng)
    per_channel = int(rng.choice([1, 1, 2, 3]))
    weights = rng.integers(-90, 91, (per_channel * stream.n, 1))
    layer = Depthwise("scaled", "x", weights)
    fold = Folding(stream.lanes * per_channel, 1)
    block = depthwise_block(layer, None, source.infer(), fold, stream)
    return unit_of(rng, Graph((source, layer)), f"constants x {source.type}, {seed}", block)


def average_pool(seed: int) -> Unit:
    """Sums of a window; every second is divided and rounded by a Threshold."""
    rng = np.random.default_rng(seed)
    n_positions = int(rng.integers(2, 10))
    source, stream = pixel(rng, n_positions)
    n_channels = stream.n // n_positions
    layer = Depthwise("sum", "x", np.ones((n_channels, n_positions), np.int64))
    graph, threshold = Graph((source, layer)), None
    if seed % 2:
        levels = ACT_TYPES[seed % len(ACT_TYPES)]
        threshold = random_thresholds(rng, "act", "sum", graph, levels)
        graph = Graph((*graph.layers, threshold))
    fold = Folding(stream.lanes, 1)
    block = depthwise_block(layer, threshold, source.infer(), fold, stream)
    return unit_of(rng, graph, f"pool of {n_positions} x {source.type}, {seed}", block)


def arg_max(seed: int) -> Unit:
    """Few levels, many ties; lanes that divide the scores or not."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    kind = ACT_TYPES[seed % len(ACT_TYPES)]
    kind = kind if kind.bits < 6 else IntType(int(rng.integers(6, 20)), signed=True)
    source = Input("x", (n,), kind)
    graph = Graph((source, ArgMax("class", "x")))
    lanes = some(rng, n)
    block = arg_max_block(graph.output, graph.infer()["class"], Stream("x", n, kind, lanes, "x"))
    return unit_of(rng, graph, f"arg max of {n} {kind}, {lanes} at once, {seed}", block)


def converter(module: str) -> Callable[[int], Unit]:
    def of(seed: int) -> Unit:
        rng = np.random.default_rng(seed)
        kind = ACT_TYPES[seed % len(ACT_TYPES)]
        narrow, ratio = int(rng.integers(1, 7)), int(rng.integers(2, 7))
        n = int(rng.integers(1, 2 * narrow * ratio + 2))
        ends = (narrow * ratio, narrow) if module == "lane_splitter" else (narrow, narrow * ratio)
        made: list[Block] = []
        convert(made, Stream("x", n, kind, ends[0], "x"), ends[1])
        (block,) = made
        graph = Graph((Input("x", (n,), kind),))
        return unit_of(rng, graph, f"{n} {kind}, {ends[0]} to {ends[1]} lanes, {seed}", block)

    of.__name__ = module
    return of


OPERATORS = (
    *(dense, threshold_alone, constant, average_pool, arg_max),
    *(converter("lane_splitter"), converter("lane_joiner")),
)


def check(units: list[Unit], stalls: float, seed: int = 1, compress: int = 0, **options) -> None:
    results = run_cases([unit.case(compress) for unit in units], stalls, seed, **options)
    for unit, result in zip(units, results, strict=True):
        assert not unit.differs(result.beats["m_axis"]), unit.name
        if not stalls:
            ends = {"s_axis": unit.block.source.name, "m_axis": unit.block.sink.name}
            run = follow_frames((unit.block,), N_VECTORS, record=ends.values())
            for prefix, name in ends.items():
                n = len(result.cycles[prefix])
                assert np.array_equal(run.beat_cycles[name][:n], result.cycles[prefix]), unit.name


FAST = [operator(seed) for operator in OPERATORS for seed in range(3)]


@pytest.mark.parametrize("stalls", STALLS)
def test_random_units(stalls: float) -> None:
    check(FAST, stalls)


def test_a_reset_in_the_middle_leaves_no_trace() -> None:
    check(FAST, 0.4, reset_after=9)


@pytest.mark.nightly
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda of: of.__name__)
@pytest.mark.parametrize("start", range(100, 300, 50))
def test_many_random_units(operator: Callable[[int], Unit], start: int) -> None:
    many = [operator(seed) for seed in range(start, start + 50)]
    for seed, stalls in enumerate((*STALLS, *STALLS)):
        check(many, stalls, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("operator", [dense, constant, average_pool], ids=lambda of: of.__name__)
def test_the_body_that_is_synthesised(operator: Callable[[int], Unit]) -> None:
    check([operator(seed) for seed in range(300, 320)], 0.25, compress=1)


def test_the_cases_hold_padding_and_ties() -> None:
    many = [arg_max(seed) for seed in range(100, 300)]
    lanes = [unit.block.source for unit in many]
    assert {stream.padding > 0 for stream in lanes if 1 < stream.lanes < stream.n} == {True, False}
    assert {stream.lanes == stream.n for stream in lanes} == {True, False}
    tied = [(u.inputs == u.inputs.max(axis=1, keepdims=True)).sum(axis=1) > 1 for u in many]
    assert np.mean(tied) > 0.3


FAULTS = [
    (
        "arg_max",
        "> scores[lane*SCORE_BITS+:SCORE_BITS])",
        ">= scores[lane*SCORE_BITS+:SCORE_BITS])",
    ),
    ("arg_max", "(~last || lane + step < LAST_LANES)", "1'b1"),
    ("lane_joiner", "padding ? {WIDTH{1'b0}}", "padding ? {WIDTH{1'b1}}"),
    ("lane_splitter", "(count) == VECTOR - 1", "(count) == VECTOR"),
    ("mvu", "first2 ? start", "first2 & group2 == '0 ? start"),
]


def test_every_fault_can_be_planted() -> None:
    for module, old, _ in FAULTS:
        assert (RTL_FOLDER / f"{module}.sv").read_text().count(old) == 1, (module, old)


@pytest.mark.nightly
@pytest.mark.parametrize(("module", "old", "new"), FAULTS, ids=[old for _, old, _ in FAULTS])
def test_a_planted_fault_is_caught(module: str, old: str, new: str, tmp_path: Path) -> None:
    rtl = tmp_path / "rtl"
    shutil.copytree(RTL_FOLDER, rtl)
    text = (rtl / f"{module}.sv").read_text()
    assert text.count(old) == 1
    (rtl / f"{module}.sv").write_text(text.replace(old, new))
    units = [operator(seed) for operator in OPERATORS for seed in range(100, 130)]
    units = [unit for unit in units if unit.block.module == module]
    with pytest.raises((AssertionError, BenchError)):
        check(units, 0.2, rtl=rtl, patience=500)
