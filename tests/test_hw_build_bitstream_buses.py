"""The accelerator as Vivado's block design sees it: the wrapper's ports, and its buses' rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pyslang
import pytest
from vivado_builds import (
    HERE,
    lint,
    make_accelerator,
)

from deploy.errors import MachineError
from deploy.registers import ADDRESS_RANGE
from hw_build.bitstream import scripts
from hw_build.bitstream.ip_wrapper import WRAPPER, instantiation, port_declarations, wrapper
from hw_build.bitstream.plan import Plan, make_plan
from hw_build.blocks import Block
from hw_build.boards import BOARDS
from hw_build.verilator import find_verilator
from hw_build.yosys import run_yosys


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Block, ...]]:
    return make_accelerator(tmp_path_factory.mktemp("rtl"))


@pytest.fixture
def plan(accelerator: tuple[Path, tuple[Block, ...]]) -> Plan:
    return make_plan(*accelerator, BOARDS["pynq_z2"], 100.0)


def test_the_wrapper_has_the_accelerators_ports(
    accelerator: tuple[Path, tuple[Block, ...]], tmp_path: Path
) -> None:
    rtl, _ = accelerator
    header = (rtl / "accelerator.sv").read_text().partition(") (")[2].partition(");")[0]
    lines = [line.strip() for line in header.strip().splitlines()]
    declared = tuple(line.removesuffix(",") for line in lines if not line.startswith("/"))
    assert port_declarations(64) == declared
    (tmp_path / f"{WRAPPER}.v").write_text(wrapper(64))
    lint(["-f", "files.f", "--top-module", WRAPPER, str(tmp_path / f"{WRAPPER}.v")], rtl)
    options = pyslang.ast.CompilationOptions()
    options.topModules = {WRAPPER}
    compilation = pyslang.ast.Compilation(pyslang.Bag([options]))
    names = (rtl / "files.f").read_text().split()
    for path in (*(rtl / name for name in names), tmp_path / f"{WRAPPER}.v"):
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(path)))
    errors = [d for d in compilation.getAllDiagnostics() if d.isError()]
    assert not errors, pyslang.DiagnosticEngine.reportAll(compilation.sourceManager, errors)
    assert instantiation(64).count("\n    .") == len(declared)


def test_the_template_of_an_instance_compiles(accelerator, tmp_path: Path) -> None:
    """In a module that declares what it is wired to; a port of another name does not."""
    wires = [f"  wire {port.split('wire', 1)[1]};" for port in port_declarations(64)]
    text = "\n".join(["module user_top;", *wires, instantiation(64), "endmodule\n"])
    path = tmp_path / "user_top.v"
    arguments = ["-f", "files.f", str(path), "--top-module", "user_top"]
    path.write_text(text)
    lint(arguments, accelerator[0])
    path.write_text(text.replace(".m_axis_tlast(", ".m_axis_last("))
    with pytest.raises(AssertionError, match="m_axis_last"):
        lint(arguments, accelerator[0])


PROTOCOL_FAULTS = {
    "none": ("", "", None),
    "a response is not held": (
        "answer <= write | (answer & ~s_axi_lite_bready)",
        "answer <= write",
        "write_answer_stays",
    ),
    "read data move": (
        "if (~read_valid) read_data <= found",
        "read_data <= found",
        "read_data_stays",
    ),
    "data alone are answered": (
        "write = address_held & data_held",
        "write = data_held",
        "write_answer_has_cause",
    ),
}


@pytest.mark.nightly
@pytest.mark.parametrize("fault", PROTOCOL_FAULTS)
def test_the_accelerator_keeps_the_rules_of_its_buses_under_random_traffic(
    fault: str, accelerator: tuple[Path, tuple[Block, ...]], tmp_path: Path
) -> None:
    """Registers are read and written while frames stream; a planted fault breaks its rule."""
    rtl = tmp_path / "rtl"
    shutil.copytree(accelerator[0], rtl)
    old, new, rule = PROTOCOL_FAULTS[fault]
    registers = rtl / "axi_lite_registers.sv"
    text = registers.read_text()
    assert not old or text.count(old) == 1
    registers.write_text(text.replace(old, new) if old else text)
    verilator = find_verilator()
    command = [str(verilator.binary), "--binary", "--assert", "--timing", "-Wno-fatal"]
    command += ["-Wno-lint", "-Wno-style", "-CFLAGS", "-std=c++20 -fcoroutines -O0"]
    command += ["--top-module", "axi_bench", "-Mdir", str(tmp_path / "model"), "-f", "files.f"]
    environment = {**os.environ, "VERILATOR_ROOT": str(verilator.root)}
    bench = str(HERE / "axi_rules.sv")
    subprocess.run([*command, bench], cwd=rtl, env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [str(tmp_path / "model" / "Vaxi_bench")], cwd=rtl, capture_output=True, text=True
    )
    if rule is not None:
        assert f"Assertion failed in axi_bench.rules.{rule}" in done.stdout + done.stderr
        return
    assert done.returncode == 0, done.stdout
    found = re.search(r"frames (\d+) writes (\d+) reads (\d+) unanswered 0\n", done.stdout)
    assert found, done.stdout
    assert min(map(int, found.groups())) > 50


@pytest.mark.nightly
def test_the_plans_own_top_synthesises_with_its_memories(plan: Plan, tmp_path: Path) -> None:
    names = [path.removeprefix("rtl/") for path in plan.files if path.startswith("rtl/")]
    for name in names:
        (tmp_path / name).write_bytes(plan.files[f"rtl/{name}"])
    modules = " ".join(name for name in names if not name.endswith(".mem"))
    script = f"read_verilog -sv -defer {modules}\nsynth -flatten -top {WRAPPER}\n"
    run_yosys(script + "check -assert\nselect -assert-min 100 t:$_*\n", tmp_path)
    (tmp_path / next(name for name in names if name.endswith("_weight.mem"))).unlink()
    with pytest.raises(MachineError, match="_weight"):
        run_yosys(script, tmp_path)


def test_every_interface_of_the_wrapper_is_named() -> None:
    lines = wrapper(64).splitlines()
    ports = [line for line in lines if line.strip().startswith(("input", "output"))]
    assert sum("X_INTERFACE_INFO" in line for line in lines) == len(ports)
    assert '"xilinx.com:interface:aximm:1.0 s_axi_lite AWADDR"' in wrapper(64)
    assert '"xilinx.com:interface:axis:1.0 m_axis TLAST"' in wrapper(64)
    assert f"range {ADDRESS_RANGE} " in scripts.package_ip("xc7z020clg400-1", [], [])
