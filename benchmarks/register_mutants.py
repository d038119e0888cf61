"""Mutants of the registers and of the counters behind them."""

from __future__ import annotations

from .mutants import COMPARE, COUNT, RESET, STUCK, SWAP, TIMING, Mutant

REGISTER_MUTANTS: tuple[Mutant, ...] = (
    # axi_lite_registers
    Mutant(
        COMPARE,
        "FRAMES at another address",
        "axi_lite_registers",
        "to_frames <= s_axi_lite_awaddr[11:2] == 10'h06",
        "to_frames <= s_axi_lite_awaddr[11:2] == 10'h07",
    ),
    Mutant(
        COMPARE,
        "counters cleared by a zero",
        "axi_lite_registers",
        "strobes[0] & data[0]",
        "strobes[0] & ~data[0]",
    ),
    Mutant(
        SWAP,
        "bytes of FRAMES swapped",
        "axi_lite_registers",
        "<= data[i*8+:8]",
        "<= data[(3-i)*8+:8]",
    ),
    Mutant(
        SWAP,
        "LATENCY and INTERVAL swapped",
        "axi_lite_registers",
        "10'h0c: found = latency;\n      10'h0d: found = interval;",
        "10'h0c: found = interval;\n      10'h0d: found = latency;",
    ),
    Mutant(
        TIMING,
        "data of the write before",
        "axi_lite_registers",
        "if (~data_held) begin",
        "if (data_held) begin",
    ),
    # saturating_counter
    Mutant(
        COMPARE,
        "counts the other cycles",
        "saturating_counter",
        "{32'b0, count}",
        "{32'b0, ~count}",
    ),
    Mutant(
        RESET,
        "value of a cleared counter",
        "saturating_counter",
        "value <= FIRST",
        "value <= FIRST + 1",
    ),
    # transfer_counters
    Mutant(
        COUNT,
        "a beat of a frame too few",
        "transfer_counters",
        "OUTPUT_BEATS - 1)",
        "OUTPUT_BEATS - 2)",
    ),
    Mutant(
        TIMING,
        "latency of the last frame",
        "transfer_counters",
        "if (end_of_frame & ~later_frame) latency",
        "if (end_of_frame) latency",
    ),
    Mutant(
        TIMING,
        "interval since the beginning",
        "transfer_counters",
        "interval <= span",
        "interval <= cycles",
    ),
    Mutant(
        COMPARE,
        "beats of the input for its stalls",
        "transfer_counters",
        ".count(s_axis_tvalid & ~s_axis_tready)",
        ".count(s_axis_tvalid & s_axis_tready)",
    ),
    Mutant(
        COMPARE,
        "beats of the output for its stalls",
        "transfer_counters",
        ".count(m_axis_tvalid & ~m_axis_tready)",
        ".count(m_axis_tvalid & m_axis_tready)",
    ),
    Mutant(
        STUCK,
        "transfer under way for ever",
        "transfer_counters",
        "under_way & ~end_of_transfer",
        "under_way",
    ),
    Mutant(
        STUCK,
        "later frames of every transfer",
        "transfer_counters",
        "(later_frame | end_of_frame) & ~end_of_transfer",
        "later_frame | end_of_frame",
    ),
    Mutant(RESET, "beat of a frame", "transfer_counters", "beat <= '0;", "beat <= 1;"),
)
