"""Mutants of what works on images: windows, their memory, padding, upsampling, pools."""

from __future__ import annotations

from .mutants import COMPARE, COUNT, DROP, RESET, STUCK, SUM, SWAP, TIMING, TWICE, Mutant

IMAGE_MUTANTS: tuple[Mutant, ...] = (
    # window
    Mutant(
        COUNT,
        "innermost loop of a window",
        "window",
        "32'(loop0) == N0 - 1",
        "32'(loop0) == N0 - 2",
    ),
    Mutant(
        COUNT, "middle loop of a window", "window", "32'(loop1) == N1 - 1", "32'(loop1) == N1 - 2"
    ),
    Mutant(
        COUNT,
        "outermost loop of a window",
        "window",
        "32'(loop2) == N2 - 1",
        "32'(loop2) == N2 - 2",
    ),
    Mutant(
        COUNT, "a window too few in a row", "window", "32'(x) == OUT_W - 1", "32'(x) == OUT_W - 2"
    ),
    Mutant(
        COUNT, "a row of windows too few", "window", "32'(y) == OUT_H - 1", "32'(y) == OUT_H - 2"
    ),
    Mutant(
        COUNT,
        "next window a word further",
        "window",
        ": place(RIGHT - LAST));",
        ": place(RIGHT - LAST + 1));",
    ),
    Mutant(
        COUNT,
        "next row of windows a word further",
        "window",
        ": place(DOWN - LAST))",
        ": place(DOWN - LAST + 1))",
        lambda p: int(p["HEIGHT"]) > int(p["KERNEL_H"]),
    ),
    Mutant(
        COUNT,
        "words behind a window counted wrong",
        "window",
        ": DOWN - LAST) : RIGHT - LAST);",
        ": DOWN - LAST) : RIGHT - LAST - 1);",
    ),
    Mutant(COUNT, "a word freed too early", "window", ": DOWN) : RIGHT);", ": DOWN) : RIGHT + 1);"),
    Mutant(TIMING, "word read before it is there", "window", "ahead <= '1;", "ahead <= '0;"),
    Mutant(STUCK, "window never waits", "window", "(~valid | m_axis_tready);", "1'b1;"),
    Mutant(
        STUCK, "valid falls while a word waits", "window", "read | (valid & ~m_axis_tready)", "read"
    ),
    Mutant(
        STUCK,
        "window always ready",
        "window",
        "s_axis_tready = ~room[COUNT_BITS-1]",
        "s_axis_tready = 1'b1",
    ),
    Mutant(RESET, "column of windows", "window", "x <= '0;\n      y", "x <= '1;\n      y"),
    # ring_memory
    Mutant(
        SWAP,
        "words swapped in pairs",
        "ring_memory",
        "last_word <= memory[read_place];",
        "last_word <= memory[read_place ^ 1];",
        times=2,
    ),
    Mutant(
        DROP,
        "word lost that comes while one is read",
        "ring_memory",
        "if (write) write_place",
        "if (write & ~read) write_place",
    ),
    Mutant(
        TWICE,
        "read place stays while a word comes",
        "ring_memory",
        "if (read) read_place",
        "if (read & ~write) read_place",
    ),
    Mutant(RESET, "read place", "ring_memory", "read_place <= '0;", "read_place <= 1;"),
    Mutant(
        COUNT,
        "a step too far, modulo a power of two",
        "ring_memory",
        "= read_place + advance;",
        "= read_place + advance + 1'b1;",
    ),
    # window_parallel
    Mutant(
        COUNT,
        "a column too few",
        "window_parallel",
        "32'(column) == WIDTH - 1",
        "32'(column) == WIDTH - 2",
    ),
    Mutant(
        COUNT,
        "a row too few",
        "window_parallel",
        "32'(row) == HEIGHT - 1",
        "32'(row) == HEIGHT - 2",
    ),
    Mutant(
        COUNT,
        "windows a column apart too far",
        "window_parallel",
        "X_BITS'(STRIDE_W - 1)",
        "X_BITS'(STRIDE_W)",
    ),
    Mutant(
        COUNT,
        "windows of a row begin a column early",
        "window_parallel",
        "end_of_row ? X_BITS'(REACH_W - 1)",
        "end_of_row ? X_BITS'(REACH_W - 2)",
        lambda p: int(p["KERNEL_W"]) > 1,
    ),
    Mutant(
        SWAP,
        "kernel columns swapped",
        "window_parallel",
        "columns[j*DILATION_W",
        "columns[(KERNEL_W-1-j)*DILATION_W",
        lambda p: int(p["KERNEL_W"]) > 1,
    ),
    Mutant(
        SWAP,
        "kernel rows swapped",
        "window_parallel",
        "pixels[i*DILATION_H",
        "pixels[(KERNEL_H-1-i)*DILATION_H",
        lambda p: int(p["KERNEL_H"]) > 1,
    ),
    Mutant(
        COMPARE,
        "windows in every row",
        "window_parallel",
        "(until_x == '0) & (until_y == '0);",
        "(until_x == '0);",
        lambda p: int(p["KERNEL_H"]) > 1,
    ),
    Mutant(STUCK, "whole window never waits", "window_parallel", "~valid | m_axis_tready", "1'b1"),
    Mutant(
        RESET,
        "rows until a window ends",
        "window_parallel",
        "until_y <= Y_BITS'(REACH_H - 1);",
        "until_y <= '0;",
        lambda p: int(p["KERNEL_H"]) > 1,
    ),
    # pad
    Mutant(COUNT, "a beat of a row too few", "pad", "FIRST_BEAT) - 1;", "FIRST_BEAT) - 2;"),
    Mutant(COUNT, "a padded row too few", "pad", "32'(row) == ROWS - 1", "32'(row) == ROWS - 2"),
    Mutant(
        COMPARE,
        "image a beat wider",
        "pad",
        "32'(beat) < WIDTH * CHANNEL_BEATS",
        "32'(beat) <= WIDTH * CHANNEL_BEATS",
        lambda p: int(p["RIGHT"]) > 0,
    ),
    Mutant(
        COMPARE,
        "image a row higher",
        "pad",
        "32'(row) < HEIGHT",
        "32'(row) <= HEIGHT",
        lambda p: int(p["BOTTOM"]) > 0,
    ),
    Mutant(
        COMPARE,
        "image and padding swapped",
        "pad",
        "on_image ? passed : OUT_LANE_BITS'(VALUE)",
        "on_image ? OUT_LANE_BITS'(VALUE) : passed",
    ),
    Mutant(
        SUM, "another padding value", "pad", "OUT_LANE_BITS'(VALUE)", "OUT_LANE_BITS'(VALUE + 1)"
    ),
    Mutant(
        SUM,
        "bipolar lanes negated",
        "pad",
        "{~s_axis_tdata[i], 1'b1}",
        "{s_axis_tdata[i], 1'b1}",
        lambda p: p["BIPOLAR"] == 1,
    ),
    Mutant(
        STUCK,
        "valid before a beat has come",
        "pad",
        "m_axis_tvalid = s_axis_tvalid | ~(on_image | leading)",
        "m_axis_tvalid = 1'b1",
    ),
    Mutant(
        DROP,
        "beat taken while padding leaves",
        "pad",
        "s_axis_tready = on_image & m_axis_tready",
        "s_axis_tready = m_axis_tready",
    ),
    Mutant(
        RESET,
        "first beat of the padding",
        "pad",
        "beat <= BEAT_BITS'(FIRST_BEAT);",
        "beat <= '0;",
        lambda p: int(p["LEFT"]) > 0,
    ),
    # upsample
    Mutant(
        COUNT, "a repetition to the right too few", "upsample", "FACTOR_W - 1;", "FACTOR_W - 2;"
    ),
    Mutant(COUNT, "a repetition downwards too few", "upsample", "FACTOR_H - 1;", "FACTOR_H - 2;"),
    Mutant(
        COUNT,
        "a column of pixels too few",
        "upsample",
        "32'(column) == WIDTH - 1",
        "32'(column) == WIDTH - 2",
    ),
    Mutant(
        COUNT,
        "row repeated from its second word",
        "upsample",
        "(DEPTH + 1 - KEPT) % DEPTH",
        "(DEPTH + 2 - KEPT) % DEPTH",
        lambda p: int(p["FACTOR_H"]) > 1,
    ),
    Mutant(
        COUNT,
        "words behind a row counted wrong",
        "upsample",
        "row_again ? 1 - KEPT",
        "row_again ? 2 - KEPT",
        lambda p: int(p["FACTOR_H"]) > 1,
    ),
    Mutant(
        TIMING,
        "row freed before its last repetition",
        "upsample",
        "read & last_x & last_y",
        "read & last_x",
        lambda p: int(p["FACTOR_H"]) > 1,
    ),
    Mutant(
        STUCK,
        "upsampling always ready",
        "upsample",
        "s_axis_tready = ~room[COUNT_BITS-1]",
        "s_axis_tready = 1'b1",
    ),
    # max_pool
    Mutant(
        COMPARE,
        "least for greatest, unsigned",
        "max_pool",
        "greater = given > greatest",
        "greater = given < greatest",
        lambda p: int(p["LANE_BITS"]) > 1 and p["SIGNED"] == 0,
    ),
    Mutant(
        COMPARE,
        "least for greatest, signed",
        "max_pool",
        "$signed(given) > $signed(greatest)",
        "$signed(given) < $signed(greatest)",
        lambda p: int(p["LANE_BITS"]) > 1 and p["SIGNED"] == 1,
    ),
    Mutant(
        COMPARE,
        "AND of bits for OR",
        "max_pool",
        "s_axis_tdata | (best & ~{LANES{first}})",
        "s_axis_tdata & (best | {LANES{first}})",
        lambda p: int(p["LANE_BITS"]) == 1 and p["SIGNED"] == 0,
    ),
    Mutant(COUNT, "a position too few", "max_pool", "N_POSITIONS - 1;", "N_POSITIONS - 2;"),
    Mutant(
        TIMING,
        "greatest of the window before",
        "max_pool",
        "(position == '0 | greater)",
        "greater",
        lambda p: int(p["LANE_BITS"]) > 1,
    ),
    Mutant(
        TIMING,
        "bits of the window before",
        "max_pool",
        "first = position == '0",
        "first = 1'b0",
        lambda p: int(p["LANE_BITS"]) == 1,
    ),
    Mutant(STUCK, "pool never waits", "max_pool", "~valid | m_axis_tready", "1'b1"),
    # depthwise units
    Mutant(
        SWAP,
        "lanes of a depthwise unit swapped",
        "mvu",
        "? p / MULTIPLIER : 0",
        "? (PE-1-p) / MULTIPLIER : 0",
        lambda p: p.get("DEPTHWISE") == 1 and int(p["PE"]) > int(p["MULTIPLIER"]),
    ),
)
