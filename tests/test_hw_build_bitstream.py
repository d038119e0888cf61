"""Plans for Vivado, carried out by a stand-in that checks the Tcl with a real interpreter."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import onnx
import pyslang
import pytest
from qonnx_zoo import ZOO

from deploy.boards import facts_of
from deploy.bundle import Bundle
from deploy.errors import MachineError, NarrowgaugeError, UserError
from deploy.handoff import blocks_of
from deploy.registers import ADDRESS_RANGE, identity_words
from deploy.store import Store
from hw_build import flow
from hw_build.bitstream import scripts, tcl, vivado_log, vivado_reports
from hw_build.bitstream.execute import build
from hw_build.bitstream.history import History
from hw_build.bitstream.ip_wrapper import WRAPPER, instantiation, port_declarations, wrapper
from hw_build.bitstream.plan import RESULTS, STEPS, Plan, make_plan
from hw_build.bitstream.vivado import find_vivado, run_script, sole_builder
from hw_build.blocks import Block
from hw_build.boards import BOARDS
from hw_build.emit import IDENTITY, emit
from hw_build.folding import Folding
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.verilator import find_verilator
from hw_build.yosys import run_yosys

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden_tcl"
PYNQ = [name for name, board in BOARDS.items() if board.has_pynq]
needs_tcl = pytest.mark.skipif(shutil.which("tclsh") is None, reason="no tclsh on the PATH")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    onnx.save(ZOO["brevitas_w2a2"]().model, path)
    return path


@pytest.fixture(scope="module")
def accelerator(
    network: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[Block, ...]]:
    """The RTL's folder and its blocks."""
    graph = import_qonnx(network, "auto").graph
    folding = {layer.name: Folding(1, 1) for layer in graph.layers if hasattr(layer, "weights")}
    blocks = lower(graph, folding, 64)
    folder = tmp_path_factory.mktemp("rtl")
    emit(blocks, folder)
    return folder, blocks


@pytest.fixture
def plan(accelerator: tuple[Path, tuple[Block, ...]]) -> Plan:
    return make_plan(*accelerator, BOARDS["pynq_z2"], 100.0)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """A fake Vivado on the PATH; returns the arguments of its calls so far."""
    program = tmp_path / "Vivado" / "bin" / "vivado"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/fake_vivado.py" "$@"\n')
    program.chmod(0o755)
    record = tmp_path / "calls"
    record.touch()
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_VIVADO_RECORD", str(record))
    monkeypatch.setenv("NARROWGAUGE_STORE", str(tmp_path / "store"))
    return lambda: [json.loads(line) for line in record.read_text().splitlines()]


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """A fake docker beside the fake Vivado; returns the arguments of its calls so far."""
    program = tmp_path / "Vivado" / "bin" / "docker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/fake_docker.py" "$@"\n')
    program.chmod(0o755)
    record = tmp_path / "docker-calls"
    record.touch()
    monkeypatch.setenv("FAKE_DOCKER_RECORD", str(record))
    return lambda: [json.loads(line) for line in record.read_text().splitlines()]


def scripts_of(calls: list[list[str]]) -> list[str]:
    return [call[call.index("-source") + 1] for call in calls if "-source" in call]


def run(plan: Plan, work: Path, said: list[str] | None = None) -> Path:
    found = find_vivado("local")
    assert found is not None
    return build(plan, found, work, say=(said if said is not None else []).append)


