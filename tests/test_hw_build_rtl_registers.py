"""The registers on AXI4-Lite: every access in any order, and counters against recorded cycles."""

from __future__ import annotations

import contextlib
import ctypes
import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rtl_bench import sources_of

from deploy.run_directory import sha256_of
from deploy.store import Store
from hw_build import verilator
from hw_build.emit import RTL_FOLDER

BEATS = 3  # of a frame at the output
IDENTITY = (0x01234567, 0x89ABCDEF, 0xFEDCBA98, 0x76543210)
PREFIX = "s_axi_lite_"
INPUTS = (
    *(PREFIX + n for n in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready")),
    *(PREFIX + n for n in ("araddr", "arvalid", "rready")),
    *("s_axis_tvalid", "s_axis_tready", "m_axis_tvalid", "m_axis_tready", "m_axis_tlast"),
)
WIDTHS = {"awaddr": 12, "araddr": 12, "wdata": 32, "wstrb": 4}
OUTPUTS = (
    *(PREFIX + n for n in ("awready", "wready", "bvalid", "bresp", "arready")),
    *(PREFIX + n for n in ("rvalid", "rdata", "rresp")),
    *("frames", "near_the_end"),
    *("n_words", "word_low", "word_high", "word_at"),
)
READ_ONLY = {
    0x00: 0x4E475747,
    0x04: 2,
    **{0x08 + 4 * i: IDENTITY[i] for i in range(4)},
}
FRAMES, CONTROL = 0x18, 0x1C
COUNTERS = (0x20, 0x24, 0x28, 0x2C, 0x30, 0x34)
UNKNOWN = (0x38, 0x3C, 0x40, 0x44, 0x60, 0x98, 0x120, 0x418, 0x81C, 0xFFC)


def top_text(writable: int) -> str:
    """The registers, a counter three steps from its end, and a writer of memories 3 and 4, of which
    the last word and where it went are kept: one model."""

    def port(direction: str, name: str) -> str:
        width = WIDTHS.get(name.removeprefix(PREFIX), 32 if name in WIDE_OUTPUTS else 1)
        width = 2 if name.endswith("resp") else width
        return f"  {direction} wire [{width - 1}:0] {name}"

    ports = ["  input wire clk", "  input wire resetn"]
    ports += [port("input", name) for name in INPUTS] + [port("output", name) for name in OUTPUTS]
    own = OUTPUTS[: OUTPUTS.index("near_the_end")]
    pins = ", ".join(f".{n}({n})" for n in ("clk", "resetn", *INPUTS, *own, "memory_bus"))
    pins += f", .{PREFIX}awprot(3'b0), .{PREFIX}arprot(3'b0)"
    lines = ",\n".join(ports)
    return (
        f"module top (\n{lines}\n);\nwire [49:0] memory_bus;\n"
        f'axi_lite_registers #(.IDENTITY_FILE("identity.mem"), .OUTPUT_BEATS({BEATS}), '
        f".WRITABLE({writable})) r ({pins});\n{WRITER}"
        "saturating_counter #(.FIRST(32'hffff_fffc)) c (.clk(clk), .clear(~resetn), "
        ".count(m_axis_tvalid), .value(near_the_end));\nendmodule\n"
    )


WIDE_OUTPUTS = (PREFIX + "rdata", *OUTPUTS[OUTPUTS.index("frames") :])

WRITER = """
wire [63:0] word;
wire [31:0] address;
wire [1:0] write;
memory_writer #(.FIRST(3), .MEMORIES(2), .LANES(2)) writer (
    .clk(clk), .bus(memory_bus), .word(word), .write(write), .address(address));
reg [31:0] n, low, high, at;
assign {n_words, word_low, word_high, word_at} = {n, low, high, at};
always_ff @(posedge clk)
  if (!resetn) {n, low, high, at} <= '0;
  else if (|write) {n, high, low, at} <= {n + 1, word, write, address[29:0]};
"""

HARNESS = """
#include "Vtop.h"
#include "verilated.h"
extern "C" {
struct Model { VerilatedContext context; Vtop top{&context}; };
Model* model_open() { return new Model; }
void model_close(Model* m) { delete m; }
void model_eval(Model* m, const unsigned* in, unsigned* out) { SET m->top.eval(); GET }
void model_clock(Model* m) { m->top.clk = 1; m->top.eval(); m->top.clk = 0; m->top.eval(); }
}
"""


def build(folder: Path, rtl: Path = RTL_FOLDER, writable: int = 0) -> ctypes.CDLL:
    sources, top = sources_of(["axi_lite_registers", "memory_writer"], rtl), top_text(writable)
    names = ("resetn", *INPUTS)
    harness = HARNESS.replace(
        "SET", " ".join(f"m->top.{n} = in[{i}];" for i, n in enumerate(names))
    )
    harness = harness.replace(
        "GET", " ".join(f"out[{i}] = m->top.{n};" for i, n in enumerate(OUTPUTS))
    )
    tool, compiler, store = verilator.find_verilator(), verilator.find_compiler(), Store()
    key = {
        "sources": {path.name: sha256_of(path) for path in sources},
        "text": [top, harness, *map(str, IDENTITY)],
        "tools": verilator.tool_versions(),
        "processor": verilator._processor(),
    }
    runtime = verilator._runtime(tool, compiler, store, False)

    def make(entry: Path) -> None:
        (folder / "top.sv").write_text(top)
        (folder / "harness.cpp").write_text(harness)
        (entry / "identity.mem").write_text("".join(f"{word:08x}\n" for word in IDENTITY))
        model, include = folder / "model", tool.root / "include"
        flags = ["--cc", "-O3", "--x-initial", "unique", "-Wno-fatal", "--top-module", "top"]
        command = [str(tool.binary), *flags, "--Mdir", str(model), *map(str, sources)]
        verilator._run([*command, str(folder / "top.sv")], env={"VERILATOR_ROOT": str(tool.root)})
        parts = [*sorted(model.glob("*.cpp")), folder / "harness.cpp"]
        (folder / "whole.cpp").write_text("".join(f'#include "{part}"\n' for part in parts))
        includes = [f"-I{path}" for path in (model, include, include / "vltstd")]
        command = [compiler, "-shared", *verilator.CXX_FLAGS, "-O1", "-DVM_TRACE=0", *includes]
        command += [str(folder / "whole.cpp"), *map(str, runtime), "-pthread"]
        verilator._run([*command, "-o", str(entry / "registers.so")])

    return ctypes.CDLL(str(store.get_or_make("registers", key, make) / "registers.so"))


@dataclass
class Ports:
    """The accelerator's handshakes, cycle by cycle, as they were since the last clear."""

    cycle: int = 0
    beats_left: int = 0  # of the transfer
    taken: list[int] = field(default_factory=list)
    left: list[tuple[int, bool]] = field(default_factory=list)  # cycle, and whether tlast was up
    stalls: list[int] = field(default_factory=lambda: [0, 0])

    def counters(self) -> list[int]:
        """CYCLES, FRAMES_DONE, two stalls, LATENCY, INTERVAL: from the records, by definition.

        Whole transfers since the clear, and perhaps one under way.
        """
        cycles, latency, interval, ended = 0, 0, 0, -1
        left = list(self.left)
        while starts := [t for t in self.taken if t > ended]:
            start = starts[0]
            last = next((i for i, (_, tlast) in enumerate(left) if tlast), None)
            transfer = left[: len(left) if last is None else last + 1]
            left = left[len(transfer) :]
            ends = [t for t, _ in transfer][BEATS - 1 :: BEATS]
            ended = self.cycle - 1 if last is None else transfer[-1][0]
            cycles += ended - start + 1
            if ends:
                latency = ends[0] - start + 1
                interval = ends[-1] - ends[-2] if len(ends) > 1 else 0
        return [cycles, len(self.left) // BEATS, *self.stalls, latency, interval]


class Board:
    """The model with random handshakes at its ports, and a bus that keeps to the rules."""

    def __init__(self, library: ctypes.CDLL, seed: int) -> None:
        self.library, self.rng, self.ports = library, np.random.default_rng(seed), Ports()
        library.model_open.restype = ctypes.c_void_p
        with contextlib.chdir(Path(library._name).parent):  # where identity.mem lies
            self.handle = ctypes.c_void_p(library.model_open())
            self.given = dict.fromkeys(INPUTS, 0)
            self.out: dict[str, int] = {}
            self.traffic = 0.0  # the share of cycles in which a signal of the ports is up
            for _ in range(3):
                self.evaluate(resetn=0)
                library.model_clock(self.handle)

    def evaluate(self, resetn: int = 1) -> None:
        inputs = (ctypes.c_uint32 * (len(INPUTS) + 1))(resetn, *self.given.values())
        outputs = (ctypes.c_uint32 * len(OUTPUTS))()
        self.library.model_eval(self.handle, inputs, outputs)
        self.out = dict(zip(OUTPUTS, outputs, strict=True))

    def step(self, **bus: int) -> dict[str, int]:
        """One cycle with the given signals of the bus; returns the outputs before its end."""
        up = (self.rng.random(4) < self.traffic).astype(int).tolist()
        ports = self.ports
        up[2] &= bool(ports.taken) and ports.beats_left > 0
        last = int(ports.beats_left == 1)
        names = INPUTS[-5:]
        most = {n: 1 << WIDTHS.get(n.removeprefix(PREFIX), 1) for n in INPUTS}
        self.given = {n: int(self.rng.integers(most[n])) for n in INPUTS}
        self.evaluate()
        before = self.out
        quiet = {PREFIX + n: 0 for n in ("awvalid", "wvalid", "bready", "arvalid", "rready")}
        self.given |= quiet | {PREFIX + name: value for name, value in bus.items()}
        self.given |= dict(zip(names, (*up, last), strict=True))
        self.evaluate()
        assert self.out == before, "an output depends on an input in the same cycle"
        assert self.out[PREFIX + "bresp"] == self.out[PREFIX + "rresp"] == 0
        if up[0] and up[1]:
            ports.taken.append(ports.cycle)
        if up[2] and up[3]:
            ports.left.append((ports.cycle, bool(last)))
            ports.beats_left -= 1
        ports.stalls[0] += up[0] and not up[1]
        ports.stalls[1] += up[2] and not up[3]
        ports.cycle += 1
        self.library.model_clock(self.handle)
        return {name.removeprefix(PREFIX): value for name, value in before.items()}

    def write(
        self, address: int, data: int, strobes: int = 15, gap: int = 0, wait: int = 0
    ) -> None:
        """Address `gap` cycles before the data, or after them if negative; the response is taken
        `wait` cycles after it came."""
        delays = {"aw": max(0, -gap), "w": max(0, gap)}
        cycle = 0
        while delays:
            offered = {channel for channel, delay in delays.items() if cycle >= delay}
            valids = {channel + "valid": int(channel in offered) for channel in ("aw", "w")}
            out = self.step(awaddr=address, wdata=data, wstrb=strobes, **valids)
            assert not out["bvalid"]
            for channel in offered:
                if out[channel + "ready"]:
                    del delays[channel]
            cycle += 1
            assert cycle < 20
        while not self.step()["bvalid"]:
            cycle += 1
            assert cycle < 20
        for _ in range(wait):
            assert self.step()["bvalid"]
        assert self.step(bready=1)["bvalid"]
        assert not self.step()["bvalid"]

    def read(self, address: int, wait: int = 0) -> int:
        while not self.step(arvalid=1, araddr=address)["arready"]:
            pass
        found = self.step()
        assert found["rvalid"]
        for _ in range(wait):
            again = self.step(arvalid=1, araddr=address ^ 4)  # no second one before the first left
            assert again["rvalid"]
            assert not again["arready"]
            assert again["rdata"] == found["rdata"]
        assert self.step(rready=1)["rdata"] == found["rdata"]
        assert not self.step()["rvalid"]
        return found["rdata"]

    def transfer(self, frames: int, traffic: float) -> None:
        """Random handshakes until its last beat has left; none leaves before the first is taken."""
        self.traffic, n_taken = traffic, len(self.ports.taken)
        while len(self.ports.taken) == n_taken:
            self.step()
        self.ports.beats_left = frames * BEATS
        while self.ports.beats_left:
            self.step()
        self.traffic = 0.0

    def clear(self) -> None:
        """The counters count again from the cycle after the write."""
        self.write(CONTROL, 1)
        self.ports = Ports()

    def counters(self) -> list[int]:
        return [self.read(address) for address in COUNTERS]

    def close(self) -> None:
        self.library.model_close(self.handle)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("registers"))


@pytest.fixture
def board(library: ctypes.CDLL):
    made = Board(library, seed=1)
    yield made
    made.close()


def test_what_the_map_says(board: Board) -> None:
    assert {address: board.read(address) for address in READ_ONLY} == READ_ONLY
    assert board.read(FRAMES) == board.out["frames"] == 0
    assert [board.read(a, wait=2) for a in (CONTROL, *COUNTERS, *UNKNOWN)] == [0] * 17


@pytest.mark.parametrize("gap", [-3, -1, 0, 1, 3])
@pytest.mark.parametrize("wait", [0, 2])
def test_writes_in_every_order(board: Board, gap: int, wait: int) -> None:
    for data in (0xDEADBEEF, 7):
        board.write(FRAMES, data, gap=gap, wait=wait)
        assert board.read(FRAMES) == board.out["frames"] == data


def test_strobes_choose_bytes(board: Board) -> None:
    value = 0
    for strobes in range(16):
        data = 0x11223344 * (strobes % 3 + 1)
        mask = sum(0xFF << 8 * i for i in range(4) if strobes >> i & 1)
        value = (value & ~mask) | (data & mask)
        board.write(FRAMES, data, strobes)
        assert board.read(FRAMES) == value


def test_other_addresses_are_answered_and_hold_nothing(board: Board) -> None:
    board.write(FRAMES, 77)
    for address in (*READ_ONLY, *COUNTERS, *UNKNOWN):
        board.write(address, 0xFFFFFFFF)
    assert {address: board.read(address) for address in READ_ONLY} == READ_ONLY
    assert board.counters() == [0] * 6
    assert board.read(FRAMES) == 77


WEIGHTS, MEMORY, DATA, WORD = 0x38, 0x3C, 0x40, 0x44


def words_of(board: Board) -> tuple[int, ...]:
    board.step()
    return tuple(board.out[name] for name in ("n_words", "word_low", "word_high", "word_at"))


@pytest.fixture(scope="module")
def writable_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("writable"), writable=1)


