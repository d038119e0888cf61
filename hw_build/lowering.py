"""From the integer graph and a folding to RTL blocks joined by streams."""

from __future__ import annotations

from dataclasses import replace

from deploy.errors import UserError

from .blocks import Block, Stream, with_memory_numbers
from .folding import Folding, fused_thresholds, port_lanes
from .graph import (
    Add,
    ArgMax,
    Concat,
    Depthwise,
    Flatten,
    Graph,
    Input,
    Layer,
    MatVec,
    MaxPool,
    Pad,
    TensorInfo,
    Threshold,
    TopK,
    Upsample,
    Window,
)
from .lower_images import concat_block, max_pool_block, pad_block, upsample_block, window_block
from .lower_streams import add_block, convert, flat, fork, image
from .lower_units import arg_max_block, depthwise_block, matvec_block, top_k_block


def lower(graph: Graph, folding: dict[str, Folding], port_bits: int = 64) -> tuple[Block, ...]:
    """Blocks from the host's input port to its output port, each after those that feed it.

    A Threshold is fused into the unit before it where nobody else reads that unit's sums;
    otherwise it is a unit of its own. Between two blocks of different widths stand the two halves
    of a converter. A tensor that several layers read is forked. The last stream has the lanes of
    the output port.

    Raises:
        UserError: the RTL has no form for a layer here, which is named.
    """
    lowering = _Lowering(graph, folding, port_bits)
    for layer in graph:
        if not lowering.n_readers[layer.name]:
            raise UserError("a layer that nobody reads", where=f"layer {layer.name}")
        lowering.layer(layer)
    lowering.output(graph.output.name)
    return with_memory_numbers(tuple(lowering.blocks))


class _Lowering:
    def __init__(self, graph: Graph, folding: dict[str, Folding], port_bits: int) -> None:
        self.graph, self.folding, self.port_bits = graph, folding, port_bits
        self.infos = graph.infer()
        self.fused = fused_thresholds(graph)
        self.blocks: list[Block] = []
        self.n_readers = graph.n_readers
        self.readers = {source: layer for layer in graph for source in layer.sources}
        self.copies: dict[str, list[Stream]] = {}

    def layer(self, layer: Layer) -> None:
        """Appends the blocks of one layer, and its stream as often as it is read."""
        if isinstance(layer, Threshold) and self.fused.get(layer.source) is layer:
            return
        stream = self._stream_of(layer)
        name = self.fused[layer.name].name if layer.name in self.fused else layer.name
        self.copies[name] = fork(self.blocks, stream, max(1, self.n_readers[name]))

    def output(self, name: str) -> None:
        """The conversion to the output port's lanes."""
        stream = flat(self._take(name))
        info = self.infos[name]
        convert(self.blocks, stream, port_lanes(info.shape, stream.type.bits, self.port_bits))

    def _stream_of(self, layer: Layer) -> Stream:
        match layer:
            case Input():
                lanes = port_lanes(layer.shape, layer.type.bits, self.port_bits)
                if layer.name in self.folding:
                    lanes = self.folding[layer.name].pe
                info = self.infos[layer.name]
                n = info.n_pixels * info.n_channels
                return Stream("s_axis", n, layer.type, lanes, layer.name)
            case Flatten():
                return replace(flat(self._take(layer.source)), layer=layer.name)
            case MatVec():
                fold = self.folding[layer.name]
                x = self._with_lanes(layer.source, fold.simd)
                threshold = self.fused.get(layer.name)
                return self._append(matvec_block(layer, threshold, self._info(x), fold, x))
            case Depthwise():
                return self._depthwise(layer, self.fused.get(layer.name))
            case Threshold():
                return self._append(depthwise_block(None, layer, *self._unit_input(layer, 1)))
            case Pad():
                info = self.infos[layer.source]
                x = self._with_lanes(layer.source, min(self._lanes(layer), info.n_channels))
                return self._append(pad_block(layer, info, x))
            case Window():
                reader = self.readers[layer.name]
                lanes = self._lanes(layer)
                info = self.infos[layer.source]
                x = self._with_lanes(layer.source, min(lanes, info.n_channels))
                outer = not isinstance(reader, MatVec)
                return self._append(window_block(layer, info, x, lanes, channel_outer=outer))
            case MaxPool():
                x = self._with_lanes(layer.source, self.folding[layer.name].pe)
                return self._append(max_pool_block(layer, x))
            case Add():
                lanes = self.folding[layer.name].pe
                x = [self._with_lanes(source, lanes) for source in layer.sources]
                return self._append(add_block(layer, self.infos[layer.name], *x))
            case Concat():
                lanes = self.folding[layer.name].pe
                x = [self._with_lanes(source, lanes) for source in layer.sources]
                return concat_block(self.blocks, layer, x)
            case Upsample():
                x = self._with_lanes(layer.source, self.folding[layer.name].pe)
                return self._append(upsample_block(layer, self.infos[layer.source], x))
            case ArgMax():
                lanes = self.folding[layer.name].pe if layer.name in self.folding else 1
                x = self._with_lanes(layer.source, lanes)
                return self._append(arg_max_block(layer, self.infos[layer.name], x))
            case TopK():
                return self._append(
                    top_k_block(layer, self.infos[layer.name], self._with_lanes(layer.source, 1))
                )

    def _depthwise(self, layer: Depthwise, threshold: Threshold | None) -> Stream:
        info = self.infos[layer.source]
        per_channel = len(layer.weights) // layer.n_channels(info)
        return self._append(
            depthwise_block(layer, threshold, *self._unit_input(layer, per_channel))
        )

    def _unit_input(
        self, layer: Depthwise | Threshold, per_channel: int
    ) -> tuple[TensorInfo, Folding, Stream]:
        fold = self.folding[layer.name]
        x = self._with_lanes(layer.source, fold.pe // per_channel)
        return self._info(x), fold, x

    def _info(self, stream: Stream) -> TensorInfo:
        """What is proven of the layer, in the type of its stream: sums may carry a bit more."""
        return replace(self.infos[stream.layer], type=stream.type)

    def _lanes(self, layer: Layer) -> int:
        """The lanes that the next layer with a folding of its own takes."""
        if layer.name in self.folding:
            fold = self.folding[layer.name]
            if isinstance(layer, MatVec):
                return fold.simd
            if isinstance(layer, Depthwise):
                return fold.pe * layer.n_channels(self.infos[layer.source]) // len(layer.weights)
            return fold.pe
        if self.n_readers[layer.name] != 1 or layer.name not in self.readers:
            return self.copies[layer.sources[0]][0].lanes
        return self._lanes(self.readers[layer.name])

    def _with_lanes(self, name: str, lanes: int) -> Stream:
        """A copy of a layer's stream, converted to `lanes`, in the view of the layer's shape."""
        stream, info = self._take(name), self.infos[name]
        if stream.lanes == lanes and stream.n == info.n_channels:
            return stream
        if stream.positions > 1 or info.n_channels == stream.n:
            return convert(self.blocks, stream, lanes)
        if lanes > info.n_channels:
            raise UserError(
                "the RTL has no form for this layer",
                where=f"the stream of {name}",
                found=f"{lanes} lanes of {info.n_channels} channels",
                expected="a Window before a layer that takes more lanes than a pixel has channels",
            )
        return image(convert(self.blocks, stream, lanes), info)

    def _take(self, name: str) -> Stream:
        return self.copies[name].pop(0)

    def _append(self, block: Block) -> Stream:
        self.blocks.append(block)
        return block.sink