def lint(arguments: list[str], folder: Path) -> None:
    """Verilator reads and elaborates it."""
    verilator = find_verilator()
    command = [str(verilator.binary), "--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
    environment = {"VERILATOR_ROOT": str(verilator.root)}
    done = subprocess.run(
        [*command, *arguments], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def explained(plan: Plan, work: Path) -> NarrowgaugeError:
    with pytest.raises(NarrowgaugeError) as caught:
        run(plan, work)
    return caught.value


SCRIPTS = {
    "1_package": scripts.package_ip("xc7z020clg400-1", ["a.sv", "b.v"], ["a weight.mem"]),
    **{name: scripts.block_design(BOARDS[name], BOARDS[name].clock_mhz) for name in PYNQ},
    "3_synthesis": scripts.synthesis("xc7z020clg400-1"),
    "4_placement": scripts.placement(),
    "5_routing": scripts.routing(),
    "6_bitstream": scripts.bitstream(),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_has_its_golden_tcl(name: str) -> None:
    """To accept a change: delete the file, run the test twice, read the difference."""
    text, path = SCRIPTS[name], GOLDEN / f"{name}.tcl"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"wrote {path.name}: read it, and run again")
    assert text == path.read_text()


@pytest.mark.parametrize("board", PYNQ)
def test_the_design_has_the_addresses_that_the_virtual_board_has(board: str) -> None:
    text = scripts.block_design(BOARDS[board], 100.0)
    for block in blocks_of("axi_dma", facts_of(board)):
        assert f"-offset {block.base:#010x} -range {block.size:#x} " in text
        for name, value in block.parameters.items():
            assert f"    CONFIG.{name} {value} " in text
    assert BOARDS[board].part in text


@needs_tcl
@pytest.mark.parametrize("board", PYNQ)
def test_a_build_runs_every_script_and_keeps_the_results(
    board: str, accelerator: tuple[Path, tuple[Block, ...]], tmp_path: Path, fake
) -> None:
    plan = make_plan(*accelerator, BOARDS[board], 100.0)
    said: list[str] = []
    built = run(plan, tmp_path / "work", said)
    assert sorted(p.name for p in built.iterdir()) == sorted(
        [*RESULTS, "bitstream.json", "manifest.json"]
    )
    summary = json.loads((built / "bitstream.json").read_text())
    assert summary["accelerator"] == {"lut": 9712, "ff": 11034, "bram36": 6.5, "dsp": 0}
    assert summary["timing"]["slack_ns"] == 0.521
    assert summary["timing"]["most_mhz"] == 105.5
    calls = [call for call in fake() if call != ["-version"]]
    assert scripts_of(calls) == [f"{step.name}.tcl" for step in STEPS]
    assert all(call[:2] == ["-mode", "batch"] for call in calls)
    assert [f"step {n} of 6" in line for n, line in enumerate(said, 1)] == [True] * 6


@needs_tcl
@pytest.mark.parametrize(
    ("step", "old", "new", "complaint"),
    [
        ("1_package", b"rtl/identity.mem", b"rtl/identitx.mem", "missing file: rtl/identitx.mem"),
        ("2_design", b"validate_bd_design", b"validate_design", "invalid command name"),
        ("2_design", b"control/S00_AXI", b"contro/S00_AXI", "no cell 'contro'"),
        ("2_design", b"-offset", b"-ofset", "Unknown option '-ofset'"),
        ("2_design", b"control/M01_AXI", b"$wire", "can't read"),
        ("2_design", b"reset/slowest_sync_clk", b"control/aclk", "has a driver already"),
        (
            "2_design",
            b"c_sg_length_width",
            b"c_sg_length_widht",
            "no parameter 'c_sg_length_widht'",
        ),
        ("2_design", b"ps/FCLK_CLK0", b"ps/FCLK_CLK9", "no pin 'FCLK_CLK9' of 'ps'"),
        ("2_design", b"PCW_USE_S_AXI_HP0 1", b"PCW_USE_S_AXI_HP0 0", "needs PCW_USE_S_AXI_HP0"),
        ("2_design", b"NUM_MI 2", b"NUM_MI 1", "'control/M01_AXI' needs NUM_MI above 1"),
        ("2_design", b"HP0_DDR_LOWOCM", b"HP0_DDR_LOW", "no segment 'S_AXI_HP0/HP0_DDR_LOW'"),
        ("2_design", b"ip:axi_dma ", b"ip:axi_dmas ", "this Vivado lacks a block of the design"),
        ("2_design", b"    accelerator_0/clk \\\n", b"", "'accelerator_0/clk' is not connected"),
        (
            "2_design",
            b"get_bd_intf_pins accelerator_0/s_axis]",
            b"get_bd_intf_pins control/S00_AXI]",
            "is axis, 'control/S00_AXI' aximm",
        ),
        ("3_synthesis", b"write_checkpoint -force synth", b"# ", "it made no synthesised.dcp"),
        ("4_placement", b"synthesised.dcp", b"synthesized.dcp", "does not exist"),
        ("5_routing", b"get_cells system_i", b"get_cells {system_i", "missing close-bra"),
    ],
)
def test_a_planted_fault_of_a_script_is_caught(
    step: str, old: bytes, new: bytes, complaint: str, plan: Plan, tmp_path: Path, fake
) -> None:
    text = plan.files[f"{step}.tcl"]
    assert old in text
    files = {**plan.files, f"{step}.tcl": text.replace(old, new, 1)}
    broken = Plan(plan.board, plan.clock_mhz, files, plan.instances)
    assert complaint in str(explained(broken, tmp_path / "work"))


@needs_tcl
@pytest.mark.parametrize(
    ("fault", "kind", "what", "fix"),
    [
        ("licence", MachineError, "no licence for this part", "XILINXD_LICENSE_FILE"),
        ("memory", MachineError, "ran out of memory", "close other programs"),
        ("readmem", MachineError, "would have been empty", "fault of the plan"),
        ("crash", MachineError, "Vivado crashed", "LD_PRELOAD"),
        ("fit", UserError, "does not fit the part", "--target-fps"),
        ("killed", MachineError, "Vivado was killed", "goes on from this step"),
        ("unknown", MachineError, "[Place 99-9] nobody has seen this one", "4_placement.log"),
        ("congestion", UserError, "can't be routed", "--target-fps"),
        ("unroutable", UserError, "12 nets with routing errors", "--target-fps"),
        ("timing", UserError, "too slow for its clock", "--clock-mhz 89"),
    ],
)
def test_each_way_to_fail_is_explained(
    fault: str,
    kind: type[NarrowgaugeError],
    what: str,
    fix: str,
    plan: Plan,
    tmp_path: Path,
    fake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance, layer = next((i, n) for i, n in plan.instances.items() if i.endswith("_mvu"))
    monkeypatch.setenv("FAKE_VIVADO_FAULT", fault)
    monkeypatch.setenv("FAKE_VIVADO_INSTANCE", instance)
    error = explained(plan, tmp_path / "work")
    assert type(error) is kind
    assert what in str(error)
    assert fix in error.fix
    if fault == "timing":
        assert error.where.startswith(f"{layer}, 9 levels of logic")
        assert error.found == "1.151 ns too long at 100 MHz"
    assert not (Store().root / "bitstream").exists() or not list(
        (Store().root / "bitstream").glob("[0-9a-f]*")
    )


@needs_tcl
def test_a_critical_warning_is_shown_and_kept(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "critical")
    said: list[str] = []
    built = run(plan, tmp_path / "work", said)
    at = said.index("  critical warning: [Common 17-1000] something to look at")
    assert said[at + 1].startswith("  critical warning: [PSU-1] PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0")
    assert said[at + 2].endswith("harmless")
    warnings = json.loads((built / "bitstream.json").read_text())["critical_warnings"]
    assert [warning["identity"] for warning in warnings] == ["Common 17-1000", "PSU-1"]
    assert [warning["meaning"] is None for warning in warnings] == [True, False]


LOGS = {
    "INFO: [Common 17-349] Got license for feature; license expired in 3 days\n": None,
    "INFO: peak memory; out of memory is far\nERROR: [Place 99-9] other\n": None,
    "terminate called after throwing an instance of 'std::bad_alloc'\n": "ran out of memory",
    "INFO: all is well\n" * 99 + "realloc(): invalid pointer\n": "crashed",
    "realloc(): invalid pointer\n" + "INFO: all is well\n" * 99: None,
    "WARNING: failed to route once\nERROR: [X 1-1] No space left on device\n": "the disk is full",
}


@pytest.mark.parametrize("log", LOGS)
def test_no_information_is_taken_for_a_cause(log: str) -> None:
    cause, expected = vivado_log.cause_of(log), LOGS[log]
    assert (cause is None) == (expected is None)
    assert cause is None or expected in cause.what


@needs_tcl
def test_the_time_to_go_is_that_of_the_like_of_it(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Store().root
    root.mkdir()
    for lut, minutes in ((plan.lut, 10), (64 * plan.lut, 100)):
        history = History(root, "pynq_z2", lut)
        for step in STEPS:
            history.record(step.name, 60.0 * minutes)
    said: list[str] = []
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "killed")
    with pytest.raises(MachineError):
        run(plan, tmp_path / "work", said)
    assert said[0].endswith("step 1 of 6, packaging the IP: about 60 min to go")
    assert said[3].endswith("step 4 of 6, placement: about 30 min to go")
    seen = History(root, "pynq_z2", plan.lut).seconds()
    assert max(seen[step.name] for step in STEPS[:3]) < 60 < seen["4_placement"]
    assert History(root, "pynq_z2", 100 * plan.lut).seconds()["1_package"] == 6000
    assert History(root, "zcu104", plan.lut).seconds() == {}


@needs_tcl
def test_a_killed_build_goes_on_and_a_whole_one_is_not_built_again(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "killed")
    explained(plan, work)
    assert len(scripts_of(fake())) == 4
    monkeypatch.delenv("FAKE_VIVADO_FAULT")
    built = run(plan, work)
    names = [f"{step.name}.tcl" for step in STEPS]
    assert scripts_of(fake()) == [*names[:4], *names[3:]]
    assert run(plan, tmp_path / "elsewhere") == built
    assert len(scripts_of(fake())) == 7
    other = Plan(plan.board, 50.0, plan.files, plan.instances)
    assert run(other, work) != built
    assert len(scripts_of(fake())) == 13


BUILDER = """
import pickle, sys
from pathlib import Path
from hw_build import flow
from hw_build.bitstream.execute import build
from hw_build.bitstream.vivado import find_vivado
plan, place, work = pickle.load(sys.stdin.buffer)
with flow._signals_as_exceptions():
    build(plan, find_vivado(place), work)
"""


@contextmanager
def hanging_build(plan: Plan, place: str, work: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """A process that builds, whose Vivado hangs in the placement; and that Vivado's id."""
    environment = {**os.environ, "FAKE_VIVADO_FAULT": "hangs", "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER], env=environment, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps((plan, place, work)))
    process.stdin.close()
    mark = work / "hangs.pid"
    until(lambda: mark.is_file() and mark.read_text())
    vivado = int(mark.read_text())
    try:
        yield process, vivado
    finally:
        for end, number in ((process.kill, ()), (os.kill, (vivado, signal.SIGKILL))):
            with suppress(ProcessLookupError):
                end(*number)
        process.wait()


def until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("waited in vain")


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_tcl
@pytest.mark.parametrize(
    ("place", "number"),
    [("local", signal.SIGTERM), ("local", signal.SIGKILL), ("docker", signal.SIGKILL)],
)
def test_a_killed_flow_leaves_no_vivado_behind_and_goes_on(
    place: str, number: int, plan: Plan, tmp_path: Path, fake, fake_docker
) -> None:
    work = tmp_path / "stage" / "work"
    with hanging_build(plan, place, work) as (process, vivado):
        process.send_signal(number)
        assert process.wait(20) in (128 + number, -number)
        until(lambda: not lives(vivado))
    kills = [call for call in fake_docker() if call[0] == "kill"]
    assert len(kills) == (place == "docker")
    found = find_vivado(place)
    assert found is not None
    build(plan, found, work, say=[].append)
    names = [f"{step.name}.tcl" for step in STEPS]
    assert scripts_of(fake()) == [*names[:4], *names[3:]]


@needs_tcl
@pytest.mark.parametrize("place", ["local", "docker"])
def test_a_vivado_that_outlived_everything_is_met(
    place: str, plan: Plan, tmp_path: Path, fake, fake_docker
) -> None:
    work = tmp_path / "stage" / "work"
    with hanging_build(plan, place, work) as (process, vivado):
        leash = int(work.with_name("work.lock").read_text())
        process.send_signal(signal.SIGSTOP)  # so that it does not see its child die
        os.kill(leash, signal.SIGKILL)
        process.kill()
        process.wait()
        assert lives(vivado)
        if place == "local":
            with pytest.raises(MachineError, match=f"process group {leash}") as caught:
                run(plan, work)
            assert f"kill -KILL -- -{leash}" in caught.value.fix
            assert lives(vivado)
            os.killpg(leash, signal.SIGKILL)
        else:
            os.killpg(leash, signal.SIGKILL)  # docker's client dies, the container does not
            assert lives(vivado)
        found = find_vivado(place)
        assert found is not None
        build(plan, found, work, say=[].append)
        until(lambda: not lives(vivado))
    names = [f"{step.name}.tcl" for step in STEPS]
    assert scripts_of(fake()) == [*names[:4], *names[3:]]


def test_a_plan_is_pure_and_names_no_place(
    accelerator: tuple[Path, tuple[Block, ...]], plan: Plan, tmp_path: Path
) -> None:
    rtl, blocks = accelerator
    copy = tmp_path / "copy"
    shutil.copytree(rtl, copy)
    assert make_plan(copy, blocks, BOARDS["pynq_z2"], 100.0).digest == plan.digest
    assert not any(str(rtl).encode() in data for data in plan.files.values())
    assert make_plan(rtl, blocks, BOARDS["pynq_z2"], 90.0).digest != plan.digest
    (copy / "identity.mem").write_text("0\n")
    assert make_plan(copy, blocks, BOARDS["pynq_z2"], 100.0).digest != plan.digest
    (copy / "mvu.sv").unlink()
    with pytest.raises(UserError, match=r"no mvu\.sv"):
        make_plan(copy, blocks, BOARDS["pynq_z2"], 100.0)


@needs_tcl
def test_words_come_out_of_tcl_as_they_went_in(tmp_path: Path) -> None:
    texts = ["plain", "", "two words", "$x [y]", "{", "}{", "a\\", 'say "hi"; #', "a\nb\t{c", "é"]
    lines = [f"puts -nonewline {tcl.word(text)}; puts -nonewline \\0" for text in texts]
    script = tmp_path / "words.tcl"
    script.write_text("fconfigure stdout -encoding utf-8 -translation lf\n" + "\n".join(lines))
    command = ["tclsh", "-encoding", "utf-8", str(script)]
    out = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert out == "".join(f"{text}\0" for text in texts)


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


def test_missing_vivado_is_one_clear_message(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    assert find_vivado("auto") is None
    assert find_vivado("none") is None
    for place in ("local", "docker"):
        with pytest.raises(MachineError, match="Vivado is not found") as caught:
            find_vivado(place)
        assert "--vivado none" in caught.value.fix


def test_docker_gets_the_users_id_and_vivado_read_only(
    tmp_path: Path, fake, fake_docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    licence = tmp_path / "my.lic"
    licence.touch()
    monkeypatch.setenv("XILINXD_LICENSE_FILE", f"2100@server:{licence}")
    monkeypatch.setenv("XILINX_VITIS", "/tools/Vitis")
    found = find_vivado("docker")
    assert found is not None
    assert found.version == "2022.2"
    command = found.command("a.tcl", "a.log", tmp_path)
    assert command[:4] == ["docker", "run", "--rm", "--init"]
    text = " ".join(command)
    assert "--cidfile a.log.container " in text
    assert f"--volume {tmp_path}/Vivado:{tmp_path}/Vivado:ro" in text
    assert "--volume /tools/Vitis:/tools/Vitis:ro --env XILINX_VITIS=/tools/Vitis" in text
    assert f"--volume {licence}:{licence}:ro" in text
    assert f"--volume {tmp_path}:/build --workdir /build narrowgauge:build" in text
    assert f"--env XILINXD_LICENSE_FILE=2100@server:{licence}" in text
    assert f"--user {os.getuid()}:{os.getgid()}" in " ".join(fake_docker()[0])


def test_slack_is_judged_at_the_clock_that_was_asked_for() -> None:
    text = (HERE / "fake_vivado_forms" / "timing_met.rpt").read_text()
    timing = vivado_reports.read_timing(text)
    assert timing.slack_at(100.0) == pytest.approx(0.521)
    assert timing.slack_at(104.0) > 0 > timing.slack_at(107.0)
    assert timing.slack_at(timing.most_mhz) == pytest.approx(0)


@pytest.mark.parametrize(
    "text", ["", "| Design Timing Summary\n", "| Design Timing Summary\nWNS(ns)"]
)
def test_a_report_that_can_not_be_read_is_an_error(text: str) -> None:
    with pytest.raises(MachineError, match="timing report can't be read"):
        vivado_reports.read_timing(text)
    with pytest.raises(MachineError, match="utilisation report can't be read"):
        vivado_reports.read_utilisation(text)


def test_ultrascale_reports_are_read_too() -> None:
    rows = ["CLB LUTs*", "CLB Registers", "Block RAM Tile", "DSPs"]
    text = "".join(f"| {row} | {n} | 0 | 0 | 99 | 0.1 |\n" for n, row in enumerate(rows, 1))
    used = vivado_reports.read_utilisation(text)
    assert used == {"lut": 1, "ff": 2, "bram36": 3, "dsp": 4}


@needs_tcl
def test_the_flow_builds_bundles_and_reports_a_bitstream(
    network: Path, tmp_path: Path, fake, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    base = ["run", str(network), "--out", str(out), "--no-synthesis", "--target-fps", "5000000"]
    assert flow.main([*base, "--until", "report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (out / "09_bitstream" / "accelerator.bit").is_file()
    assert not (out / "09_bitstream" / "work").exists()
    bundle = Bundle.read(out / "bundle.zip")
    assert bundle.files["hardware/accelerator.bit"] == b"a bitstream of no board\n"
    record = json.loads((out / "report.json").read_text())
    assert record["bitstream"]["accelerator"]["lut"] == 9712
    assert told["report"] == record
    assert scripts_of(fake()) == [f"{step.name}.tcl" for step in STEPS]

    # what the registers will read is what the bundle's manifest says
    words = [int(word, 16) for word in (out / "06_rtl" / IDENTITY).read_text().split()]
    assert tuple(words) == identity_words(bundle.manifest.identity)

    # the accelerator alone: Vivado packages it, Verilator reads it
    folder = tmp_path / "ip"
    assert flow.main(["ip", str(out), "--out", str(folder), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert str(folder / "README.txt") in files
    assert all(Path(file).is_file() for file in files)
    found = find_vivado("local")
    assert found is not None
    with sole_builder(folder) as lock:
        assert run_script(found, "package_ip.tcl", "package.log", folder, lock) == 0
    assert (folder / "ip" / "component.xml").is_file()
    assert bundle.manifest.identity in (folder / "README.txt").read_text()
    lint(["-f", "files.f", "--top-module", "accelerator"], folder)
    assert (folder / "instance.v").read_text() == instantiation(64)
    assert flow.main(["ip", str(out), "--out", str(folder)]) == 2
    assert "not empty" in capsys.readouterr().err

    # at another clock this is not the accelerator's bitstream any more
    folding = ["--folding", str(out / "05_folding" / "folding.json"), "--clock-mhz", "50"]
    folding += ["--target-fps", "2500000"]
    assert flow.main([*base, *folding, "--vivado", "none", "--until", "bundle"]) == 0
    assert not Bundle.read(out / "bundle.zip").has_bitstream
