"""The RTL of image layers against the golden model: random shapes, many in a model, all stalled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyslang
import pytest
from image_examples import N_FRAMES, OPERATORS, Example, window
from rtl_bench import BenchError, Result, run_cases, sources_of

from hw_build.emit import RTL_FOLDER
from hw_build.verilator import find_verilator
from hw_build.yosys import run_yosys

N_FAST = 12
"""Cases of an operator in one model."""
NIGHTLY = [(name, first) for name in OPERATORS for first in range(1000, 1200, 25)]


def check(examples: list[Example], stalls: float, seed: int, **options: int | Path) -> list[Result]:
    results = run_cases([e.case for e in examples], stalls, seed, **options)
    for e, result in zip(examples, results, strict=True):
        assert np.array_equal(result.beats["m_axis"], e.expected), e.case.name
    return results


@pytest.fixture(scope="module")
def fast() -> list[Example]:
    """Cases of all operators, to be run in one model."""
    return [*(make(seed) for make in OPERATORS.values() for seed in range(N_FAST)), ODD_RING]


@pytest.mark.parametrize(("stalls", "seed"), [(0.0, 1), (0.2, 2), (0.5, 3)])
def test_random_cases(fast: list[Example], stalls: float, seed: int) -> None:
    check(fast, stalls, seed)


@pytest.mark.parametrize("reset_after", [5, 14])
def test_a_reset_in_the_middle_leaves_no_trace(fast: list[Example], reset_after: int) -> None:
    check(fast, 0.3, 4, reset_after=reset_after)


@pytest.mark.nightly
@pytest.mark.parametrize(("operator", "first"), NIGHTLY)
def test_many_random_cases(operator: str, first: int) -> None:
    examples = [OPERATORS[operator](seed) for seed in range(first, first + 25)]
    for stalls in (0.0, 0.3, 0.5):
        check(examples, stalls, first)


def test_the_fast_windows_hold_every_kind(fast: list[Example]) -> None:
    """What the sample above is worth."""
    seen = [e.case.parameters for e in fast if e.case.module == "window"]
    for what in ("KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W", "CHANNEL_BEATS"):
        assert {p[what] for p in seen} >= {1, 2, 3}, what
    for what in ("CHANNEL_OUTER", "FRAME_AHEAD", "BLOCK_MEMORY"):
        assert {p.get(what, 0) for p in seen} == {0, 1}, what
    for side in "HW":
        assert {p[f"DILATION_{side}"] for p in seen if p[f"KERNEL_{side}"] > 1} >= {1, 2}


FAULTS = [
    ("window", "DILATION_H * WIDTH * F;", "WIDTH * F;"),
    ("window_parallel", "memory[next_column]", "memory[column]"),
    ("ring_memory", "32'(write_place) == DEPTH - 1", "32'(write_place) == DEPTH"),
    ("upsample", "read & last_x & last_y", "read & last_x"),
    ("pad", "{~s_axis_tdata[i], 1'b1}", "{s_axis_tdata[i], 1'b1}"),
    ("max_pool", "$signed(given) > $signed(greatest)", "given > greatest"),
]
MORE_FAULTS = [
    ("window", "(WIDTH - (KERNEL_W - 1) * DILATION_W - 1)", "(WIDTH - (KERNEL_W - 1) - 1)"),
    ("window", ": place(DOWN - LAST)", ": place(DOWN - LAST + 1)"),
    ("window", "NEXT_FRAME : DOWN) : RIGHT);", "NEXT_FRAME : DOWN) : RIGHT + 1);"),
    ("window", "      room <= COUNT_BITS'(DEPTH - 1);\n", ""),
    ("window_parallel", "pixels[i*DILATION_H*BEAT_BITS+:", "pixels[i*BEAT_BITS+:"),
    (
        "window_parallel",
        "until_y <= end_of_frame ? Y_BITS'(REACH_H - 1)\n                 :",
        "until_y <=",
    ),
    ("ring_memory", "      read_place <= '0;\n", ""),
    ("upsample", "row_again ? 1 - KEPT", "row_again ? 2 - KEPT"),
    ("pad", "row) < HEIGHT", "row) < 1"),
    ("max_pool", "position == '0 | ", ""),
]


def test_every_fault_can_be_planted() -> None:
    for module, old, _ in FAULTS + MORE_FAULTS:
        assert (RTL_FOLDER / f"{module}.sv").read_text().count(old) == 1, (module, old)


def check_fault(fault: tuple[str, str, str], examples: list[Example], folder: Path) -> None:
    module, old, new = fault
    for path in RTL_FOLDER.glob("*.sv"):
        shutil.copy(path, folder)
    source = folder / f"{module}.sv"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    users = ("window", "upsample") if module == "ring_memory" else (module,)
    chosen = [e for e in examples if e.case.module in users]
    with pytest.raises((BenchError, AssertionError)):
        check(chosen, 0.3, 5, rtl=folder)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_a_planted_fault_is_seen(
    fault: tuple[str, str, str], fast: list[Example], tmp_path: Path
) -> None:
    check_fault(fault, fast, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("fault", MORE_FAULTS, ids=lambda fault: fault[1][:20].strip())
def test_more_planted_faults_are_seen(
    fault: tuple[str, str, str], fast: list[Example], tmp_path: Path
) -> None:
    check_fault(fault, fast, tmp_path)


def window_3x3(name: str, size: dict[str, int], **choices: int) -> Example:
    return window(name, size, [3, 3], [1, 1], [1, 1], 0, **choices)


SIZE = {"HEIGHT": 30, "WIDTH": 30, "CHANNEL_BEATS": 2, "BEAT_BITS": 32}
SMALL = {"HEIGHT": 4, "WIDTH": 30, "CHANNEL_BEATS": 3, "BEAT_BITS": 32}
ODD_RING = window_3x3("a ring of 192", SMALL, FRAME_AHEAD=0)
CNV = window_3x3("cnv", {**SIZE, "CHANNEL_BEATS": 3}, FRAME_AHEAD=0)
FULL_RATE = [
    CNV,
    window_3x3("ahead", SIZE, FRAME_AHEAD=1),
    window("block", SIZE, [3, 3], [1, 1], [1, 1], 1, FRAME_AHEAD=1, BLOCK_MEMORY=1),
    window("pool", {**SIZE, "WIDTH": 28}, [2, 2], [2, 2], [1, 1], 1, FRAME_AHEAD=1),
    window("strided", SIZE, [3, 3], [2, 2], [1, 1], 0, FRAME_AHEAD=1),
    window("dilated", SIZE, [3, 3], [1, 1], [2, 3], 0, FRAME_AHEAD=1),
    window("signal", {**SIZE, "HEIGHT": 1}, [1, 5], [1, 1], [1, 2], 0, FRAME_AHEAD=1),
    window("skipping", SIZE, [1, 1], [2, 2], [1, 1], 0, FRAME_AHEAD=1),
]


def test_windows_run_at_the_full_rate() -> None:
    """Unstalled, a beat enters or leaves every cycle, whichever are more; between frames too."""
    for e, result in zip(FULL_RATE, check(FULL_RATE, 0.0, 1), strict=True):
        taken, left = (result.cycles[axis].reshape(N_FRAMES, -1) for axis in ("s_axis", "m_axis"))
        period, most = int(left[2, -1] - left[1, -1]), max(taken.shape[1], left.shape[1])
        if e is CNV:
            assert most < period <= most + (2 * 30 + 3) * 3, "waits for a window between frames"
        else:
            assert period == most, e.case.name


# --- other tools ----------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
def test_verilator_has_nothing_to_say(operator: str) -> None:
    verilator = find_verilator()
    command = [str(verilator.binary), "--lint-only", "-Wall"]
    for case in (OPERATORS[operator](seed).case for seed in range(4)):
        values = [f"-G{name}={value}" for name, value in case.parameters.items()]
        files = map(str, sources_of([case.module], RTL_FOLDER))
        done = subprocess.run(
            [*command, "--top-module", case.module, *values, *files],
            env={**os.environ, "VERILATOR_ROOT": str(verilator.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), case.name


@pytest.mark.parametrize("operator", OPERATORS)
def test_slang_elaborates_it(operator: str) -> None:
    for case in (OPERATORS[operator](seed).case for seed in range(4)):
        options = pyslang.ast.CompilationOptions()
        options.topModules = {case.module}
        options.paramOverrides = [f"{name}={value}" for name, value in case.parameters.items()]
        compilation = pyslang.ast.Compilation(pyslang.Bag([options]))
        for path in sources_of([case.module], RTL_FOLDER):
            compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(path)))
        assert [top.name for top in compilation.getRoot().topInstances] == [case.module]
        errors = [d for d in compilation.getAllDiagnostics() if d.isError()]
        report = pyslang.DiagnosticEngine.reportAll(compilation.sourceManager, errors)
        assert not errors, f"{case.name}\n{report}"


@pytest.mark.nightly
@pytest.mark.parametrize("operator", OPERATORS)
def test_yosys_maps_it(operator: str, tmp_path: Path) -> None:
    for path in sources_of([operator], RTL_FOLDER):
        shutil.copy(path, tmp_path)
    case = OPERATORS[operator](1).case
    values = " ".join(f"-set {name} {value}" for name, value in case.parameters.items())
    run_yosys(
        f"read_verilog -sv {' '.join(path.name for path in sorted(tmp_path.glob('*.sv')))}\n"
        f"chparam {values} {operator}\nsynth_xilinx -family xc7 -flatten -top {operator}\n"
        "check -assert\nselect -assert-none t:$* t:$scopeinfo %d\n",
        tmp_path,
    )