def test_words_are_written_whole(writable_library: ctypes.CDLL) -> None:
    board, n = Board(writable_library, seed=2), 0
    for gap in (-3, -1, 0, 1, 3):
        for wait in (0, 2):
            memory, n = 3 + n % 2, n + 1
            for register, value in ((MEMORY, memory), (DATA, 17 * n), (DATA, ~n & 0xFFFFFFFF)):
                board.write(register, value, gap=gap, wait=wait)
            for register in (MEMORY, DATA, WORD, WEIGHTS):  # a part of a word is none
                board.write(register, 0x01020304, strobes=7)
            board.write(WORD, 1000 + n, gap=gap, wait=wait)
            where = (1 << memory - 3 << 30) | 1000 + n
            assert words_of(board) == (n, 17 * n, ~n & 0xFFFFFFFF, where)
    for other in (0, 2, 5, 0xFFFF):
        board.write(MEMORY, other)
        board.write(WORD, 1)
    assert words_of(board)[0] == n
    board.close()


def test_weights_read_what_was_written_until_reset(writable_library: ctypes.CDLL) -> None:
    board = Board(writable_library, seed=3)
    board.write(WEIGHTS, 0xC0FFEE11)
    board.write(WEIGHTS, 0, strobes=14)
    assert [board.read(a) for a in (WEIGHTS, MEMORY, DATA, WORD)] == [0xC0FFEE11, 0, 0, 0]
    board.evaluate(resetn=0)
    writable_library.model_clock(board.handle)
    assert board.read(WEIGHTS) == 0
    board.close()


