"""Branch modules, depthwise units and registers before Verilator's lint, slang and Yosys."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pyslang
import pytest
from rtl_bench import Case, run_cases, sources_of, to_words
from test_hw_build_rtl_branches import FAST as BRANCHES
from test_hw_build_rtl_depthwise import (
    FAST as UNITS,
)
from test_hw_build_rtl_depthwise import (
    RANDOM,
    UINT3,
    Unit,
    case_of,
    expected_beats,
    of_ones,
    random_inputs,
)
from test_hw_build_synthesis import BACK_TO_RTL

from hw_build.blocks import Memory
from hw_build.emit import RTL_FOLDER
from hw_build.synthesis import Synthesised, map_block
from hw_build.verilator import find_verilator
from hw_build.yosys import run_yosys


class Instance(NamedTuple):
    """All that synthesis asks of a block."""

    module: str
    name: str
    parameters: dict[str, int | str]
    memories: tuple[Memory, ...] = ()


class MemoryFile(NamedTuple):
    """All that synthesis asks of a memory."""

    file: str
    text: str

    @property
    def words(self) -> tuple[int, ...]:
        return tuple(int(word, 16) for word in self.text.split())


def instance_of(case: Case) -> Instance:
    memories = tuple(MemoryFile(*item) for item in case.memories.items())
    return Instance(case.module, "unit", dict(case.parameters), memories)


INSTANCES = [
    *(instance_of(expected.case) for expected in BRANCHES[::2]),
    *(instance_of(case_of(u, random_inputs(u), i % 2)) for i, u in enumerate(UNITS)),
    *(Instance("axi_lite_registers", "r", {"OUTPUT_BEATS": beats}) for beats in (1, 2, 7)),
]


def top_of_all(instances: list[Instance]) -> str:
    """A module that holds them all; their ports are left open."""
    lines = []
    for i, instance in enumerate(instances):
        values = ", ".join(
            f'.{k}("{v}")' if isinstance(v, str) else f".{k}({v})"
            for k, v in instance.parameters.items()
        )
        lines.append(f"  {instance.module} #({values}) c{i} ();\n")
    return f"module top;\n{''.join(lines)}endmodule\n"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("all")
    (folder / "top.sv").write_text(top_of_all(INSTANCES))
    modules = sorted({instance.module for instance in INSTANCES})
    return [*sources_of(modules, RTL_FOLDER), folder / "top.sv"]


def test_verilator_has_nothing_to_say(sources: list[Path], tmp_path: Path) -> None:
    verilator = find_verilator()
    command = [str(verilator.binary), "--lint-only", "-Wall"]
    done = subprocess.run(
        # the instances' ports are open in this top level alone
        [*command, "-Wno-PINMISSING", "--top-module", "top", *map(str, sources)],
        env={**os.environ, "VERILATOR_ROOT": str(verilator.root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_slang_elaborates_all(sources: list[Path]) -> None:
    options = pyslang.ast.CompilationOptions()
    options.topModules = {"top"}
    compilation = pyslang.ast.Compilation(pyslang.Bag([options]))
    for path in sources:
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(path)))
    assert [top.name for top in compilation.getRoot().topInstances] == ["top"]
    errors = [d for d in compilation.getAllDiagnostics() if d.isError()]
    assert not errors, pyslang.DiagnosticEngine.reportAll(compilation.sourceManager, errors)


def mapped(case: Case, folder: Path, name: str = "cells") -> Synthesised:
    """Maps a case with Yosys; writes the cells as a module without parameters, `name`.sv."""
    work = folder / f"{name}_work"
    work.mkdir()
    figures = map_block(RTL_FOLDER, instance_of(case), work)
    netlist = "netlist.json"
    run_yosys(BACK_TO_RTL.format(netlist=netlist, module=case.module, name=name), work)
    (folder / f"{name}.sv").write_text((work / "netlist.sv").read_text())
    return figures


def test_weights_that_are_all_one_take_nothing(tmp_path: Path) -> None:
    """A sum pool has neither a weight memory nor registers for its words."""
    ones = of_ones("ones", UINT3, 9, None)
    weights = ones.depthwise.weights.copy()
    weights[::2, ::2] = -1
    mixed = dataclasses.replace(
        ones, depthwise=dataclasses.replace(ones.depthwise, weights=weights)
    )
    pool, convolution = (
        mapped(case_of(unit, random_inputs(unit), 1), tmp_path, f"cells{i}")
        for i, unit in enumerate((ones, mixed))
    )
    assert pool.ff + ones.pe <= convolution.ff
    assert pool.lut < convolution.lut


MAPPED_UNITS: list[Unit] = [RANDOM[1], RANDOM[2], RANDOM[3], *UNITS[-4:]]


@pytest.mark.nightly
def test_mapped_cells_compute_the_same(tmp_path: Path) -> None:
    tried = []
    for expected in BRANCHES[2::6]:
        if not expected.case.parameters.get("BLOCK_MEMORY"):  # Yosys has no model of block RAM
            beats = {prefix: list(found) for prefix, found in expected.beats.items()}
            tried.append((expected.case, beats))
    for unit in MAPPED_UNITS:
        x = random_inputs(unit)
        case = case_of(unit, x, 1)
        tried.append((case, {"m_axis": expected_beats(unit, case, x)}))
    assert len({case.module for case, _ in tried}) == 6
    cells = []
    for i, (case, _) in enumerate(tried):
        mapped(case, tmp_path, f"cells{i}")
        cells.append(dataclasses.replace(case, module=f"cells{i}", parameters={}, memories={}))
    for stalls in (0.0, 0.5):
        results = run_cases(cells, stalls, 1, rtl=tmp_path)
        for (case, beats), result in zip(tried, results, strict=True):
            widths = {sink.prefix: sink.width for sink in case.sinks}
            for prefix, wanted in beats.items():
                found = result.beats[prefix]
                assert (found == to_words(wanted, widths[prefix])).all(), case.name
