"""The RTL against the golden model, over all kinds of layers and foldings, stalled and not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from accelerators import Accelerator, build, check_cycles
from random_networks import (
    ACT_TYPES,
    WEIGHT_KINDS,
    Case,
    LayerKind,
    random_case,
    random_graph,
    random_inputs,
    random_thresholds,
)

from hw_build.folding import Folding
from hw_build.folding_search import choose_folding
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold
from hw_build.importer import import_qonnx
from hw_build.simulator import Stalls
from hw_build.timing import predict
from hw_build.vectors import exported_vectors

FAST_CASES = range(17)
STALLS = (Stalls(0.5, 0.5, seed=1), Stalls(0.9, 0.0, seed=2), Stalls(0.0, 0.9, seed=3))


def check_all(made: Accelerator) -> None:
    """Integers of every stream, cycles, stalls, batches of other sizes, one batch after another."""
    gate, predicted = made.gate, predict(made.blocks)
    with made.open() as model:
        result, _ = gate.check(model)
        assert result.interval == predicted.interval
        assert result.latency == predicted.latency
        for stalls in STALLS:
            gate.check(model, 12, stalls)
            check_cycles(made, model, 12, stalls)
        gate.check(model, 1)
        gate.check(model, 2)
        again, _ = gate.check(model)
        assert np.array_equal(again.frame_ends, result.frame_ends)


@pytest.mark.parametrize("seed", FAST_CASES)
def test_random_networks(seed: int, tmp_path: Path) -> None:
    check_all(build(random_case(seed, most=7), tmp_path))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_random_networks(seed: int, tmp_path: Path) -> None:
    check_all(build(random_case(seed, most=18), tmp_path))


def test_a_busy_unit_that_waits_for_a_burst(tmp_path: Path) -> None:
    """The prediction is exact also where the interval is longer than any block needs."""
    made = build(random_case(12, most=9), tmp_path)
    assert predict(made.blocks).interval > max(block.cycles for block in made.blocks)
    check_all(made)


@pytest.mark.parametrize("seed", range(2))
def test_the_body_that_is_synthesised(seed: int, tmp_path: Path) -> None:
    check_all(build(random_case(seed, most=4), tmp_path, compress=True))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(300, 320))
def test_the_body_that_is_synthesised_on_more(seed: int, tmp_path: Path) -> None:
    check_all(build(random_case(seed, most=10), tmp_path, compress=True))


def test_the_fast_cases_hold_every_kind() -> None:
    """What the sample above is worth: all kinds of weights, inputs, outputs and foldings."""
    kinds, inputs, levels, outputs, folds = set(), set(), set(), set(), set()
    for seed in FAST_CASES:
        case = random_case(seed, most=7)
        infos = case.graph.infer()
        outputs.add(type(case.graph.output))
        for layer in case.graph:
            if isinstance(layer, MatVec):
                fold, (rows, columns) = case.folding[layer.name], layer.weights.shape
                kinds.add(layer.weight_kind if layer.weight_bits < 4 else f"int{layer.weight_bits}")
                inputs.add(infos[layer.source].type)
                folds |= {("pe", rows % fold.pe == 0), ("simd", columns % fold.simd == 0)}
                folds |= {("fold in", fold.simd == columns), ("fold out", fold.pe == rows)}
            elif isinstance(layer, Threshold):
                levels.add(layer.thresholds.shape[1])
    dealt = {kind for kind in WEIGHT_KINDS if kind not in ("int2", "int3")}
    assert kinds >= dealt, "narrow integers may come out as ternary or quinary"
    assert inputs == set(ACT_TYPES)
    assert {1, 2, 3, 255} <= levels
    assert outputs == {MatVec, Threshold, ArgMax}
    assert folds == {(w, yes) for w in ("pe", "simd", "fold in", "fold out") for yes in (0, 1)}


def one_layer(rows: int, columns: int, act: IntType, folding: Folding, n: int = 20) -> Case:
    """Random ternary weights and scores; inputs over the whole range."""
    rng = np.random.default_rng(rows * 100 + columns)
    weights = rng.integers(-1, 2, (rows, columns))
    graph = Graph((Input("input", (columns,), act), MatVec("fc0", "input", weights)))
    inputs = rng.choice([act.lo, act.hi], (n, columns)).astype(np.int8 if act.lo < 0 else np.uint8)
    return Case(graph, {"fc0": folding}, inputs)


@pytest.mark.parametrize(
    ("rows", "columns", "act", "folding"),
    [
        (1, 1, BIPOLAR, Folding(1, 1)),
        (1, 7, IntType(8, signed=False), Folding(1, 3)),
        (9, 1, IntType(8, signed=True), Folding(4, 1)),
        (2, 300, BIPOLAR, Folding(1, 2)),  # 300 words: weights in block memory
    ],
)
def test_shapes_at_the_edge(
    rows: int, columns: int, act: IntType, folding: Folding, tmp_path: Path
) -> None:
    check_all(build(one_layer(rows, columns, act, folding), tmp_path))


def test_a_pixel_that_fills_a_beat_of_the_port(tmp_path: Path) -> None:
    """The first unit then reads the port's beats as they are, a pixel each."""
    kind = IntType(14, signed=True)
    rng = np.random.default_rng(1)
    source = Graph((Input("input", (3, 2, 3), kind),))
    threshold = random_thresholds(rng, "act", "input", source, IntType(2, signed=False))
    graph = Graph((*source.layers, threshold))
    inputs = rng.integers(kind.lo, kind.hi + 1, (20, 3, 2, 3)).astype(np.int16)
    check_all(build(Case(graph, {"act": Folding(3, 1)}, inputs), tmp_path))