def test_fixed_weights_are_not_written(board: Board) -> None:
    for register, value in ((MEMORY, 3), (DATA, 1), (DATA, 2), (WORD, 0)):
        board.write(register, value)
    assert words_of(board)[0] == 0


@pytest.mark.parametrize("traffic", [1.0, 0.7, 0.3])
def test_counters_of_transfers(board: Board, traffic: float) -> None:
    seen = []
    for frames in (1, 4, 1, 2):
        board.transfer(frames, traffic)
        seen.append(board.counters())
        assert seen[-1] == board.ports.counters()
    assert all(a[0] < b[0] for a, b in pairwise(seen))
    board.write(CONTROL, 2)
    board.write(CONTROL, 1, strobes=14)
    assert board.counters() == seen[-1]
    board.clear()
    assert board.counters() == [0] * 6
    board.transfer(3, traffic)
    assert board.counters() == board.ports.counters()


def test_cycles_count_on_in_a_transfer_under_way(board: Board) -> None:
    board.ports.beats_left, board.traffic = 4 * BEATS, 0.5
    while board.ports.beats_left > 2:
        board.step()
    board.traffic = 0.0
    first = board.read(0x20)
    assert board.read(0x20) == first + 4, "a read takes four cycles here"
    assert board.read(0x24) == 3


