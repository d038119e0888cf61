"""The emitted files: clean for other tools, complete, the same every time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pyslang
import pytest
from random_networks import LayerKind, random_case, random_folding, random_graph

from deploy.errors import UserError
from hw_build.emit import MODULES, RTL_FOLDER, TOP, emit
from hw_build.folding import Folding
from hw_build.graph import BIPOLAR, Graph, Input, IntType, MatVec
from hw_build.lowering import lower
from hw_build.verilator import find_verilator

CASES = range(17)
"""Every kind of weights and inputs, see random_networks."""


def emitted(seed: int, folder: Path) -> list[Path]:
    """The sources of case `seed` in the order of `files.f`."""
    case = random_case(seed, most=6)
    emit(lower(case.graph, case.folding), folder)
    return [folder / line for line in (folder / "files.f").read_text().split()]


@pytest.mark.parametrize("seed", CASES)
def test_verilator_has_nothing_to_say(seed: int, tmp_path: Path) -> None:
    verilator = find_verilator()
    command = [str(verilator.binary), "--lint-only", "-Wall"]
    done = subprocess.run(
        [*command, "--top-module", TOP, *map(str, emitted(seed, tmp_path))],
        env={**os.environ, "VERILATOR_ROOT": str(verilator.root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("seed", CASES)
def test_slang_elaborates_it(seed: int, tmp_path: Path) -> None:
    """A second front end, stricter about the language than Verilator."""
    options = pyslang.ast.CompilationOptions()
    options.topModules = {TOP}
    compilation = pyslang.ast.Compilation(pyslang.Bag([options]))
    for path in emitted(seed, tmp_path):
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(path)))
    assert [top.name for top in compilation.getRoot().topInstances] == [TOP]
    errors = [d for d in compilation.getAllDiagnostics() if d.isError()]
    assert not errors, pyslang.DiagnosticEngine.reportAll(compilation.sourceManager, errors)


def test_the_folder_is_complete_and_the_same_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        emitted(1, folder)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert {f"{name}.sv" for name in (*MODULES, TOP)} <= set(names)
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    for block in lower(random_case(1, most=6).graph, random_case(1, most=6).folding):
        for memory in block.memories:
            lines = (first / memory.file).read_text().split()
            assert [int(line, 16) for line in lines] == list(memory.words)
            assert max(memory.words) < 1 << memory.width


def test_every_module_has_its_place_in_the_list() -> None:
    assert sorted(MODULES) == sorted(path.stem for path in RTL_FOLDER.glob("*.sv"))


def test_the_top_level_only_wires(tmp_path: Path) -> None:
    """No process, no arithmetic: behaviour belongs to the modules."""
    emitted(1, tmp_path)
    text = (tmp_path / f"{TOP}.sv").read_text()
    for word in ("always", "initial", "reg ", "logic ", " + ", " & ", "function"):
        assert word not in text


def test_weights_that_differ_leave_the_sources_alone(tmp_path: Path) -> None:
    """One simulation model serves all networks of a shape: only memory files tell them apart."""
    kinds = [LayerKind("binary", BIPOLAR)] * 2
    folders = [tmp_path / "first", tmp_path / "second"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        graph = random_graph(np.random.default_rng(seed), [8, 8, 4], kinds)
        emit(lower(graph, random_folding(np.random.default_rng(0), graph)), folder)
    sources = [{p.name: p.read_text() for p in f.glob("*.sv")} for f in folders]
    assert sources[0] == sources[1]
    weights = [(folder / "fc0_weight.mem").read_text() for folder in folders]
    assert weights[0] != weights[1]


UNSIGNED = IntType(3, signed=False)
MATRIX = np.array([[1, 2, 3], [3, 2, 1]])


def test_a_layer_that_nobody_reads_is_refused() -> None:
    first, second = MatVec("fc0", "input", MATRIX), MatVec("fc1", "input", MATRIX)
    graph = Graph((Input("input", (3,), UNSIGNED), first, second))
    folding = {"fc0": Folding(1, 1), "fc1": Folding(1, 1)}
    with pytest.raises(UserError, match=r"nobody reads(.|\n)*layer fc0"):
        lower(graph, folding)
