"""The bench itself: what it drives, what it reports, and the faults that it must see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rtl_bench import BenchError, Case, Sink, Source, run_cases, to_ints, to_words

WIRE = """
module wire_of #(parameter integer OFFSET = 0, parameter ROM = "r.mem") (
    input  wire       clk,
    input  wire       resetn,
    input  wire [7:0] more,
    input  wire [7:0] s_axis_tdata,
    input  wire       s_axis_tvalid,
    output wire       s_axis_tready,
    output wire [7:0] m_axis_tdata,
    output wire       m_axis_tvalid,
    input  wire       m_axis_tready
);
  reg blink;
  reg [7:0] rom[0:0];
  initial $readmemh(ROM, rom);
  always_ff @(posedge clk) blink <= resetn & ~blink;
  assign m_axis_tdata = (s_axis_tdata + OFFSET + more) ^ rom[0];
  assign m_axis_tvalid = s_axis_tvalid;
  assign s_axis_tready = m_axis_tready;
endmodule
"""
"""Passes each beat on in the same cycle, changed by a parameter, a constant and a memory."""

FAULTS = {
    "dropped tvalid": ("tvalid = s_axis_tvalid", "tvalid = s_axis_tvalid & ~blink"),
    "changed tdata": ("rom[0];", "rom[0] ^ {7'b0, blink};"),
    "depends on tready": ("tvalid = s_axis_tvalid", "tvalid = s_axis_tvalid & m_axis_tready"),
    "is stuck": ("tvalid = s_axis_tvalid", "tvalid = 1'b0"),
    "a beat too many": ("tready = m_axis_tready", "tready = m_axis_tready & blink"),
}


def wire_of(name: str, offset: int, more: int, rom: int) -> Case:
    return Case(
        name,
        "wire_of",
        {"OFFSET": offset, "ROM": "r.mem"},
        [Source("s_axis", 8, list(range(60)))],
        [Sink("m_axis", 8, 60)],
        {"r.mem": f"{rom:x}\n"},
        {"more": (8, more)},
    )


def fifo(name: str, width: int, depth: int, n: int) -> Case:
    rng = np.random.default_rng(width)
    beats = [int.from_bytes(rng.bytes(40), "little") % (1 << width) for _ in range(n)]
    parameters = {"WIDTH": width, "DEPTH": depth}
    source, sink = Source("s_axis", width, beats), Sink("m_axis", width, n)
    return Case(name, "stream_fifo", parameters, [source], [sink])


FIFOS = [fifo(f"fifo of {w} bits", w, d, 50 + w) for w, d in ((1, 2), (32, 4), (33, 2), (200, 8))]


@pytest.mark.parametrize("stalls", [0.0, 0.3, 0.5])
def test_fifos_of_all_widths_pass_their_beats(stalls: float) -> None:
    for case, result in zip(FIFOS, run_cases(FIFOS, stalls, seed=1), strict=True):
        assert to_ints(result.beats["m_axis"]) == case.sources[0].beats
        taken, left = result.cycles["s_axis"], result.cycles["m_axis"]
        assert (left > taken).all()
        if not stalls:
            assert np.array_equal(taken, np.arange(len(taken)))
            assert np.array_equal(left, np.arange(len(taken)) + 1)


def test_stalls_repeat_by_their_seed_whatever_runs_beside() -> None:
    alone, beside = run_cases(FIFOS[:1], 0.5, 3)[0], run_cases(FIFOS, 0.5, 3)[0]
    assert np.array_equal(alone.cycles["m_axis"], beside.cycles["m_axis"])
    other = run_cases(FIFOS, 0.5, 4)[0]
    assert not np.array_equal(other.cycles["m_axis"], beside.cycles["m_axis"])


def test_a_reset_begins_anew() -> None:
    for case, result in zip(FIFOS, run_cases(FIFOS, 0.4, 1, reset_after=30), strict=True):
        assert to_ints(result.beats["m_axis"]) == case.sources[0].beats


def test_a_case_that_is_over_before_the_reset_is_no_test_of_it() -> None:
    with pytest.raises(BenchError, match=r"fifo of 1 bits.*was over before the reset"):
        run_cases(FIFOS, 0.0, 1, reset_after=100)


def test_parameters_constants_and_memories_are_each_case_s_own(tmp_path: Path) -> None:
    (tmp_path / "wire_of.sv").write_text(WIRE)
    settings = [(1, 2, 64), (4, 8, 128)]
    cases = [wire_of(f"wire {rom}", offset, more, rom) for offset, more, rom in settings]
    results = run_cases(cases, 0.2, 1, rtl=tmp_path)
    for (offset, more, rom), result in zip(settings, results, strict=True):
        assert to_ints(result.beats["m_axis"]) == [(i + offset + more) ^ rom for i in range(60)]


def test_words_and_integers() -> None:
    assert to_ints(to_words([-1, 5, 1 << 34], 35)) == [(1 << 35) - 1, 5, 1 << 34]


@pytest.mark.parametrize("message", FAULTS)
def test_a_broken_rule_is_named(message: str, tmp_path: Path) -> None:
    old, new = FAULTS[message]
    assert WIRE.count(old) == 1
    (tmp_path / "wire_of.sv").write_text(WIRE.replace(old, new))
    with pytest.raises(BenchError, match=rf"a wire \(wire_of\): \w+ .*{message}"):
        run_cases([wire_of("a wire", 1, 2, 3)], 0.3, 1, rtl=tmp_path)