def test_counters_stay_at_their_end(board: Board) -> None:
    seen = [board.out["near_the_end"]]
    board.ports.taken, board.ports.beats_left, board.traffic = [0], 100, 1.0
    for _ in range(6):
        board.step()
        seen.append(board.out["near_the_end"])
    assert [value - (1 << 32) for value in seen] == [-4, -4, -3, -2, -1, -1, -1]


FAULTS = {
    "transfer_counters": (
        "running <= under_way & ~end_of_transfer",
        "running <= under_way",
        lambda board: test_counters_of_transfers(board, 0.7),
    ),
    "axi_lite_registers": (
        "strobes[i]) frames_now",
        "strobes[0]) frames_now",
        test_strobes_choose_bytes,
    ),
    "saturating_counter": ("if (~next[32])", "if (1'b1)", test_counters_stay_at_their_end),
}


@pytest.mark.nightly
@pytest.mark.parametrize("module", FAULTS)
def test_a_planted_fault_is_caught(module: str, tmp_path: Path) -> None:
    old, new, caught_by = FAULTS[module]
    rtl = tmp_path / "rtl"
    shutil.copytree(RTL_FOLDER, rtl)
    text = (rtl / f"{module}.sv").read_text()
    assert text.count(old) == 1
    (rtl / f"{module}.sv").write_text(text.replace(old, new))
    faulty = Board(build(tmp_path, rtl), seed=1)
    with pytest.raises(AssertionError):
        caught_by(faulty)
