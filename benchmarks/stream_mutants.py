"""Mutants of what moves beats: the ends of the accelerator, FIFO, replay buffer, converters."""

from __future__ import annotations

from .mutants import (
    COMPARE,
    COUNT,
    DROP,
    RESET,
    STUCK,
    SUM,
    SWAP,
    TIMING,
    TWICE,
    Mutant,
    Parameters,
)


def _padded(p: Parameters) -> bool:
    return int(p["VECTOR"]) % int(p["RATIO"]) != 0


STREAM_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        STUCK,
        "output ready stuck high",
        "accelerator",
        "_tready = m_axis_tready;",
        "_tready = 1'b1;",
    ),
    Mutant(
        COUNT, "tlast a frame early", "transfer_end", "(left == 32'd1)", "(left == 32'd2)", times=2
    ),
    Mutant(COUNT, "tlast's beat counter", "transfer_end", "BEATS - 1)", "BEATS - 2)", times=2),
    Mutant(
        COMPARE,
        "tlast on every beat of the last frame",
        "transfer_end",
        "tlast = (32'(beat) == BEATS - 1) &",
        "tlast =",
        lambda p: int(p["BEATS"]) > 1,
    ),
    Mutant(
        STUCK,
        "FIFO always ready",
        "stream_fifo",
        "(write_pointer ^ read_pointer) != (A + 1)'(DEPTH)",
        "1'b1",
    ),
    Mutant(STUCK, "FIFO always valid", "stream_fifo", "write_pointer != read_pointer", "1'b1"),
    Mutant(
        SWAP,
        "FIFO reads the other word",
        "stream_fifo",
        "memory[read_pointer[A-1:0]]",
        "memory[~read_pointer[A-1:0]]",
    ),
    Mutant(
        DROP,
        "FIFO loses a beat written while one is read",
        "stream_fifo",
        "if (push) write_pointer",
        "if (push & ~pop) write_pointer",
    ),
    Mutant(
        TWICE,
        "FIFO gives a beat again when one is written",
        "stream_fifo",
        "if (pop) read_pointer",
        "if (pop & ~push) read_pointer",
    ),
    Mutant(
        RESET, "FIFO's write pointer", "stream_fifo", "write_pointer <= '0;", "write_pointer <= 1;"
    ),
    Mutant(COUNT, "one replay too few", "replay_buffer", "REPEATS - 1", "REPEATS - 2"),
    Mutant(COUNT, "a beat too few in a replay", "replay_buffer", "BEATS - 1;", "BEATS - 2;"),
    Mutant(
        STUCK,
        "replay buffer always ready",
        "replay_buffer",
        "(write_pointer ^ vector_start) != {1'b1, {A{1'b0}}}",
        "1'b1",
    ),
    Mutant(
        COUNT,
        "replay from the second beat",
        "replay_buffer",
        "? vector_start :",
        "? vector_start + 1'b1 :",
    ),
    Mutant(
        TIMING,
        "vector freed before its last replay",
        "replay_buffer",
        "if (last_replay) vector_start",
        "vector_start",
    ),
    Mutant(RESET, "replay counter", "replay_buffer", "replay <= '0;", "replay <= 1;"),
    Mutant(
        SWAP,
        "splitter gives the highest lanes first",
        "lane_splitter",
        "32'(part)*WIDTH",
        "(RATIO - 1 - 32'(part))*WIDTH",
    ),
    Mutant(COUNT, "splitter's part counter", "lane_splitter", "RATIO - 1)", "RATIO - 2)"),
    Mutant(
        COUNT,
        "splitter passes a beat of padding on",
        "lane_splitter",
        "== VECTOR - 1",
        "== VECTOR",
        _padded,
    ),
    Mutant(RESET, "splitter's part", "lane_splitter", "part <= '0;", "part <= 1;"),
    Mutant(
        DROP,
        "splitter takes a beat after its first part",
        "lane_splitter",
        "m_axis_tready & end_of_beat",
        "m_axis_tready",
    ),
    Mutant(
        TWICE,
        "splitter repeats a part",
        "lane_splitter",
        "end_of_beat ? '0 : part + 1'b1",
        "end_of_beat ? '0 : part + 1'b1 - (32'(part) == 1 && s_axis_tdata[0])",
    ),
    Mutant(
        SWAP,
        "joiner puts the first beat highest",
        "lane_joiner",
        "{padding ? {WIDTH{1'b0}} : s_axis_tdata, gathered[RATIO*WIDTH-1:WIDTH]}",
        "{gathered[(RATIO-1)*WIDTH-1:0], padding ? {WIDTH{1'b0}} : s_axis_tdata}",
    ),
    Mutant(SUM, "joiner pads with ones", "lane_joiner", "{WIDTH{1'b0}}", "{WIDTH{1'b1}}", _padded),
    Mutant(
        COUNT, "joiner pads a beat early", "lane_joiner", "== VECTOR;", "== VECTOR - 1;", _padded
    ),
    Mutant(COUNT, "joiner's part counter", "lane_joiner", "RATIO - 1;", "RATIO - 2;"),
    Mutant(
        STUCK, "joiner never waits", "lane_joiner", "room = ~full | m_axis_tready", "room = 1'b1"
    ),
    Mutant(RESET, "joiner's part", "lane_joiner", "part <= '0;", "part <= 1;"),
)
