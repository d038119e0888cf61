"""`mvu` with DEPTHWISE = 1 against the golden model: kinds, foldings, thresholds, both bodies."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from random_networks import ACT_TYPES, WEIGHT_KINDS, random_thresholds, random_weights
from rtl_bench import BenchError, Case, Sink, Source, run_cases, to_words

from hw_build.emit import RTL_FOLDER
from hw_build.golden import execute
from hw_build.graph import BIPOLAR, Depthwise, Graph, Input, IntType, Threshold
from hw_build.mvu_memory import act_kind, depthwise_memory, words_of

SEEDS = range(34)
"""Every kind of weights and of inputs, and every second has thresholds."""
STALLS = (0.0, 0.25, 0.5)
N_VECTORS = 12


@dataclass(frozen=True, eq=False)
class Unit:
    """A Depthwise layer of C channels and K positions, perhaps with a Threshold, in PE rows."""

    name: str
    depthwise: Depthwise
    threshold: Threshold | None
    act: IntType
    n_channels: int
    pe: int
    block_memory: int = 0

    @property
    def multiplier(self) -> int:
        return len(self.depthwise.weights) // self.n_channels

    @property
    def n_positions(self) -> int:
        return self.depthwise.weights.shape[1]

    @property
    def graph(self) -> Graph:
        source = Input("input", (1, 1, self.n_positions * self.n_channels), self.act)
        layers = (source, self.depthwise, self.threshold)
        return Graph(tuple(layer for layer in layers if layer is not None))

    @property
    def latency(self) -> int:
        """Cycles from the last beat of a group, taken, to its output beat, when nothing stalls."""
        n_levels = 0 if self.threshold is None else self.threshold.thresholds.shape[1]
        return 4 + max(0, n_levels.bit_length() - 1)


def case_of(unit: Unit, x: np.ndarray, compress: int = 0) -> Case:
    """The unit's instance; `x` holds its inputs (N_VECTORS, K * C)."""
    infos = unit.graph.infer()
    memory = depthwise_memory("unit", unit.depthwise, unit.threshold, infos["input"], unit.pe)
    lanes, k = unit.pe // unit.multiplier, unit.n_positions
    groups = -(-unit.n_channels // lanes)
    out = unit.graph.output
    type_out = IntType(memory.sum_bits, signed=True) if unit.threshold is None else out.type
    base = 0 if unit.threshold is None or type_out.bipolar else unit.threshold.base
    coded = (x > 0).astype(np.int64) if unit.act.bipolar else x
    padded = np.zeros((len(x), k, groups * lanes), np.int64)
    padded[..., : unit.n_channels] = coded.reshape(len(x), k, unit.n_channels)
    beats = padded.reshape(len(x), k, groups, lanes).swapaxes(1, 2).reshape(-1, lanes)
    return Case(
        unit.name,
        "mvu",
        {
            "FOLD_IN": k,
            "FOLD_OUT": groups,
            "SIMD": 1,
            "PE": unit.pe,
            "DEPTHWISE": 1,
            "MULTIPLIER": unit.multiplier,
            "WEIGHT_KIND": memory.weight_kind,
            "WEIGHT_BITS": memory.weight_bits,
            "ACT_KIND": act_kind(unit.act),
            "ACT_BITS": unit.act.bits,
            "SHIFT": memory.shift,
            "SUM_BITS": memory.sum_bits,
            "LEVEL_BITS": memory.level_bits,
            "OUT_BITS": type_out.bits,
            "OUT_BASE": base,
            "BLOCK_MEMORY": unit.block_memory,
            "COMPRESS": compress,
            "WEIGHT_FILE": "unit_weight.mem",
            "START_FILE": "unit_start.mem",
            "THRESHOLD_FILE": "unit_threshold",
        },
        [Source("s_axis", lanes * unit.act.bits, list(words_of(beats, unit.act.bits)))],
        [Sink("m_axis", unit.pe * type_out.bits, len(x) * groups)],
        {memory.file: memory.text for memory in memory.memories},
    )


def expected_beats(unit: Unit, case: Case, x: np.ndarray) -> list[int]:
    """What the golden model says; lanes beyond the outputs are zero bits."""
    output = unit.graph.output
    y = execute(unit.graph, x[:, None, None, :])[output.name].reshape(len(x), -1).astype(np.int64)
    if output.type.bipolar if isinstance(output, Threshold) else False:
        y = y > 0
    padded = np.zeros((len(x), case.parameters["FOLD_OUT"] * unit.pe), np.int64)
    padded[:, : y.shape[1]] = y
    return list(words_of(padded.reshape(-1, unit.pe), case.parameters["OUT_BITS"]))


def random_inputs(unit: Unit, seed: int = 0) -> np.ndarray:
    """The ends of the range are as likely as all between them."""
    rng, kind = np.random.default_rng(seed), unit.act
    shape = (N_VECTORS, unit.n_positions * unit.n_channels)
    ends = rng.choice([kind.lo, kind.hi], shape)
    inner = ends if kind.bipolar else rng.integers(kind.lo, kind.hi + 1, shape)
    return np.where(rng.random(shape) < 0.5, ends, inner)


def with_threshold(unit: Unit, rng: np.random.Generator, kind: IntType) -> Unit:
    threshold = random_thresholds(rng, "act", unit.depthwise.name, unit.graph, kind)
    return dataclasses.replace(unit, threshold=threshold)


def random_unit(seed: int) -> Unit:
    rng = np.random.default_rng(seed)
    n_channels, n_positions = int(rng.integers(1, 9)), int(rng.choice([1, 4, 9]))
    multiplier = int(rng.choice([1, 1, 2, 3]))
    kind, act = WEIGHT_KINDS[seed % len(WEIGHT_KINDS)], ACT_TYPES[seed % len(ACT_TYPES)]
    weights = random_weights(rng, kind, n_channels * multiplier, n_positions)
    lanes = int(rng.choice([1, n_channels, rng.integers(1, n_channels + 1)]))
    name = f"{seed}: {kind} x {act}, {n_channels} x {n_positions} x {multiplier}"
    depthwise = Depthwise("dw", "input", weights)
    unit = Unit(name, depthwise, None, act, n_channels, lanes * multiplier, int(seed % 5 == 0))
    return with_threshold(unit, rng, ACT_TYPES[(7 * seed) % len(ACT_TYPES)]) if seed % 2 else unit


def of_ones(name: str, act: IntType, k: int, out: IntType | None, sign: int = 1) -> Unit:
    """A sum pool of K positions, or with K = 1 a sign turn or a Threshold by itself."""
    weights = np.full((7, k), sign)
    weights[1] = 1
    unit = Unit(name, Depthwise("dw", "input", weights), None, act, 7, 3)
    return unit if out is None else with_threshold(unit, np.random.default_rng(k), out)


def constants(act: IntType) -> Unit:
    """Multiplication by a constant of every channel."""
    weights = np.array([[3], [-5], [7], [1], [-8]])
    return Unit(f"constants x {act}", Depthwise("dw", "input", weights), None, act, 5, 2)


WIDE = [IntType(bits, signed) for bits in (12, 19, 24) for signed in (False, True)]
UINT3 = IntType(3, signed=False)
SPECIAL = [
    *(of_ones(f"threshold on {act}", act, 1, UINT3) for act in WIDE),
    *(of_ones(f"sign turn of {act}", act, 1, None, sign=-1) for act in WIDE),
    *(of_ones(f"bipolar of {act}", act, 1, BIPOLAR, sign=-1) for act in WIDE),
    *(of_ones(f"sum pool of {act}", act, 9, None) for act in (*WIDE, BIPOLAR, UINT3)),
    *(of_ones(f"average pool of {act}", act, 4, UINT3) for act in (BIPOLAR, UINT3)),
    *(constants(act) for act in (*WIDE, BIPOLAR, UINT3)),
]
RANDOM = [random_unit(seed) for seed in SEEDS]
INT24 = WIDE[-1]
FAST = [
    *RANDOM[:10],
    of_ones("threshold", INT24, 1, UINT3),
    of_ones("sign turn", INT24, 1, None, sign=-1),
    of_ones("sum pool", BIPOLAR, 9, None),
    of_ones("average pool", UINT3, 4, UINT3),
]


def check(units: list[Unit], stalls: float, seed: int = 1, compress: int = 0, **options) -> None:
    inputs = [random_inputs(unit, seed) for unit in units]
    cases = [case_of(unit, x, compress) for unit, x in zip(units, inputs, strict=True)]
    results = run_cases(cases, stalls, seed, **options)
    for unit, case, x, result in zip(units, cases, inputs, results, strict=True):
        width = case.sinks[0].width
        wanted = to_words(expected_beats(unit, case, x), width)
        assert np.array_equal(result.beats["m_axis"], wanted), unit.name
        if not stalls:
            k = unit.n_positions
            taken, left = result.cycles["s_axis"], result.cycles["m_axis"]
            assert np.array_equal(taken, np.arange(len(taken))), unit.name
            assert np.array_equal(left, taken[k - 1 :: k] + unit.latency), unit.name


@pytest.mark.parametrize("stalls", STALLS)
def test_what_is_simulated(stalls: float) -> None:
    check(FAST, stalls)


def test_a_reset_in_the_middle_leaves_no_trace() -> None:
    check(FAST, 0.4, reset_after=9)


@pytest.mark.nightly
@pytest.mark.parametrize("compress", [0, 1])
@pytest.mark.parametrize("part", range(6))
def test_every_kind_and_wide_inputs(part: int, compress: int) -> None:
    units = [*RANDOM, *SPECIAL][part::6]
    for seed, stalls in enumerate(STALLS):
        check(units, stalls, seed, compress)


@pytest.mark.nightly
@pytest.mark.parametrize("compress", [0, 1])
@pytest.mark.parametrize("start", range(100, 320, 22))
def test_many_units(start: int, compress: int) -> None:
    many = [random_unit(seed) for seed in range(start + compress, start + 22, 2)]
    for seed, stalls in enumerate((*STALLS, *STALLS)):
        check(many, stalls, seed, compress)


def test_the_random_units_hold_every_kind() -> None:
    assert {unit.depthwise.weight_kind for unit in RANDOM} == {
        "binary",
        "ternary",
        "quinary",
        "int",
    }
    assert {unit.act for unit in RANDOM} == set(ACT_TYPES)
    assert {unit.multiplier for unit in RANDOM} == {1, 2, 3}
    for thresholds in (True, False):
        of_kind = [unit for unit in RANDOM if (unit.threshold is not None) == thresholds]
        lanes = [unit.pe // unit.multiplier for unit in of_kind]
        padded = {unit.n_channels % n != 0 for unit, n in zip(of_kind, lanes, strict=True)}
        assert padded == {True, False}
        assert {unit.n_positions for unit in of_kind} == {1, 4, 9}
    levels = {u.threshold.thresholds.shape[1] for u in RANDOM if u.threshold is not None}
    assert {1, 2, 254} <= levels


FAULTS = [
    ("p / MULTIPLIER : 0", "(p + 1) % PE / MULTIPLIER : 0"),
    ("first2 ? start", "first2 & group2 == '0 ? start"),
    ("FOLD_OUT > 1 && DEPTHWISE == 0", "FOLD_OUT > 1"),
]


@pytest.mark.parametrize(
    ("old", "new"), [FAULTS[0], *(pytest.param(*f, marks=pytest.mark.nightly) for f in FAULTS[1:])]
)
def test_a_planted_fault_is_caught(old: str, new: str, tmp_path: Path) -> None:
    rtl = tmp_path / "rtl"
    shutil.copytree(RTL_FOLDER, rtl)
    text = (rtl / "mvu.sv").read_text()
    assert text.count(old) == 1
    (rtl / "mvu.sv").write_text(text.replace(old, new))
    with pytest.raises((AssertionError, BenchError)):
        check(FAST[:6], 0.2, rtl=rtl, patience=500)
