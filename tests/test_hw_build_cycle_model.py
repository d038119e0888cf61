"""The model of the streams against the RTL: every beat of every stream, in the very cycle."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest
from accelerators import (
    Accelerator,
    build,
    check_cycles,
    simulated_cycles,
    streams_that_differ,
)
from random_graphs import random_image_case
from random_networks import Case

from deploy.errors import GateError
from hw_build.blocks import Block
from hw_build.cycle_model.deadlock import DeadlockError
from hw_build.cycle_model.library import FOLDER, load_library
from hw_build.cycle_model.run import follow_frames
from hw_build.emit import emit
from hw_build.fifo_sizing import size_fifos
from hw_build.fifos import with_fifos
from hw_build.folding import Folding
from hw_build.graph import Add, Graph, Input, IntType, MatVec, Pad, Window
from hw_build.lowering import lower
from hw_build.simulator import Simulator, Stalls
from hw_build.timing import predict
from hw_build.verilator import build_model

STALLS = (None, Stalls(0.5, 0.5, 3), Stalls(0.95, 0.0, 4), Stalls(0.0, 0.95, 5))
FAST = (100, 310)
"""Seeds of graphs that together hold every module of images and branches."""


def sized(seed: int, n_parts: int, folder: Path) -> Accelerator:
    """A random graph with FIFOs as they are sized."""
    case = random_image_case(seed, n_parts=n_parts)
    return build(case, folder, fifos=size_fifos(lower(case.graph, case.folding)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Accelerator]:
    return [sized(seed, 3, tmp_path_factory.mktemp("rtl")) for seed in FAST]


def check_all(made: Accelerator) -> None:
    """Integers and cycles of all streams, stalled or not, without a deadlock."""
    with made.open() as model:
        for stalls in STALLS:
            made.gate.check(model, stalls=stalls)
            check_cycles(made, model, len(made.case.inputs), stalls)


def test_graphs_of_images(made: list[Accelerator]) -> None:
    for accelerator in made:
        check_all(accelerator)


def test_the_fast_cases_hold_every_module(made: list[Accelerator]) -> None:
    modules = {block.module for accelerator in made for block in accelerator.blocks}
    assert modules >= {"window", "pad", "max_pool", "upsample", "stream_fork", "stream_add"}
    assert modules >= {"stream_concat", "lane_splitter", "lane_joiner", "mvu", "deep_fifo"}


@pytest.mark.parametrize("simd", [12, 4, 6], ids=["whole", "a third", "a half"])
def test_windows_of_one_beat(simd: int, tmp_path: Path) -> None:
    """More columns at once than a pixel has channels: the window comes whole, and is split."""
    rng = np.random.default_rng(simd)
    window = Window("conv0_window", "input", (3, 2), (1, 2), (1, 2))
    convolution = MatVec("conv0", "conv0_window", rng.integers(-2, 3, (4, 12)))
    graph = Graph((Input("input", (5, 6, 2), IntType(3, signed=True)), window, convolution))
    case = Case(graph, {"conv0": Folding(4, simd)}, rng.integers(-4, 4, (6, 5, 6, 2)))
    made = build(case, tmp_path)
    assert "window_parallel" in {block.module for block in made.blocks}
    check_all(made)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_graphs_of_images(seed: int, tmp_path: Path) -> None:
    check_all(sized(seed, 4, tmp_path))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(120, 124))
def test_deep_fifos_of_block_memory(seed: int, tmp_path: Path) -> None:
    """Deep enough for block RAM on all forks."""
    case = random_image_case(seed, n_parts=3)
    blocks = lower(case.graph, case.folding)
    forked = [s for block in blocks if block.module == "stream_fork" for s in block.sinks]
    depths = {s.name: 2 + 6144 // s.width for s in forked}
    check_all(build(case, tmp_path, fifos=size_fifos(blocks) | depths))


FAULTS = {
    "ring": ("image_modules.h", "/ piece * piece;", "/ piece * piece - 1;"),
    "row": ("image_modules.h", "if (++r.x == OUT_W) {", "if (++r.x == OUT_W + 1) {"),
    "pad": ("image_modules.h", 'FIRST_ROW(p("TOP") == 0 ? 0 : ROWS', "FIRST_ROW(true ? 0 : ROWS"),
    "stages": ("stream_modules.h", 'STAGES(std::max(p("LEVEL_BITS") - 1, 0))', "STAGES(0)"),
    "buffer": ("stream_modules.h", "while (depth < 2 * FOLD_IN)", "while (depth < FOLD_IN)"),
    "enable": (
        "stream_modules.h",
        "!(stands && !ready() && entering_last)",
        "!(stands && !ready())",
    ),
    "fork": ("stream_modules.h", "r.done0 = has0 && !has1", "r.done0 = 0"),
    "fifo": ("stream_modules.h", ": r.stored != DEPTH;", ": r.stored != DEPTH + 1;"),
    "joiner": (
        "stream_modules.h",
        "const bool room = !r.full || ready();",
        "const bool room = !r.full;",
    ),
}
IN_THE_FAST_SET = ("row", "enable")


@pytest.mark.parametrize(
    "name",
    [n if n in IN_THE_FAST_SET else pytest.param(n, marks=pytest.mark.nightly) for n in FAULTS],
)
def test_a_fault_in_the_model_is_noticed(
    name: str, made: list[Accelerator], tmp_path: Path
) -> None:
    file, old, new = FAULTS[name]
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    library = load_library(folder)
    assert any(differs(accelerator, library) for accelerator in made)


def differs(made: Accelerator, library: ctypes.CDLL) -> bool:
    """Whether another build of the model is noticed, in any of the runs."""
    n = len(made.case.inputs)
    with made.open() as model:
        for stalls in STALLS:
            simulated = simulated_cycles(made, model, n, stalls)
            try:
                modelled = follow_frames(
                    made.blocks, n, stalls=stalls, record=made.streams, library=library
                )
            except DeadlockError:
                return True
            if streams_that_differ(simulated, modelled):
                return True
    return False


RESIDUAL = Graph(
    (
        Input("input", (6, 6, 2), IntType(2, signed=True)),
        Pad("pad", "input", 1, 1, 1, 1, 0),
        Window("window", "pad", (3, 3)),
        MatVec("conv", "window", np.tile([[1, -1, 0]], (2, 6))),
        Add("sum", "conv", "input"),
    )
)


WAY_AROUND = "s_axis_fork1_split"


def residual(depth: int) -> tuple[Block, ...]:
    """x + conv(x) with a FIFO on the way around: the window holds back a row and more."""
    blocks = lower(RESIDUAL, {"conv": Folding(2, 2), "sum": Folding(2, 1)})
    return with_fifos(blocks, {WAY_AROUND: depth})


def test_a_deadlock_is_found_by_name() -> None:
    needed = size_fifos(residual(0))[WAY_AROUND]
    predict(residual(needed))
    with pytest.raises(DeadlockError) as caught:
        predict(residual(2))
    message = str(caught.value)
    assert message.startswith("deadlock: blocks wait for each other")
    assert f"{WAY_AROUND}_fifo waits until sum takes from {WAY_AROUND}_fifo" in message
    assert "sum waits until conv offers on conv" in message
    assert "window waits until pad offers on pad" in message
    assert "a deeper FIFO on" in message
    assert {WAY_AROUND, f"{WAY_AROUND}_fifo", "conv", "window", "pad"} <= set(caught.value.streams)


def test_the_deadlock_is_that_of_the_rtl(tmp_path: Path) -> None:
    """The simulation of the same accelerator gets stuck as well."""
    blocks = residual(2)
    with pytest.raises(DeadlockError):
        predict(blocks)
    emit(blocks, tmp_path)
    library = build_model(tmp_path, blocks)
    with (
        Simulator(library, blocks, RESIDUAL, tmp_path) as model,
        pytest.raises(GateError, match="the pipeline is stuck"),
    ):
        model.run(np.zeros((2, 6, 6, 2), np.int8))
