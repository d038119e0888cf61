"""Words that the memories of windows and upsampling need, as `rtl/window.sv` and `rtl/upsample.sv`
compute them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Moves:
    """By how many words a window moves: to the right, to the next row, to the next frame."""

    right: int
    down: int
    next_frame: int


def window_moves(n: Mapping[str, int]) -> Moves:
    """From the parameters of a `window` or a `window_parallel` of one beat a pixel."""
    beats, (out_h, out_w) = n["CHANNEL_BEATS"], output_size(n)
    beside = (out_w - 1) * n["STRIDE_W"]
    below = n["HEIGHT"] - (out_h - 1) * n["STRIDE_H"]
    return Moves(
        n["STRIDE_W"] * beats,
        (n["STRIDE_H"] * n["WIDTH"] - beside) * beats,
        (below * n["WIDTH"] - beside) * beats,
    )


def output_size(n: Mapping[str, int]) -> tuple[int, int]:
    """Rows and columns of the windows."""
    return (
        (n["HEIGHT"] - (n["KERNEL_H"] - 1) * n["DILATION_H"] - 1) // n["STRIDE_H"] + 1,
        (n["WIDTH"] - (n["KERNEL_W"] - 1) * n["DILATION_W"] - 1) // n["STRIDE_W"] + 1,
    )


def ring_words(n: Mapping[str, int]) -> int:
    """NEEDED of `rtl/window.sv`: words that keep a beat leaving every cycle."""
    beats, width, positions = n["CHANNEL_BEATS"], n["WIDTH"], n["KERNEL_H"] * n["KERNEL_W"]
    out_h, out_w = output_size(n)
    rows, columns = (n["KERNEL_H"] - 1) * n["DILATION_H"], (n["KERNEL_W"] - 1) * n["DILATION_W"]
    window = (rows * width + columns) * beats + beats
    row_reads = out_w * positions
    if row_reads < n["STRIDE_H"] * width and out_h * row_reads < n["HEIGHT"] * width:
        ahead = row_reads
    else:
        ahead = max(n["STRIDE_H"], n["HEIGHT"] - (out_h - 1) * n["STRIDE_H"]) * width
    jump = max(
        min(n["STRIDE_W"] * beats, positions * beats),
        (ahead - (out_w - 1) * n["STRIDE_W"]) * beats,
    )
    spare = beats - 1 + positions - 1 if n["CHANNEL_OUTER"] else beats * positions - 1
    return max(window, window + jump - spare)


def row_words(n: Mapping[str, int]) -> int:
    """NEEDED of `rtl/upsample.sv`: a row, or a pixel where rows aren't repeated; two at least."""
    kept = n["WIDTH"] * n["CHANNEL_BEATS"] if n["FACTOR_H"] > 1 else n["CHANNEL_BEATS"]
    return max(2, kept)


def memory_words(needed: int, *, block: bool) -> int:
    """Words of a memory that holds `needed`: memories come in pieces."""
    piece = 512 if block else 32 if needed <= 32 else 64
    return -(-needed // piece) * piece
