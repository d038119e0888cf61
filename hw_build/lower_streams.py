"""Blocks that carry integers from one layer to the next: converters, forks, adds."""

from __future__ import annotations

from dataclasses import replace

from .blocks import Block, Stream
from .folding import converter_cycles, converter_lanes
from .graph import Add, TensorInfo
from .mvu_memory import act_kind


def flat(stream: Stream) -> Stream:
    """The same beats as one vector a frame; their vectors have to fill their beats."""
    if stream.vectors > 1 and (stream.padding or stream.positions > 1):
        raise ValueError(
            f"{stream.name}: {stream.lanes} lanes of {stream.n} channels are no vector"
        )
    return replace(stream, n=stream.n * stream.vectors, vectors=1)


def image(stream: Stream, info: TensorInfo) -> Stream:
    """The same beats as one vector a pixel; the lanes have to divide the channels."""
    if info.n_channels % stream.lanes:
        raise ValueError(f"{stream.name}: {stream.lanes} lanes of {info.n_channels} channels")
    return replace(stream, n=info.n_channels, vectors=info.n_pixels)


def without_padding(layer: str, *streams: Stream) -> None:
    """ValueError if a stream has padding lanes, into which the layer would put something.

    Padding lanes are zero, so that arithmetic may read them. A bipolar zero bit is no zero, nor is
    the value of a Pad; foldings of such layers divide their channels.
    """
    for stream in streams:
        if stream.padding:
            raise ValueError(
                f"{layer}: {stream.lanes} lanes of {stream.n} channels of {stream.name}"
            )


def convert(blocks: list[Block], source: Stream, lanes: int) -> Stream:
    """Appends what turns `source` into a stream of `lanes` lanes, and returns that stream."""
    if source.lanes == lanes:
        return source
    if source.positions > 1:
        raise ValueError(f"{source.name}: windows of outer channels keep their lanes")
    middle = converter_lanes(source.lanes, lanes)
    if middle < source.lanes:
        sink = replace(source, name=f"{source.name}_split", lanes=middle)
        parameters: dict[str, int | str] = {
            "LANE_BITS": source.type.bits,
            "LANES": middle,
            "RATIO": source.lanes // middle,
            "VECTOR": sink.vector_beats,
        }
        blocks.append(Block("lane_splitter", sink.name, (source,), (sink,), parameters, sink.beats))
        source = sink
    if middle < lanes:
        name = source.name.removesuffix("_split") + "_join"
        sink = replace(source, name=name, lanes=lanes)
        parameters = {
            "LANE_BITS": source.type.bits,
            "LANES": middle,
            "RATIO": lanes // middle,
            "VECTOR": source.vector_beats,
        }
        cycles = source.vectors * converter_cycles(source.n, middle, lanes)
        blocks.append(Block("lane_joiner", name, (source,), (sink,), parameters, cycles))
        source = sink
    return source


def fork(blocks: list[Block], stream: Stream, n_readers: int) -> list[Stream]:
    """As many streams with the beats of `stream` as there are readers, one fork after another."""
    copies: list[Stream] = []
    for i in range(n_readers - 1):
        sinks = tuple(
            replace(stream, name=f"{stream.name.split('_fork')[0]}_fork{2 * i + side}")
            for side in (0, 1)
        )
        name = f"{sinks[0].name}_{sinks[1].name.rsplit('_', 1)[1]}"
        blocks.append(
            Block("stream_fork", name, (stream,), sinks, {"WIDTH": stream.width}, stream.beats)
        )
        copies.append(sinks[0])
        stream = sinks[1]
    return [*copies, stream]


def add_block(layer: Add, info: TensorInfo, a: Stream, b: Stream) -> Block:
    """Elementwise; the sum's width is that of its proven range."""
    without_padding(layer.name, a, b)
    sink = replace(a, name=layer.name, type=info.type, layer=layer.name)
    parameters: dict[str, int | str] = {
        "LANES": a.lanes,
        "A_BITS": a.type.bits,
        "A_KIND": act_kind(a.type),
        "B_BITS": b.type.bits,
        "B_KIND": act_kind(b.type),
        "MULTIPLIER_A": layer.multipliers[0],
        "MULTIPLIER_B": layer.multipliers[1],
        "OUT_BITS": info.type.bits,
    }
    return Block("stream_add", layer.name, (a, b), (sink,), parameters, a.beats)
