"""Fault injection: what shows on any stream makes the gate fail, and the proof of it can fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_networks import LayerKind, random_graph, random_inputs

from benchmarks.branch_mutants import BRANCH_MUTANTS
from benchmarks.faults import MUTANTS, Bench, Verdict, escaped, silent_reasons
from benchmarks.image_mutants import IMAGE_MUTANTS
from benchmarks.memory_faults import sample_memory_faults
from benchmarks.mutants import COMPARE, COMPRESSED, COUNT, RESET, STUCK, SUM, SWAP
from hw_build.emit import MODULES, TOP
from hw_build.folding import Folding
from hw_build.graph import BIPOLAR, IntType
from hw_build.lowering import lower
from hw_build.rtl_gate import RtlGate

N_MEMORY_FAULTS = 90
TRIED_MUTANTS = (
    "FIFO's write pointer",
    "splitter's part counter",
    "joiner pads with ones",
    "weights of rows swapped",
    "unit never waits",
    "middle threshold inverted",
    "> for >=",
    "index of the lower lane kept",
)


def new_bench(folder: Path) -> Bench:
    """Three layers of different kinds, padding rows and columns, both converters, a class."""
    rng = np.random.default_rng(7)
    kinds = [
        LayerKind("ternary", IntType(2, signed=True)),
        LayerKind("int3", IntType(2, signed=False)),
        LayerKind("binary", BIPOLAR),
    ]
    graph = random_graph(rng, [9, 8, 7, 5], kinds, "class")
    folding = {"fc0": Folding(3, 9), "fc1": Folding(7, 5), "fc2": Folding(2, 3)}
    folding["class"] = Folding(2, 1)
    return Bench(graph, lower(graph, folding), random_inputs(rng, graph, 300), folder)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return new_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def memory_verdicts(bench: Bench) -> list[Verdict]:
    faults = sample_memory_faults(bench.blocks, N_MEMORY_FAULTS, seed=0)
    assert len({fault.name for fault in faults}) == N_MEMORY_FAULTS
    return [bench.try_memory_fault(fault) for fault in faults]


def test_every_bit_that_shows_is_caught(memory_verdicts: list[Verdict]) -> None:
    assert escaped(memory_verdicts) == []
    shown = [v for v in memory_verdicts if v.shows]
    assert {v.kind for v in shown} == {"weight bit", "start bit", "threshold bit"}
    assert len(shown) > N_MEMORY_FAULTS // 2
    assert all(v.caught[300] or not v.caught[100] for v in shown), "more inputs see no less"


def test_only_bits_that_can_matter_show(memory_verdicts: list[Verdict]) -> None:
    dead = [v for v in memory_verdicts if v.dead_because]
    assert dead
    assert not [v for v in dead if v.shows]
    reasons = {reason for _, reason in silent_reasons(memory_verdicts)}
    dealt = {"weight of a padding column", "padding row of scores", "sign of a zero weight"}
    assert reasons >= dealt


def test_results_alone_would_miss_some(memory_verdicts: list[Verdict]) -> None:
    """Why the gate looks at every stream."""
    assert [v for v in memory_verdicts if v.shows and not v.stopped and not v.output_changed]


def test_nothing_is_left_of_a_fault(bench: Bench, memory_verdicts: list[Verdict]) -> None:
    assert not bench.gate_fails(bench.open, 300, stalled=True)


def test_a_gate_that_skips_streams_lets_faults_escape(
    bench: Bench, memory_verdicts: list[Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison that finds escaped faults is not the gate's own: it can find one."""
    missed = next(v.name for v in memory_verdicts if v.changed and not v.output_changed)
    faults = sample_memory_faults(bench.blocks, N_MEMORY_FAULTS, seed=0)
    fault = next(fault for fault in faults if fault.name == missed)
    last = list(bench.gate.expected)[-1]
    only_results = RtlGate(bench.inputs, {last: bench.gate.expected[last]})
    monkeypatch.setattr(bench, "gate", only_results)
    assert escaped([bench.try_memory_fault(fault)])


@pytest.mark.parametrize("name", TRIED_MUTANTS)
def test_a_changed_rtl_is_caught(name: str, bench: Bench) -> None:
    (mutant,) = (m for m in bench.applicable(MUTANTS) if m.name == name)
    verdict = bench.try_mutant(mutant)
    assert verdict.shows
    assert not escaped([verdict])


def test_every_mutant_can_be_planted(bench: Bench, tmp_path: Path) -> None:
    """The list keeps up with the sources, covers all of them, and names each mutant once."""
    assert len({(m.module, m.name) for m in MUTANTS}) == len(MUTANTS) >= 60
    assert {m.module for m in MUTANTS} == {*MODULES, TOP}
    assert {m.kind for m in MUTANTS} >= {COMPARE, COUNT, RESET, STUCK, SUM, SWAP}
    for mutant in MUTANTS:
        for path in bench.folder.glob(f"{mutant.module}.sv"):
            (tmp_path / path.name).write_text(path.read_text())
        mutant.plant(tmp_path)
        assert (tmp_path / f"{mutant.module}.sv").read_text().count(mutant.new) >= mutant.times
    with pytest.raises(ValueError, match="0 times, not"):
        mutant.plant(tmp_path)


def test_mutants_apply_where_their_line_is_elaborated(bench: Bench) -> None:
    names = {m.name for m in bench.applicable(MUTANTS)}
    assert "joiner pads with ones" in names
    assert "twos of quinary weights left out" not in names, "there are no quinary weights"
    assert not any(m.module in COMPRESSED for m in bench.applicable(MUTANTS))


def test_an_accelerator_that_fails_without_a_fault_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bench, "gate_fails", lambda *_, **__: True)
    with pytest.raises(ValueError, match="fails without any fault"):
        new_bench(tmp_path)


@pytest.mark.nightly
def test_five_hundred_faults_in_a_trained_network(tmp_path: Path) -> None:
    """The whole of `benchmarks.fault_injection`, on the digits' test set."""
    from benchmarks.fault_injection import MEMORY_FAULTS, inject, trained_digits

    verdicts = inject(trained_digits(tmp_path / "run"), MEMORY_FAULTS, seed=0, uneven=True)
    mutants = [v for v in verdicts if ".sv:" in v.name]
    assert len(verdicts) >= 500
    assert len(mutants) >= 60
    of_images = {m.module for m in (*IMAGE_MUTANTS, *BRANCH_MUTANTS)} - {"mvu"}
    unused = of_images | {"memory_writer"}
    assert {v.name.partition(".sv")[0] for v in mutants} == {*MODULES, TOP} - unused
    assert [v.name for v in escaped(verdicts)] == []
    assert not [v.name for v in verdicts if v.shows and v.dead_because]
    shown = [v for v in verdicts if v.shows]
    assert len(shown) > len(verdicts) * 3 // 4
    assert sum(v.caught[1000] for v in shown) == len(shown)
