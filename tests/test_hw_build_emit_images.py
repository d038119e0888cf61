"""Whole accelerators of convolutional networks before Verilator's lint, slang and Yosys."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pyslang
import pytest
from random_graphs import random_image_case
from test_hw_build_faults_images import FOLDING, network

from benchmarks.fault_injection import sized
from hw_build.blocks import Block
from hw_build.emit import TOP, emit
from hw_build.lone_block import reading
from hw_build.verilator import find_verilator
from hw_build.yosys import run_yosys

EVERY_MODULE = "every module"
CASES = [EVERY_MODULE, *(pytest.param(s, marks=pytest.mark.nightly) for s in range(101, 113))]
"""The network that holds all modules of images, and seeds of random ones."""


def blocks_of(case: str | int) -> tuple[Block, ...]:
    if case == EVERY_MODULE:
        return sized(network(np.random.default_rng(3)), FOLDING)
    made = random_image_case(case)
    return sized(made.graph, made.folding)


@pytest.fixture
def sources(case: str | int, tmp_path: Path) -> list[Path]:
    """The emitted files in the order of `files.f`."""
    emit(blocks_of(case), tmp_path)
    return [tmp_path / line for line in (tmp_path / "files.f").read_text().split()]


@pytest.mark.parametrize("case", CASES)
def test_verilator_has_nothing_to_say(sources: list[Path]) -> None:
    """Of either body of the dot products; no warning is switched off from outside."""
    verilator = find_verilator()
    for compress in (0, 1):
        done = subprocess.run(
            [
                *(str(verilator.binary), "--lint-only", "-Wall", f"-GCOMPRESS={compress}"),
                *("--top-module", TOP, *map(str, sources)),
            ],
            env={**os.environ, "VERILATOR_ROOT": str(verilator.root)},
            cwd=sources[0].parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("case", CASES)
def test_slang_elaborates_it(sources: list[Path]) -> None:
    options = pyslang.ast.CompilationOptions()
    options.topModules = {TOP}
    compilation = pyslang.ast.Compilation(pyslang.Bag([options]))
    for path in sources:
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(path)))
    assert [top.name for top in compilation.getRoot().topInstances] == [TOP]
    errors = [d for d in compilation.getAllDiagnostics() if d.isError()]
    assert not errors, pyslang.DiagnosticEngine.reportAll(compilation.sourceManager, errors)


SYNTHESES = {
    "xc7": "synth_xilinx -family xc7 -flatten",
    "UltraScale+": "synth_xilinx -family xcup -flatten",
    "ECP5": "synth_ecp5",
}


@pytest.mark.nightly
@pytest.mark.parametrize("case", [EVERY_MODULE])
@pytest.mark.parametrize("family", SYNTHESES)
def test_yosys_maps_it(family: str, sources: list[Path]) -> None:
    """The whole accelerator, to the family's cells alone, without a latch: some become loops."""
    names = " ".join(path.name for path in sources)
    run_yosys(
        reading(names, TOP) + "proc\nselect -assert-none t:$*latch*\n"
        f"{SYNTHESES[family]} -top {TOP}\n"
        "check -assert\nselect -assert-none t:$* t:$scopeinfo %d\n",
        sources[0].parent,
    )
