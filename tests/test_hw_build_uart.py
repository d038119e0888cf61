"""The UART bridge's RTL, around a stand-in for an accelerator that puts out more than it takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyslang
import pytest
from rtl_bench import sources_of

from deploy.errors import GateError, MachineError
from deploy.uart import BEATS, UartAccelerator
from hw_build.bitstream.ecp5_plan import TOP, UART_FOLDER, UART_MODULES
from hw_build.bitstream.uart_line import SimulatedLine
from hw_build.emit import RTL_FOLDER
from hw_build.verilator import find_verilator
from hw_build.yosys import run_yosys

ECHO = Path(__file__).with_name("uart_echo.sv")
COPIES = 3  # of each beat, as uart_echo.sv has it
IDENTITY = "0123456789abcdef" * 4
USED = ("axi_lite_registers", "transfer_end", "stream_fifo", "lane_joiner")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sources, and the memory file that the registers read."""
    made = tmp_path_factory.mktemp("uart")
    for path in sources_of(USED, RTL_FOLDER):
        shutil.copy(path, made)
    for module in UART_MODULES:
        shutil.copy(UART_FOLDER / f"{module}.sv", made)
    shutil.copyfile(ECHO, made / "accelerator.sv")
    words = [IDENTITY[8 * i : 8 * i + 8] for i in range(4)]
    (made / "identity.mem").write_text("\n".join(words) + "\n")
    return made


def line(folder: Path, divider: int = 25, rate: float = 1.0, gaps: float = 0.0) -> SimulatedLine:
    """`rate` is the host's baud rate, in terms of the board's."""
    sources = sorted(folder.glob("*.sv"))
    parameters = {"DIVIDER": divider}
    return SimulatedLine(sources, divider / rate, folder, gaps=gaps, parameters=parameters)


@contextmanager
def opened(folder: Path, **options) -> Iterator[tuple[SimulatedLine, UartAccelerator]]:
    with line(folder, **options) as port:
        yield port, UartAccelerator(port)


def echo(board: UartAccelerator, n: int, seed: int = 0) -> None:
    """Beats there and back; the outputs wait on the line for as long as inputs are sent."""
    beats = np.random.default_rng(seed).integers(0, 256, (n, 8)).astype(np.uint8)
    board.send(beats)
    found = board.receive(COPIES * n).view("<u8").reshape(n, COPIES)
    assert (found == beats.view("<u8") + np.arange(COPIES, dtype=np.uint64)).all()


@pytest.mark.parametrize("gaps", [0.0, 3.0])
@pytest.mark.parametrize(("divider", "rate"), [(4, 1.0), (25, 1.0), (25, 0.975), (25, 1.025)])
def test_beats_and_registers_there_and_back(
    folder: Path, divider: int, rate: float, gaps: float
) -> None:
    with opened(folder, divider=divider, rate=rate, gaps=gaps) as (_, board):
        board.require(IDENTITY)
        with pytest.raises(GateError, match="another accelerator is behind the UART"):
            board.require(IDENTITY[::-1])
        for frames in (0xDEADBEEF, 50):
            board.write_register("FRAMES", frames)
            assert board.read_register("FRAMES") == frames
        board.write_register("CONTROL", 1)
        for n in (1, BEATS, 33):
            echo(board, n, seed=n)
        assert board.read_register("FRAMES_DONE") == 50
        assert board.read_register("INPUT_STALLS") > 0
        assert board.read_register("OUTPUT_STALLS") > 0


def test_registers_are_read_while_output_waits(folder: Path) -> None:
    with opened(folder) as (_, board):
        board.write_register("FRAMES", 5)
        beats = np.arange(40, dtype=np.uint8)
        board.send(beats)
        assert board.read_register("FRAMES") == 5
        assert len(board.receive(5 * COPIES)) == 40 * COPIES


@pytest.mark.parametrize("request_", [b"X", b"\0", b"D\0", bytes([ord("D"), BEATS + 1])])
def test_what_is_no_request_is_refused_and_does_no_harm(folder: Path, request_: bytes) -> None:
    with opened(folder) as (port, board):
        port.write(request_)
        assert port.read(1) == b"?"
        assert port.read(1) == b""
        echo(board, 2)


@pytest.mark.parametrize("torn", [b"W", b"W\x18\1\2", b"D", b"D\2" + bytes(11)])
def test_a_break_ends_whatever_was_begun(folder: Path, torn: bytes) -> None:
    with opened(folder) as (port, board):
        board.write_register("FRAMES", 7)
        port.write(torn)
        board = UartAccelerator(port)
        assert board.read_register("FRAMES") == 0, "the accelerator is reset too"
        echo(board, 3)


def test_what_the_board_does_not_say_is_an_error(folder: Path) -> None:
    with opened(folder) as (port, board):
        board.send(np.zeros(8, np.uint8))
        board.receive(COPIES)
        with pytest.raises(MachineError, match="the board does not answer"):
            board.receive(1)
        port.write(b"X")
        with pytest.raises(MachineError, match="answers what it was not asked"):
            board.read_register("FRAMES")


def test_verilator_slang_and_yosys_have_nothing_to_say(folder: Path, tmp_path: Path) -> None:
    sources = sorted(folder.glob("*.sv"))
    verilator = find_verilator()
    done = subprocess.run(
        [str(verilator.binary), "--lint-only", "-Wall", "--top-module", TOP, *map(str, sources)],
        env={**os.environ, "VERILATOR_ROOT": str(verilator.root)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    options = pyslang.ast.CompilationOptions()
    options.topModules = {TOP}
    compilation = pyslang.ast.Compilation(pyslang.Bag([options]))
    for path in sources:
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(path)))
        shutil.copy(path, tmp_path)
    found = [d for d in compilation.getAllDiagnostics() if d.isError()]
    assert not found, pyslang.DiagnosticEngine.reportAll(compilation.sourceManager, found)
    shutil.copy(folder / "identity.mem", tmp_path)
    names = " ".join(path.name for path in sources)
    script = f"read_verilog -sv -defer {names}\nhierarchy -check -top {TOP}\nproc\ncheck -assert\n"
    run_yosys(script, tmp_path)


FAULTS = {
    "an acknowledgement too early": (
        "uart_bridge",
        "all_taken = ~joined_tvalid & ~m_axis_tvalid",
        "all_taken = 1'b1",
    ),
    "a byte too few": ("uart_bridge", "(bytes_left == 8'd1)", "(bytes_left == 8'd2)"),
    "bytes of a reply in another order": (
        "uart_bridge",
        "{8'd0, message[71:8]}",
        "{8'd0, message[63:8], 8'd0}",
    ),
    "sampled at the edges": ("uart_rx", "DIVIDER / 2 - 1", "DIVIDER - 1"),
    "no stop bit": ("uart_tx", "bits_left <= 4'd10", "bits_left <= 4'd9"),
}


@pytest.mark.nightly
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(folder: Path, tmp_path: Path, fault: str) -> None:
    module, old, new = FAULTS[fault]
    faulty = tmp_path / "faulty"
    shutil.copytree(folder, faulty)
    text = (faulty / f"{module}.sv").read_text()
    assert text.count(old) == 1
    (faulty / f"{module}.sv").write_text(text.replace(old, new))
    with pytest.raises((AssertionError, GateError, MachineError)):
        test_beats_and_registers_there_and_back(faulty, 25, 0.975, 0.0)
