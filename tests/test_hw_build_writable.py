"""Weights and thresholds that are written at run time: one hardware for many networks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyslang
import pytest
from accelerators import Accelerator, build
from random_graphs import random_image_case
from random_networks import Case, random_case

from benchmarks.memory_mutants import MEMORY_MUTANTS
from benchmarks.mutants import Mutant
from deploy.errors import GateError, UserError
from deploy.memories import Memories
from deploy.registers import OFFSETS
from hw_build.blocks import Block, memories_of
from hw_build.emit import TOP, emit, top_level
from hw_build.estimate import block_resources
from hw_build.fifo_sizing import size_fifos
from hw_build.fifos import with_fifos
from hw_build.folding import Folding
from hw_build.graph import Concat, Depthwise, Graph, Input, IntType, MatVec, Threshold
from hw_build.int_type import WeightType
from hw_build.lone_block import reading
from hw_build.lowering import lower
from hw_build.rtl_gate import RtlGate
from hw_build.simulator import Simulator, Stalls
from hw_build.verilator import find_verilator
from hw_build.writable import onto, writable
from hw_build.yosys import run_yosys


def retrained(graph: Graph, seed: int) -> Graph:
    """The graph under other names, its weights and thresholds drawn anew from the same types."""
    rng = np.random.default_rng(seed)
    infos = graph.infer()

    def another(layer):
        if isinstance(layer, MatVec | Depthwise):
            layer = replace(
                layer,
                weights=rng.permutation(layer.weights.reshape(-1)).reshape(layer.weights.shape),
            )
        elif isinstance(layer, Threshold):
            info, shape = infos[layer.source], layer.thresholds.shape
            drawn = rng.integers(info.lo.min(), info.hi.max() + 2, shape)
            layer = replace(layer, thresholds=np.sort(drawn, axis=1))
        names = {f.name for f in fields(layer)} & {"name", "source", "first", "second"}
        changes = {name: f"new_{getattr(layer, name)}" for name in names}
        if isinstance(layer, Concat):
            changes["sources"] = tuple(f"new_{source}" for source in layer.sources)
        return replace(layer, **changes)

    return Graph(tuple(another(layer) for layer in graph))


def hardware_for(
    case: Case, folder: Path, change: Callable[[Path], None] | None = None
) -> Accelerator:
    graph = writable(case.graph)
    fifos = size_fifos(lower(graph, case.folding))
    return build(replace(case, graph=graph), folder, fifos=fifos, change=change)


def blocks_for(made: Accelerator, graph: Graph) -> tuple[Block, ...]:
    blocks = lower(graph, made.case.folding)
    return with_fifos(blocks, size_fifos(blocks))


def opened_for(made: Accelerator, graph: Graph) -> tuple[Simulator, RtlGate]:
    """The hardware for another network: nothing is written yet."""
    blocks = blocks_for(made, graph)
    assert top_level(blocks, 64) == top_level(made.blocks, 64)
    model = Simulator(made.library, blocks, graph, made.folder)
    return model, RtlGate.of(graph, blocks, made.case.inputs)


def check_networks(made: Accelerator, n: int) -> None:
    """The hardware is right as built, and for `n` other networks, one after another."""
    with made.open() as model:
        made.gate.check(model)
    for seed in range(n):
        graph = onto(retrained(made.case.graph, seed), made.case.graph, "runs/first")
        model, gate = opened_for(made, graph)
        with model:
            model.write_memories()
            written = memories_of(blocks_for(made, graph)).digest
            assert model.read_register("WEIGHTS") == written
            gate.check(model)
            gate.check(model, stalls=Stalls(0.4, 0.4, seed))


FEW, ALL = (4,), range(17)


@pytest.mark.parametrize(
    "seed", [*FEW, *(pytest.param(s, marks=pytest.mark.nightly) for s in ALL if s not in FEW)]
)
def test_other_weights_are_written_to_the_same_hardware(seed: int, tmp_path: Path) -> None:
    check_networks(hardware_for(random_case(seed), tmp_path), n=3)


IMAGES = (1,)


@pytest.mark.parametrize(
    "seed",
    [*IMAGES, *(pytest.param(s, marks=pytest.mark.nightly) for s in range(12) if s not in IMAGES)],
)
def test_so_they_are_to_that_of_images(seed: int, tmp_path: Path) -> None:
    check_networks(hardware_for(random_image_case(seed), tmp_path), n=2)


def two_layer_case() -> Case:
    """Weights in LUTs and in block RAM, thresholds of one stage and of two."""
    rng = np.random.default_rng(3)
    acts = IntType(3, signed=False)
    first = rng.choice([-1, 0, 1], (12, 20)).astype(np.int64)
    second = rng.integers(-4, 4, (6, 12))
    second[0, 0] = -4
    graph = Graph(
        (
            Input("input", (20,), IntType(2, signed=False)),
            MatVec("fc0", "input", first),
            Threshold("fc0_act", "fc0", np.sort(rng.integers(-9, 9, (12, 7))), 0, 1, acts),
            MatVec("fc1", "fc0_act", second),
        )
    )
    folding = {"fc0": Folding(4, 5), "fc1": Folding(3, 4, "block")}
    x = rng.integers(0, 4, (40, 20)).astype(np.uint8)
    return Case(graph, folding, x)


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Accelerator:
    return hardware_for(two_layer_case(), tmp_path_factory.mktemp("two_layers"))


WITHOUT_THRESHOLDS = 4
"""The memory with the values that scores start with: constants of their types, whatever weights."""


@pytest.mark.parametrize("left_out", [n for n in range(6) if n != WITHOUT_THRESHOLDS])
def test_a_memory_that_is_not_written_is_seen(two_layers: Accelerator, left_out: int) -> None:
    graph = onto(retrained(two_layers.case.graph, 1), two_layers.case.graph, "runs/first")
    memories = memories_of(blocks_for(two_layers, graph))
    built = memories_of(two_layers.blocks).contents
    assert len(built) == (2 + 1 + 1) + (1 + 1)  # thresholds of two stages, starts and weights
    model, gate = opened_for(two_layers, graph)
    selected = -1

    def all_but_one(name: str, value: int) -> None:
        nonlocal selected
        selected = value if name == "MEMORY" else selected
        if selected != left_out:
            model.write_register(OFFSETS[name], value)

    with model:
        memories.write(all_but_one)
        with pytest.raises(GateError):
            gate.check(model)
        model.write_memories()
        gate.check(model)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=mutant.name, marks=[pytest.mark.nightly] if number else [])
        for number, mutant in enumerate(MEMORY_MUTANTS)
    ],
)
def test_a_changed_rtl_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    case = two_layer_case()
    graph = onto(retrained(case.graph, 1), writable(case.graph), "runs/first")
    model, gate = opened_for(hardware_for(case, tmp_path, mutant.plant), graph)
    with model:
        model.write_memories()
        with pytest.raises(GateError):
            gate.check(model)


def test_a_word_that_is_partly_written_is_none(two_layers: Accelerator) -> None:
    """Writes that are not to WORD change no memory, whatever is shifted in."""
    with two_layers.open() as model:
        for number in range(6):
            model.write_register(OFFSETS["MEMORY"], number)
            for _ in range(5):
                model.write_register(OFFSETS["DATA"], 0xFFFFFFFF)
        model.write_register(OFFSETS["MEMORY"], 999)
        model.write_register(OFFSETS["WORD"], 0)
        two_layers.gate.check(model)


@pytest.mark.parametrize("seed", [0, 7, 10])
def test_verilator_and_slang_have_nothing_to_say(seed: int, tmp_path: Path) -> None:
    case = random_case(seed, most=6)
    emit(lower(writable(case.graph), case.folding), tmp_path)
    files = (tmp_path / "files.f").read_text().split()
    verilator = find_verilator()
    done = subprocess.run(
        [str(verilator.binary), "--lint-only", "-Wall", "--top-module", TOP, *files],
        env={**os.environ, "VERILATOR_ROOT": str(verilator.root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    compilation = pyslang.ast.Compilation()
    for name in files:
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(tmp_path / name)))
    assert not [d for d in compilation.getAllDiagnostics() if d.isError()]


CELLS = {
    "synth_xilinx -family xc7 -flatten": ("RAM64M", "FD*"),
    "synth_xilinx -family xcup -flatten": ("RAM64M8", "FD*"),
    "synth_ecp5": ("TRELLIS_DPR16X4", "TRELLIS_FF"),
}


@pytest.mark.nightly
@pytest.mark.parametrize("command", CELLS)
def test_yosys_maps_the_memories_to_ram(command: str, tmp_path: Path) -> None:
    case = random_case(4)
    emit(lower(writable(case.graph), case.folding), tmp_path)
    names = " ".join((tmp_path / "files.f").read_text().split())
    ram, register = CELLS[command]
    run_yosys(
        reading(names, TOP, writable=True) + f"{command} -top {TOP}\ncheck -assert\n"
        "select -assert-none t:$* t:$scopeinfo %d\n"
        f"select -assert-min 50 t:{ram}\n"
        f"select -assert-max 1500 t:{register}\n",  # the memories have some ten thousand bits
        tmp_path,
    )


def test_ranges_hold_any_weights_of_the_type() -> None:
    x = Input("input", (3,), IntType(2, signed=True)).infer()
    for weights, bound in (([1, -1, 1], 6), ([0, 1, 0], 6), ([2, 0, 1], 12), ([3, 0, 1], 24)):
        layer = MatVec("fc", "input", np.array([weights]))
        layer = replace(layer, writable=layer.weight_type)
        info = layer.infer(x)
        assert (-info.lo[0], info.hi[0]) in ((bound, bound), (24 - 6, 24))
        assert layer.writable.holds(layer.weights)


def test_sums_that_other_weights_make_too_wide_are_refused() -> None:
    x = Input("input", (2000,), IntType(16, signed=False))
    weights = np.zeros((1, 2000), np.int64)
    weights[0, 0] = 127
    assert Graph((x, MatVec("fc", "input", weights))).infer()["fc"].type.bits == 23
    with pytest.raises(UserError, match="more than 31 bits") as refused:
        writable(Graph((x, MatVec("fc", "input", weights))))
    assert "layer fc" in str(refused.value)
    writable(Graph((replace(x, shape=(128,)), MatVec("fc", "input", weights[:, :128])))).infer()


@pytest.mark.parametrize("text", ["binary", "ternary", "quinary", "INT2", "INT8"])
def test_weight_types_come_back_from_their_text(text: str) -> None:
    kind = WeightType.parse(text)
    assert str(kind) == text
    assert WeightType.parse(str(kind)) == kind
    assert kind.holds(np.array([kind.lo, kind.hi]))
    assert not kind.holds(np.array([kind.hi + 1]))


def test_estimates_know_what_is_written(two_layers: Accelerator) -> None:
    case = two_layers.case
    fixed = lower(
        Graph(
            tuple(
                replace(layer, writable=None if isinstance(layer, MatVec) else False)
                if hasattr(layer, "writable")
                else layer
                for layer in case.graph
            )
        ),
        case.folding,
    )
    assert not memories_of(fixed).contents
    sizes = [
        {block.name: block_resources(block) for block in blocks}
        for blocks in (fixed, two_layers.blocks)
    ]
    for unit in ("fc0", "fc1"):
        assert sizes[0][unit].ff < sizes[1][unit].ff
        assert sizes[0][unit].bram36 == sizes[1][unit].bram36


GRAPH = random_case(1).graph


def changed(graph: Graph, index: int, **changes: object) -> Graph:
    layers = list(graph.layers)
    layers[index] = replace(layers[index], **changes)
    return Graph(tuple(layers))


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (Graph(GRAPH.layers[:-1]), "layers"),
        (changed(GRAPH, 1, weights=np.tile(GRAPH.layers[1].weights, (2, 1))), "weights"),
        (changed(GRAPH, 1, weights=GRAPH.layers[1].weights * 200), "what memory holds"),
        (changed(GRAPH, 0, type=IntType(7, signed=False)), "type"),
    ],
)
def test_another_structure_is_refused(graph: Graph, words: str) -> None:
    with pytest.raises(UserError, match="not one for this hardware") as refused:
        onto(graph, writable(GRAPH), "runs/first")
    assert words in str(refused.value)
    assert "runs/first" in str(refused.value)


def test_hardware_of_fixed_weights_is_refused() -> None:
    with pytest.raises(UserError, match="holds its weights fixed") as refused:
        onto(GRAPH, GRAPH, "runs/first")
    assert "--writable" in str(refused.value)


def test_memories_are_flat_in_a_file() -> None:
    rng = np.random.default_rng(0)
    shapes = [(3, 2), (1, 1), (5, 4)]
    contents = [rng.integers(0, 1 << 32, shape, dtype=np.uint32) for shape in shapes]
    back = Memories.of_flat(Memories(contents).to_flat(), shapes)
    assert all(np.array_equal(a, b) for a, b in zip(contents, back.contents, strict=True))
    assert back.digest == Memories(contents).digest
    with pytest.raises(ValueError, match="not uint32"):
        Memories.of_flat(Memories(contents).to_flat()[1:], shapes)
