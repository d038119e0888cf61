"""Fork, add, concatenate, greatest scores, deep FIFOs: random cases against the golden model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rtl_bench import Case, Result, Sink, Source, run_cases, to_ints

from hw_build.emit import RTL_FOLDER
from hw_build.golden import execute
from hw_build.golden_images import image_kernel
from hw_build.graph import BIPOLAR, Add, Graph, Input, IntType, TensorInfo, TopK
from hw_build.mvu_memory import act_kind

FAST_SEEDS = range(12)
STALLS = (0.0, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class Expected:
    """A case, the beats that must leave by sink, and what their cycles must be without stalls."""

    case: Case
    beats: dict[str, list[int]]
    unstalled: Callable[[dict[str, np.ndarray]], bool]


def packed(values: np.ndarray, kind: IntType) -> list[int]:
    """Integers (beats, lanes) as beats."""
    coded = values > 0 if kind.bipolar else values
    mask = (1 << kind.bits) - 1
    return [sum((int(v) & mask) << i * kind.bits for i, v in enumerate(beat)) for beat in coded]


def random_type(rng: np.random.Generator, most: int = 10) -> IntType:
    signed = bool(rng.integers(2))
    plain = IntType(int(rng.integers(1 + signed, most)), signed)
    return BIPOLAR if rng.random() < 0.2 else plain


def random_values(rng: np.random.Generator, kind: IntType, shape: tuple[int, ...]) -> np.ndarray:
    """The ends of the range are as likely as all between them."""
    ends = rng.choice([kind.lo, kind.hi], shape)
    if kind.bipolar:
        return ends
    return np.where(rng.random(shape) < 0.5, ends, rng.integers(kind.lo, kind.hi + 1, shape))


def random_beats(rng: np.random.Generator, width: int, n: int) -> list[int]:
    return [int.from_bytes(rng.bytes(40), "little") % (1 << width) for _ in range(n)]


def fork(seed: int) -> Expected:
    rng = np.random.default_rng(seed)
    width, n = int(rng.integers(1, 100)), int(rng.integers(20, 80))
    beats = random_beats(rng, width, n)
    sinks = [Sink("m0_axis", width, n), Sink("m1_axis", width, n)]
    case = Case(
        f"fork {seed}", "stream_fork", {"WIDTH": width}, [Source("s_axis", width, beats)], sinks
    )

    def unstalled(cycles: dict[str, np.ndarray]) -> bool:
        """Each sink takes a beat in the cycle in which it is offered."""
        return all(np.array_equal(of, np.arange(n)) for of in cycles.values())

    return Expected(case, {"m0_axis": beats, "m1_axis": beats}, unstalled)


def add(seed: int) -> Expected:
    rng = np.random.default_rng(seed)
    lanes, n = int(rng.integers(1, 6)), int(rng.integers(20, 60))
    multipliers = tuple(int(m) for m in rng.choice([1, 1, -1, 2, 3, -7, 90], 2))
    kinds = [random_type(rng) for _ in range(2)]
    infos = [
        TensorInfo((n, 1, lanes), kind, np.full(lanes, kind.lo), np.full(lanes, kind.hi))
        for kind in kinds
    ]
    layer = Add("add", "a", "b", multipliers)
    out = layer.infer(*infos)
    a, b = (random_values(rng, kind, (n, lanes)) for kind in kinds)
    sums = image_kernel(layer, infos, np.dtype(np.float64))(a, b).astype(np.int64)
    assert (sums >= out.lo).all()
    assert (sums <= out.hi).all()
    parameters = {"LANES": lanes, "OUT_BITS": out.type.bits}
    for letter, kind, multiplier in zip("AB", kinds, multipliers, strict=True):
        parameters |= {f"{letter}_BITS": kind.bits, f"{letter}_KIND": act_kind(kind)}
        parameters[f"MULTIPLIER_{letter}"] = multiplier
    sources = [
        Source(f"s{i}_axis", lanes * kind.bits, packed(x, kind))
        for i, (x, kind) in enumerate(zip((a, b), kinds, strict=True))
    ]
    sink = Sink("m_axis", lanes * out.type.bits, n)

    def unstalled(cycles: dict[str, np.ndarray]) -> bool:
        """Both beats are taken together, their sum leaves a cycle later."""
        taken = [cycles["s0_axis"], cycles["s1_axis"], cycles["m_axis"] - 1]
        return all(np.array_equal(of, np.arange(n)) for of in taken)

    case = Case(f"add {seed} {multipliers}", "stream_add", parameters, sources, [sink])
    return Expected(case, {"m_axis": packed(sums, out.type)}, unstalled)


def concat(seed: int) -> Expected:
    rng = np.random.default_rng(seed)
    width, n = int(rng.integers(1, 70)), int(rng.integers(10, 20))
    beats_of = [int(rng.choice([1, 2, rng.integers(1, 9)])) for _ in range(2)]
    a, b = (random_beats(rng, width, n * beats) for beats in beats_of)
    joined = []
    for i in range(n):
        for beats, vector in zip((a, b), beats_of, strict=True):
            joined += beats[i * vector : (i + 1) * vector]
    parameters = {"BEAT_BITS": width, "A_BEATS": beats_of[0], "B_BEATS": beats_of[1]}
    sources = [Source("s0_axis", width, a), Source("s1_axis", width, b)]
    case = Case(
        f"concat {seed} {beats_of}",
        "stream_concat",
        parameters,
        sources,
        [Sink("m_axis", width, len(joined))],
    )

    def unstalled(cycles: dict[str, np.ndarray]) -> bool:
        """A beat every cycle, in the cycle in which it is taken."""
        of_first = np.arange(sum(beats_of)) < beats_of[0]
        turn = np.arange(len(joined)).reshape(n, -1)
        return (
            np.array_equal(cycles["m_axis"], np.arange(len(joined)))
            and np.array_equal(cycles["s0_axis"], turn[:, of_first].ravel())
            and np.array_equal(cycles["s1_axis"], turn[:, ~of_first].ravel())
        )

    return Expected(case, {"m_axis": joined}, unstalled)


def top_k(seed: int) -> Expected:
    rng = np.random.default_rng(seed)
    n, n_vectors = int(rng.integers(1, 14)), 12
    k = int(rng.choice([1, n, rng.integers(1, n + 1)]))
    kind = random_type(rng, most=6)  # few levels, many ties
    scores = random_values(rng, kind, (n_vectors, n))
    graph = Graph((Input("scores", (n,), kind), TopK("top", "scores", k)))
    top = execute(graph, scores)["top"]
    index_type = graph.infer()["top"].type
    parameters = {
        "N": n,
        "K": k,
        "SCORE_BITS": kind.bits,
        "SCORE_SIGNED": int(act_kind(kind) == 1),
        "INDEX_BITS": index_type.bits,
    }
    source = Source("s_axis", kind.bits, packed(scores.reshape(-1, 1), kind))
    sink = Sink("m_axis", index_type.bits, k * n_vectors)
    case = Case(f"top {k} of {n} {kind}, {seed}", "top_k", parameters, [source], [sink])

    def unstalled(cycles: dict[str, np.ndarray]) -> bool:
        """A score every cycle; the indices follow the last one of their vector, one a cycle."""
        last = np.arange(1, n_vectors + 1)[:, None] * n - 1
        return np.array_equal(cycles["s_axis"], np.arange(n * n_vectors)) and np.array_equal(
            cycles["m_axis"], (last + 1 + np.arange(k)).ravel()
        )

    return Expected(case, {"m_axis": packed(top.reshape(-1, 1), index_type)}, unstalled)


def deep_fifo(seed: int) -> Expected:
    rng = np.random.default_rng(seed)
    width = int(rng.choice([1, rng.integers(1, 200)]))
    block_memory, n = seed % 2, 300
    depth = (2 + seed // 2 if seed < 12 else int(rng.integers(2, 40))) + block_memory
    beats = random_beats(rng, width, n)
    parameters = {"WIDTH": width, "DEPTH": depth, "BLOCK_MEMORY": block_memory}
    case = Case(
        f"fifo {seed}",
        "deep_fifo",
        parameters,
        [Source("s_axis", width, beats)],
        [Sink("m_axis", width, n)],
    )

    def unstalled(cycles: dict[str, np.ndarray]) -> bool:
        """One beat a cycle, after one cycle from LUT RAM, after two from block RAM."""
        return np.array_equal(cycles["m_axis"], np.arange(n) + 1 + block_memory)

    return Expected(case, {"m_axis": beats}, unstalled)


OPERATORS = (fork, add, concat, top_k, deep_fifo)


def check(all_expected: list[Expected], stalls: float, seed: int = 1, **options) -> list[Result]:
    results = run_cases([expected.case for expected in all_expected], stalls, seed, **options)
    for expected, result in zip(all_expected, results, strict=True):
        for prefix, beats in expected.beats.items():
            assert to_ints(result.beats[prefix]) == beats, expected.case.name
        if not stalls:
            assert expected.unstalled(result.cycles), expected.case.name
    return results


FAST = [operator(seed) for operator in OPERATORS for seed in FAST_SEEDS]


@pytest.mark.parametrize("stalls", STALLS)
def test_random_cases(stalls: float) -> None:
    check(FAST, stalls)


def test_a_reset_in_the_middle_leaves_no_trace() -> None:
    check(FAST, 0.4, reset_after=9)


@pytest.mark.nightly
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("start", range(100, 300, 50))
def test_many_random_cases(operator: Callable[[int], Expected], start: int) -> None:
    many = [operator(seed) for seed in range(start, start + 50)]
    for seed, stalls in enumerate((*STALLS, *STALLS)):
        check(many, stalls, seed)


def most_held(result: Result) -> int:
    """The most beats that were inside at the end of any cycle."""
    ends = np.arange(int(result.cycles["m_axis"][-1]) + 1)
    taken, left = (
        np.searchsorted(result.cycles[s], ends, side="right") for s in ("s_axis", "m_axis")
    )
    return int((taken - left).max())


def test_a_fifo_holds_exactly_its_depth() -> None:
    fifos = [expected for expected in FAST if expected.case.module == "deep_fifo"]
    held = [most_held(result) for result in check(FAST, 0.5)[-len(fifos) :]]
    assert held == [expected.case.parameters["DEPTH"] for expected in fifos]


DATA_FAULTS = {
    "stream_fork": ("m1_axis_tdata = s", "m1_axis_tdata = ~s"),
    "stream_add": (".x(s1_axis_tdata[i*B", ".x(s1_axis_tdata[(LANES-1-i)*B"),
    "stream_concat": ("second <= 1'b0", "second <= 1'b1"),
    "top_k": ("$signed(s_axis_tdata) > ", "$signed(s_axis_tdata) >= "),
    "deep_fifo": ("!= WORDS", "!= WORDS - 1"),
}
FLOW_FAULTS = [
    ("stream_fork", "done1 <= has1 & ~has0", "done1 <= 1'b0"),
    ("stream_add", "s0_axis_tready = s1_axis_tvalid & room", "s0_axis_tready = room"),
    ("scaled", "OUT_BITS'($signed(x))", "OUT_BITS'(x)"),
    ("stream_concat", "A_BEATS - 1);", "A_BEATS);"),
    ("top_k", "(last & more_left)", "1'b0"),
    ("deep_fifo", "(~head_valid | m_axis_tready)", "~head_valid"),
    ("deep_fifo", "== WORDS - 1) ? '0 : read", "== WORDS) ? '0 : read"),
]


def planted(faults: list[tuple[str, str, str]], folder: Path) -> Path:
    """A copy of the modules with each `old` replaced."""
    rtl = folder / "rtl"
    shutil.copytree(RTL_FOLDER, rtl)
    for module, old, new in faults:
        text = (rtl / f"{module}.sv").read_text()
        assert text.count(old) == 1, old
        (rtl / f"{module}.sv").write_text(text.replace(old, new))
    return rtl


def test_planted_faults_are_all_caught(tmp_path: Path) -> None:
    rtl = planted([(module, *change) for module, change in DATA_FAULTS.items()], tmp_path)
    results = run_cases([expected.case for expected in FAST], 0.5, 1, rtl=rtl)
    wrong = {
        expected.case.module
        for expected, result in zip(FAST, results, strict=True)
        if any(to_ints(result.beats[prefix]) != beats for prefix, beats in expected.beats.items())
        or (
            expected.case.module == "deep_fifo"
            and most_held(result) != expected.case.parameters["DEPTH"]
        )
    }
    assert wrong == set(DATA_FAULTS)


@pytest.mark.nightly
@pytest.mark.parametrize(("module", "old", "new"), FLOW_FAULTS, ids=lambda text: text[:22])
def test_a_planted_fault_in_the_flow_is_caught(
    module: str, old: str, new: str, tmp_path: Path
) -> None:
    rtl = planted([(module, old, new)], tmp_path)
    used = "stream_add" if module == "scaled" else module
    cases = [expected for expected in FAST if expected.case.module == used]
    with pytest.raises(AssertionError):
        _ = [check(cases, stalls, rtl=rtl, patience=500) for stalls in STALLS]
