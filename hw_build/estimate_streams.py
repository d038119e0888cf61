"""Estimated resources of the blocks between the units: converters, windows, forks, and so on."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from .resources import Resources, counter_bits, ram_resources
from .ring_words import memory_words, output_size, ring_words, row_words, window_moves


def stream_block_resources(module: str, numbers: dict[str, int]) -> Resources:
    """One block of `module`, from its parameters in lower case."""
    return _MODULES[module](numbers)


def _splitter(n: dict[str, int]) -> Resources:
    """A multiplexer of RATIO inputs for each bit, four inputs a LUT."""
    counters = counter_bits(n["ratio"])
    if n["vector"] % n["ratio"]:
        counters += counter_bits(n["vector"])
    width = n["lane_bits"] * n["lanes"]
    return Resources(lut=width * max(1.0, n["ratio"] / 4) + 2 + 2 * counters, ff=counters)


def _joiner(n: dict[str, int]) -> Resources:
    """Registers that shift, and counters; padding is the registers' own reset."""
    counters, padding = counter_bits(n["ratio"]), 0
    if n["vector"] % n["ratio"]:
        counters += n["vector"].bit_length()
        padding = 4
    width = n["lane_bits"] * n["lanes"] * n["ratio"]
    return Resources(lut=2.5 + 1.5 * counters + padding, ff=width + counters + 1)


def _arg_max(n: dict[str, int]) -> Resources:
    """A comparison and two multiplexers for each lane but one, and where a vector has several
    beats one more, with the greatest so far and a counter."""
    beats, score, index = ceil(n["n"] / n["lanes"]), n["score_bits"], n["index_bits"]
    between_lanes = Resources(lut=(n["lanes"] - 1) * 2.1 * score, ff=index + 1)
    if beats == 1:
        return between_lanes
    ff = score + index + counter_bits(beats)
    return between_lanes + Resources(lut=2.9 + 0.84 * score + 3.2 * index, ff=ff)


def _transfer_end(n: dict[str, int]) -> Resources:
    """A counter of 32 bits that is loaded, and one of the beats of a frame."""
    counter = max(1, counter_bits(n["beats"]))
    return Resources(lut=47.5 + 1.5 * counter, ff=33 + counter)


def _registers(n: dict[str, int]) -> Resources:
    """The bus, and six counters of 32 bits that saturate; a counter of a frame's beats.

    Where the host writes memories, a register that is read, and the bus to them.
    """
    counter, writable = counter_bits(n["output_beats"]), n["writable"]
    return Resources(lut=139 + 1.4 * counter + 35 * writable, ff=333 + counter + 86 * writable)


def _fifo(n: dict[str, int]) -> Resources:
    """The memory, two addresses and a count; LUT RAM is read by an address one cycle ahead."""
    block = bool(n["block_memory"])
    words = n["depth"] - 1 if block else n["depth"]
    address, count = counter_bits(words), counter_bits(words + 1)
    memory = ram_resources(words, n["width"], block=block)
    if block:
        return memory + Resources(lut=16.7 + 2.9 * address, ff=2 * address + count + 1)
    return memory + Resources(lut=4.7 + 5.1 * address, ff=3 * address + count)


def _window(n: dict[str, int]) -> Resources:
    """A ring memory that holds the rows under the kernel, and the counters that walk it."""
    given = {name.upper(): value for name, value in n.items()}
    block, moves = bool(n["block_memory"]), window_moves(given)
    depth = memory_words(ring_words(given), block=block)
    row = n["dilation_h"] * n["width"] * n["channel_beats"]
    longest = max(row, moves.right, moves.down, moves.next_frame)
    count = counter_bits(depth + longest + 2) + 1
    loops = (n["channel_beats"], n["kernel_h"], n["kernel_w"], *output_size(given))
    lut = 2.2 + 5.3 * count + 1.3 * sum(map(counter_bits, loops))
    lut += 2.1 * sum(loop > 1 for loop in loops)
    ff = 2 * count + sum(map(counter_bits, loops)) + 1
    return _ring(depth, n["beat_bits"], block=block) + Resources(lut=lut, ff=ff)


def _ring(depth: int, width: int, *, block: bool) -> Resources:
    """A memory with its two places; the lowest bits of one that wraps by comparison cost more."""
    place = counter_bits(depth)
    lut = -0.8 * place + (2.1 * place if depth != 1 << place else 0)
    registers = Resources(lut=lut, ff=2 * place + (0 if block else width))
    return ram_resources(depth, width, block=block) + registers


def _window_parallel(n: dict[str, int]) -> Resources:
    """Row memories, a register for every position under the kernel, and counters."""
    rows = (n["kernel_h"] - 1) * n["dilation_h"]
    reach = (n["kernel_w"] - 1) * n["dilation_w"] + 1
    block = bool(n["block_memory"])
    memory = ram_resources(n["width"], n["beat_bits"] * rows, block=block) if rows else Resources()
    column, row = counter_bits(n["width"]), counter_bits(n["height"])
    until = counter_bits(max(reach, n["stride_w"])) + counter_bits(max(rows + 1, n["stride_h"]))
    ahead = column if rows > 1 and not block else 0  # LUT RAM is read by an address ahead
    lut = 2.4 + 0.7 * (column + ahead) + row + 3.2 * until
    ff = 1 + column + ahead + row + until + n["kernel_h"] * reach * n["beat_bits"]
    return memory + Resources(lut=lut, ff=ff)