def test_ties_go_to_the_lowest_class(tmp_path: Path) -> None:
    weights = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    layers = (
        Input("input", (2,), IntType(2, signed=True)),
        MatVec("fc0", "input", weights),
        ArgMax("class", "fc0"),
    )
    inputs = np.array([[1, 0], [0, 1], [1, 1], [-2, -2], [-1, -2], [-2, -1]], np.int8)
    made = build(Case(Graph(layers), {"fc0": Folding(3, 1)}, inputs), tmp_path)
    with made.open() as model:
        got = model.run(inputs).layers["class"]
    assert got[:, 0].tolist() == [0, 2, 0, 0, 0, 2]


@pytest.mark.parametrize(
    "kind", [BIPOLAR, IntType(2, signed=False), IntType(3, signed=True)], ids=str
)
def test_the_class_of_quantised_scores(kind: IntType, tmp_path: Path) -> None:
    """Unsigned and bipolar levels are compared as what they are, not as two's complement."""
    rng = np.random.default_rng(5)
    scores = random_graph(rng, [6, 7], [LayerKind("ternary", IntType(3, signed=True))], kind)
    graph = Graph((*scores.layers, ArgMax("class", scores.output.name)))
    made = build(Case(graph, {"fc0": Folding(3, 2)}, random_inputs(rng, graph, 60)), tmp_path)
    check_all(made)
    assert len(np.unique(made.gate.expected["class"])) > 1


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Accelerator:
    """Three layers with converters and padding between them."""
    return build(random_case(1, most=7), tmp_path_factory.mktemp("deep"))


def test_two_frames_together_equal_two_frames_apart(deep: Accelerator) -> None:
    inputs = deep.case.inputs[:2]
    with deep.open() as model:
        together = model.run(inputs, record=deep.streams)
        apart = [model.run(frame[None], record=deep.streams) for frame in inputs]
    for stream in deep.streams:
        joined = np.concatenate([result.beats[stream] for result in apart])
        assert np.array_equal(joined, together.beats[stream])


@pytest.mark.parametrize("cycles", [1, 2, 3, 5, 8, 13, 21, 34, 55])
def test_a_reset_in_the_middle_of_a_frame_leaves_no_trace(
    deep: Accelerator, cycles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(done: int, total: int) -> None:
        raise KeyboardInterrupt

    gate = deep.gate
    with deep.open() as model:
        expected, _ = gate.check(model)
    with deep.open() as model:
        with monkeypatch.context() as patch:
            patch.setattr("hw_build.simulator._CYCLES_PER_CALL", cycles)
            with pytest.raises(KeyboardInterrupt):
                model.run(deep.case.inputs, progress=give_up)
        model.reset()
        result, _ = gate.check(model)
    assert np.array_equal(result.frame_ends, expected.frame_ends)


def test_simulations_may_be_open_side_by_side(deep: Accelerator) -> None:
    first, second = deep.open(), deep.open()
    second.run(deep.case.inputs)
    second.close()
    deep.gate.check(first)
    first.close()


@pytest.mark.nightly
def test_the_synthesised_body_classifies_the_whole_test_set(tmp_path: Path) -> None:
    """What Yosys gets, simulated on every input of a trained network, stalled and not."""
    from benchmarks.fault_injection import trained_digits

    run = trained_digits(tmp_path / "run")
    imported = import_qonnx(run / "model.onnx", "class")
    inputs = imported.quantiser(exported_vectors(run / "vectors.npz").inputs)
    case = Case(imported.graph, choose_folding(imported.graph, 100), inputs)
    rtl = tmp_path / "rtl"
    rtl.mkdir()
    made = build(case, rtl, compress=True)
    with made.open() as model:
        _, passed = made.gate.check(model)
        made.gate.check(model, stalls=STALLS[0])
    assert passed.vectors >= 1000
