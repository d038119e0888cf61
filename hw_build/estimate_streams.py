"""Estimated resources of the blocks between the units: converters, windows, forks, and so on."""

from __future__ import annotations

from math import ceil

from .resources import Resources, counter_bits, ram_resources


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
    """A comparison by a carry chain and two multiplexers; more of both for lanes beyond one."""
    counter = counter_bits(ceil(n["n"] / n["lanes"]))
    score, index = n["score_bits"], n["index_bits"]
    lut = 4.5 + 0.7 * score + 2.7 * index + (n["lanes"] - 1) * (1.5 * score + index)
    return Resources(lut=lut, ff=score + 2 * index + counter + 1)


def _transfer_end(n: dict[str, int]) -> Resources:
    """A counter of 32 bits that is loaded, and one of the beats of a frame."""
    counter = max(1, counter_bits(n["beats"]))
    return Resources(lut=47.5 + 1.5 * counter, ff=33 + counter)


def _registers(n: dict[str, int]) -> Resources:
    """The bus, and six counters of 32 bits that saturate."""
    return Resources(lut=400 + counter_bits(n["output_beats"]), ff=400)


def _fifo(n: dict[str, int]) -> Resources:
    pointers = 2 * counter_bits(n["depth"]) + 1
    memory = ram_resources(n["depth"], n["width"], block=bool(n.get("block_memory", 0)))
    return memory + Resources(lut=8 + 1.5 * pointers, ff=pointers + 2)


def _window(n: dict[str, int]) -> Resources:
    """A ring memory that holds the rows under the kernel, and the counters that walk it."""
    width_beats = n["width"] * n["channel_beats"]
    reach = (n["kernel_h"] - 1) * n["dilation_h"] * width_beats
    reach += ((n["kernel_w"] - 1) * n["dilation_w"] + n["stride_w"] + 1) * n["channel_beats"]
    memory = ram_resources(reach, n["beat_bits"], block=bool(n["block_memory"]))
    address = counter_bits(reach)
    return memory + Resources(lut=30 + 6 * address, ff=20 + 5 * address + 2 * n["beat_bits"])


def _window_parallel(n: dict[str, int]) -> Resources:
    """Row memories, and a register for every position under the kernel."""
    rows = ram_resources(n["width"], n["beat_bits"] * (n["kernel_h"] - 1), block=False)
    positions = n["kernel_h"] * ((n["kernel_w"] - 1) * n["dilation_w"] + 1)
    return rows + Resources(lut=40, ff=30 + positions * n["beat_bits"])


def _pad(n: dict[str, int]) -> Resources:
    counters = counter_bits(n["height"]) + counter_bits(n["width"]) + 2
    counters += counter_bits(n["channel_beats"])
    return Resources(lut=10 + 2 * counters + n["lanes"] * n["out_lane_bits"], ff=counters)


def _max_pool(n: dict[str, int]) -> Resources:
    bits = n["lanes"] * n["lane_bits"]
    return Resources(lut=8 + 1.6 * bits, ff=6 + bits + counter_bits(n["n_positions"]))


def _upsample(n: dict[str, int]) -> Resources:
    words = n["width"] * n["channel_beats"]
    memory = ram_resources(words, n["beat_bits"], block=bool(n["block_memory"]))
    return memory + Resources(lut=30 + 4 * counter_bits(words), ff=30 + n["beat_bits"])


def _fork(n: dict[str, int]) -> Resources:
    return Resources(lut=4, ff=2)


def _add(n: dict[str, int]) -> Resources:
    bits = n["lanes"] * n["out_bits"]
    return Resources(lut=6 + bits, ff=bits + 2)


def _concat(n: dict[str, int]) -> Resources:
    counter = counter_bits(n["a_beats"] + n["b_beats"])
    return Resources(lut=6 + n["beat_bits"] + 2 * counter, ff=counter + 1)


def _top_k(n: dict[str, int]) -> Resources:
    entry = n["score_bits"] + n["index_bits"]
    return Resources(lut=20 + 1.5 * n["k"] * entry, ff=10 + n["k"] * entry)


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