def _pad(n: dict[str, int]) -> Resources:
    """A multiplexer with a constant for each bit, and two counters that are compared."""
    beats = counter_bits((n["left"] + n["width"] + n["right"]) * n["channel_beats"])
    rows = counter_bits(n["top"] + n["height"] + n["bottom"])
    width = n["lanes"] * n["out_lane_bits"]
    if n["bipolar"]:  # the lower bit of each lane is known
        width -= n["lanes"]
    return Resources(lut=2.5 + 1.9 * beats + 2.1 * rows + width, ff=beats + rows)


def _max_pool(n: dict[str, int]) -> Resources:
    """A comparison by a carry chain and a register for each lane."""
    bits, counter = n["lanes"] * n["lane_bits"], counter_bits(n["n_positions"])
    lut = bits if n["lane_bits"] == 1 else 0.9 * bits - 0.75 * n["lanes"]
    return Resources(lut=1.8 + 2 * counter + lut, ff=1 + counter + bits)


def _upsample(n: dict[str, int]) -> Resources:
    """A memory for a row, or for a pixel where rows aren't repeated, and counters."""
    given = {name.upper(): value for name, value in n.items()}
    block = bool(n["block_memory"])
    depth = memory_words(row_words(given), block=block)
    place, count = counter_bits(depth), counter_bits(depth + 1) + 1
    columns = n["width"] if n["factor_h"] > 1 else 1
    loops = (n["channel_beats"], n["factor_w"], columns, n["factor_h"])
    loop_bits = sum(map(counter_bits, loops))
    lut = 8.8 + 5.1 * place + 1.9 * loop_bits + (0.8 * place if depth != 1 << place else 0)
    ff = 2 * place + 2 * count + loop_bits + 1 + (0 if block else n["beat_bits"])
    return ram_resources(depth, n["beat_bits"], block=block) + Resources(lut=lut, ff=ff)


def _fork(_: dict[str, int]) -> Resources:
    """Two registers and what depends on them; the data are wires."""
    return Resources(lut=5, ff=2)


def _add(n: dict[str, int]) -> Resources:
    """Carry chains; see `_sum_luts` for the LUTs of a lane."""
    return Resources(lut=5.2 + n["lanes"] * _sum_luts(n), ff=n["lanes"] * n["out_bits"] + 1)


def _sum_luts(n: dict[str, int]) -> int:
    """LUTs of the sum of two scaled numbers: one for each two different wires that meet.

    A wire that meets a constant goes straight into the carry chain, through a LUT only if it is
    inverted. Signs that are extended meet in all bits above, which share their LUT.
    """
    a, more_a = _scaled(n["a_bits"], n["a_kind"], n["multiplier_a"], n["out_bits"])
    b, more_b = _scaled(n["b_bits"], n["b_kind"], n["multiplier_b"], n["out_bits"])
    luts = set()
    for x, y in zip(a, b, strict=True):
        if x.wire is not None and y.wire is not None:
            luts.add((x, y))
        elif x.wire is not None and x.inverted != y.inverted:
            luts.add((x.wire, None))
        elif y.wire is not None and x.inverted != y.inverted:
            luts.add((None, y.wire))
    return len(luts) + more_a + more_b


class _Bit(NamedTuple):
    """A wire of a number, or a constant: 1 if `inverted`, else 0."""

    wire: int | None
    inverted: bool


def _scaled(bits: int, kind: int, multiplier: int, out_bits: int) -> tuple[list[_Bit], int]:
    """A number times a constant as `out_bits` bits, and the LUTs of the additions this takes."""
    zero, additions = _Bit(None, inverted=False), 0
    if kind == 2:
        number = [_Bit(None, inverted=True)] + [_Bit(0, inverted=True)] * out_bits
    else:
        number = [_Bit(wire, inverted=False) for wire in range(bits)]
        number += [number[-1] if kind == 1 else zero] * out_bits
    magnitude = abs(multiplier)
    shift = (magnitude & -magnitude).bit_length() - 1
    magnitude >>= shift
    if magnitude > 1:
        width = bits + magnitude.bit_length()
        additions = (magnitude.bit_count() - 1) * width
        number = [_Bit(wire, inverted=False) for wire in range(width)]
        number += [number[-1] if kind else zero] * out_bits
    number = ([zero] * shift + number)[:out_bits]
    if multiplier < 0:
        number = [_Bit(bit.wire, not bit.inverted) for bit in number]
    return number, additions


def _concat(n: dict[str, int]) -> Resources:
    """A multiplexer of two inputs for each bit, and a counter."""
    counter = counter_bits(max(n["a_beats"], n["b_beats"]))
    return Resources(lut=5.2 + n["beat_bits"] + 1.45 * counter, ff=counter + 1)


def _top_k(n: dict[str, int]) -> Resources:
    """Cells that compare and move down, and the indices that leave."""
    k, score, index = n["k"], n["score_bits"], n["index_bits"]
    lut = k * (16.7 + 1.3 * score + 1.9 * index) - 19
    return Resources(lut=lut, ff=k * (2 * index + score + 2) + index)


_MODULES = {
    "lane_splitter": _splitter,
    "lane_joiner": _joiner,
    "arg_max": _arg_max,
    "transfer_end": _transfer_end,
    "axi_lite_registers": _registers,
    "deep_fifo": _fifo,
    "window": _window,
    "window_parallel": _window_parallel,
    "pad": _pad,
    "max_pool": _max_pool,
    "upsample": _upsample,
    "stream_fork": _fork,
    "stream_add": _add,
    "stream_concat": _concat,
    "top_k": _top_k,
}
