"""Blocks of image streams: padding, windows, pools, concatenation, upsampling."""

from __future__ import annotations

from dataclasses import replace

from .blocks import Block, Stream
from .graph import Concat, MaxPool, Pad, TensorInfo, Upsample, Window
from .lower_streams import without_padding
from .resources import ram_in_block_memory
from .ring_words import ring_words, row_words


def pad_block(layer: Pad, x: TensorInfo, stream: Stream) -> Block:
    """Beats of the padding value between and around the rows."""
    without_padding(layer.name, stream)
    height, width, _ = x.shape
    kind = layer.infer(x).type
    n_vectors = (height + layer.top + layer.bottom) * (width + layer.left + layer.right)
    sink = replace(stream, name=layer.name, type=kind, layer=layer.name, vectors=n_vectors)
    parameters: dict[str, int | str] = {
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNEL_BEATS": stream.vector_beats,
        "LANES": stream.lanes,
        "LANE_BITS": stream.type.bits,
        "OUT_LANE_BITS": kind.bits,
        "TOP": layer.top,
        "LEFT": layer.left,
        "BOTTOM": layer.bottom,
        "RIGHT": layer.right,
        "VALUE": max(layer.value, 0) if kind.bipolar else layer.value,
        "BIPOLAR": int(x.type.bipolar and not kind.bipolar),
    }
    return Block("pad", layer.name, (stream,), (sink,), parameters, sink.beats)


def window_block(
    layer: Window, x: TensorInfo, stream: Stream, lanes: int, *, channel_outer: bool
) -> Block:
    """The line buffer; more lanes than a pixel has are a whole window a beat."""
    height, width, n_channels = x.shape
    rows, columns, _ = layer.infer(x).shape
    n_positions = layer.n_positions
    whole = lanes > n_channels
    sink = replace(
        stream,
        name=layer.name,
        n=n_positions * n_channels,
        layer=layer.name,
        vectors=rows * columns,
        positions=n_positions if channel_outer and not whole else 1,
        lanes=n_positions * n_channels if whole else lanes,
    )
    parameters: dict[str, int] = {
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNEL_BEATS": stream.vector_beats,
        "BEAT_BITS": stream.width,
        "KERNEL_H": layer.kernel[0],
        "KERNEL_W": layer.kernel[1],
        "STRIDE_H": layer.stride[0],
        "STRIDE_W": layer.stride[1],
        "DILATION_H": layer.dilation[0],
        "DILATION_W": layer.dilation[1],
    }
    cycles = max(stream.beats, sink.beats)
    if whole:
        del parameters["CHANNEL_BEATS"]
        rows = (layer.kernel[0] - 1) * layer.dilation[0]
        parameters["BLOCK_MEMORY"] = int(ram_in_block_memory(width, rows * stream.width))
        return Block("window_parallel", layer.name, (stream,), (sink,), parameters, cycles)
    parameters["CHANNEL_OUTER"] = int(channel_outer)
    parameters["BLOCK_MEMORY"] = int(ram_in_block_memory(ring_words(parameters), stream.width))
    return Block("window", layer.name, (stream,), (sink,), parameters, cycles)


def max_pool_block(layer: MaxPool, stream: Stream) -> Block:
    """The greatest of each channel's positions, which come one after another."""
    n_channels = stream.n // layer.n_positions
    sink = replace(stream, name=layer.name, n=n_channels, layer=layer.name, positions=1)
    parameters: dict[str, int | str] = {
        "N_POSITIONS": layer.n_positions,
        "LANES": stream.lanes,
        "LANE_BITS": stream.type.bits,
        "SIGNED": int(stream.type.signed and not stream.type.bipolar),
    }
    return Block("max_pool", layer.name, (stream,), (sink,), parameters, stream.beats)


def concat_block(blocks: list[Block], layer: Concat, streams: list[Stream]) -> Stream:
    """Appends one block for every stream after the first; returns the whole stream."""
    without_padding(layer.name, *streams)
    whole = streams[0]
    for i, stream in enumerate(streams[1:], start=1):
        last = i == len(streams) - 1
        name = layer.name if last else f"{layer.name}_{i}"
        sink = replace(whole, name=name, n=whole.n + stream.n, layer=layer.name if last else "")
        parameters: dict[str, int | str] = {
            "BEAT_BITS": whole.width,
            "A_BEATS": whole.vector_beats,
            "B_BEATS": stream.vector_beats,
        }
        blocks.append(
            Block("stream_concat", name, (whole, stream), (sink,), parameters, sink.beats)
        )
        whole = sink
    return whole


def upsample_block(layer: Upsample, x: TensorInfo, stream: Stream) -> Block:
    """Repeats pixels to the right, and a row kept in memory downwards."""
    width = x.shape[1]
    down, right = layer.factors
    sink = replace(stream, name=layer.name, layer=layer.name, vectors=stream.vectors * down * right)
    parameters: dict[str, int] = {
        "WIDTH": width,
        "CHANNEL_BEATS": stream.vector_beats,
        "BEAT_BITS": stream.width,
        "FACTOR_H": down,
        "FACTOR_W": right,
    }
    parameters["BLOCK_MEMORY"] = int(ram_in_block_memory(row_words(parameters), stream.width))
    return Block("upsample", layer.name, (stream,), (sink,), parameters, sink.beats)
