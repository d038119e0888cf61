"""Mutants of what branches and joins streams: forks, sums, concatenation, FIFOs, top k."""

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


def _positive(multiplier: int | str) -> bool:
    return int(multiplier) > 0


def _has_kind(p: Parameters, kind: int) -> bool:
    """Whether a summand is unsigned (0), two's complement (1) or bipolar (2)."""
    return kind in (p["A_KIND"], p["B_KIND"])


BRANCH_MUTANTS: tuple[Mutant, ...] = (
    # stream_fork
    Mutant(
        TWICE,
        "beat given again to the sink that has it",
        "stream_fork",
        "s_axis_tvalid & ~done0",
        "s_axis_tvalid",
    ),
    Mutant(
        TWICE,
        "second sink's beat is forgotten",
        "stream_fork",
        "done1 <= has1 & ~has0",
        "done1 <= 1'b0",
    ),
    Mutant(
        DROP, "fork goes on when the first sink has the beat", "stream_fork", "has0 & has1", "has0"
    ),
    Mutant(
        DROP,
        "next beat kept from the first sink",
        "stream_fork",
        "done0 <= has0 & ~has1",
        "done0 <= has0",
    ),
    # stream_add
    Mutant(
        SUM,
        "OR for the sum",
        "stream_add",
        ": a + b;",
        ": a | b;",
        lambda p: _positive(p["MULTIPLIER_A"]) and _positive(p["MULTIPLIER_B"]),
    ),
    Mutant(
        SUM,
        "sum for the difference",
        "stream_add",
        "- b : a - b;",
        "- b : a + b;",
        lambda p: _positive(p["MULTIPLIER_A"]) and not _positive(p["MULTIPLIER_B"]),
    ),
    Mutant(
        SUM,
        "difference the wrong way round",
        "stream_add",
        "? b - a :",
        "? a - b :",
        lambda p: not _positive(p["MULTIPLIER_A"]) and _positive(p["MULTIPLIER_B"]),
    ),
    Mutant(
        SUM,
        "second summand once too often",
        "stream_add",
        ".MULTIPLIER(MAGNITUDE_B)",
        ".MULTIPLIER(MAGNITUDE_B + 1)",
    ),
    Mutant(
        SWAP,
        "lanes of the second summand swapped",
        "stream_add",
        "s1_axis_tdata[i*B_BITS",
        "s1_axis_tdata[(LANES-1-i)*B_BITS",
        lambda p: int(p["LANES"]) > 1,
    ),
    Mutant(
        DROP,
        "first summand taken without the second",
        "stream_add",
        "s0_axis_tready = s1_axis_tvalid & room",
        "s0_axis_tready = room",
    ),
    Mutant(STUCK, "sum never waits", "stream_add", "~valid | m_axis_tready", "1'b1"),
    # scaled
    Mutant(
        SUM, "bipolar summand negated", "scaled", "x[0] ?", "~x[0] ?", lambda p: _has_kind(p, 2)
    ),
    Mutant(
        SUM,
        "signed summand taken as unsigned",
        "scaled",
        "OUT_BITS'($signed(x))",
        "OUT_BITS'(x)",
        lambda p: _has_kind(p, 1),
    ),
    Mutant(
        SUM,
        "unsigned summand taken as signed",
        "scaled",
        "* OUT_BITS'(x)",
        "* OUT_BITS'($signed(x))",
        lambda p: _has_kind(p, 0),
    ),
    # stream_concat
    Mutant(
        SWAP,
        "parts swapped",
        "stream_concat",
        "second ? s1_axis_tdata : s0_axis_tdata",
        "second ? s0_axis_tdata : s1_axis_tdata",
    ),
    Mutant(
        COUNT, "a beat of the first part too few", "stream_concat", "A_BEATS - 1);", "A_BEATS - 2);"
    ),
    Mutant(
        COUNT,
        "a beat of the second part too few",
        "stream_concat",
        "B_BEATS - 1 :",
        "B_BEATS - 2 :",
    ),
    Mutant(RESET, "whose turn it is", "stream_concat", "second <= 1'b0;", "second <= 1'b1;"),
    Mutant(
        DROP,
        "second part taken before its turn",
        "stream_concat",
        "s1_axis_tready = second & m_axis_tready",
        "s1_axis_tready = m_axis_tready",
    ),
    # top_k
    Mutant(
        COMPARE,
        ">= for >, signed",
        "top_k",
        "$signed(s_axis_tdata) > $signed(score)",
        "$signed(s_axis_tdata) >= $signed(score)",
        lambda p: p["SCORE_SIGNED"] == 1,
    ),
    Mutant(
        COMPARE,
        "< for >, signed",
        "top_k",
        "$signed(s_axis_tdata) > $signed(score)",
        "$signed(s_axis_tdata) < $signed(score)",
        lambda p: p["SCORE_SIGNED"] == 1,
    ),
    Mutant(
        COMPARE,
        "< for >, unsigned",
        "top_k",
        ": s_axis_tdata > score",
        ": s_axis_tdata < score",
        lambda p: p["SCORE_SIGNED"] == 0,
    ),
    Mutant(
        COUNT, "a score of a vector too few", "top_k", "32'(index) == N - 1", "32'(index) == N - 2"
    ),
    Mutant(
        TIMING,
        "cells of the vector before",
        "top_k",
        "last ? '0 : (filled << 1) | K'(1)",
        "(filled << 1) | K'(1)",
    ),
    Mutant(
        TWICE,
        "greatest index again",
        "top_k",
        "leaving >> INDEX_BITS",
        "leaving",
        lambda p: int(p["K"]) > 1,
    ),
    Mutant(STUCK, "top k never waits", "top_k", "~(last & more_left)", "1'b1"),
    Mutant(RESET, "index of the first score", "top_k", "index <= '0;", "index <= 1;"),
    # deep_fifo
    Mutant(
        COUNT,
        "a word of the write address too few",
        "deep_fifo",
        "32'(write_address) == WORDS - 1",
        "32'(write_address) == WORDS - 2",
    ),
    Mutant(
        COUNT, "beat that comes while one leaves counted", "deep_fifo", "push != pop", "push | pop"
    ),
    Mutant(
        DROP,
        "beat lost that comes while one leaves",
        "deep_fifo",
        "if (push) write_address",
        "if (push & ~pop) write_address",
    ),
    Mutant(
        STUCK,
        "deep FIFO always ready",
        "deep_fifo",
        "s_axis_tready = 32'(stored) != WORDS",
        "s_axis_tready = 1'b1",
    ),
    Mutant(
        STUCK,
        "deep FIFO always valid",
        "deep_fifo",
        "m_axis_tvalid = stored != '0",
        "m_axis_tvalid = 1'b1",
        lambda p: p["BLOCK_MEMORY"] == 0,
    ),
    Mutant(
        STUCK,
        "valid falls while the head waits",
        "deep_fifo",
        "pop | (head_valid & ~m_axis_tready)",
        "pop",
        lambda p: p["BLOCK_MEMORY"] == 1,
    ),
    Mutant(
        RESET,
        "read address of the deep FIFO",
        "deep_fifo",
        "read_address <= '0;",
        "read_address <= 1;",
    ),
)
