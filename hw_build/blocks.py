"""What the RTL is made of: blocks joined by streams.

A block is one instance of a module of `rtl/` with its parameters and memory files; a stream says
how integers travel between two blocks. Everything that follows (the top level's text, predicted
cycles, estimates) is computed from these records.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from deploy.memories import Memories
from deploy.packing import Packing

from .graph import IntType


@dataclass(frozen=True)
class Stream:
    """Frames of `vectors` vectors of `n` integers, `lanes` a beat, lane 0 in the lowest bits.

    An image is a vector a pixel, row by row. A vector begins with a beat of its own. `layer` names
    the layer of the integer graph whose integers these are.

    `positions` is more than 1 for windows whose channels are the outer order: the vector holds that
    many positions of n / positions channels, and travels as all positions of the first lanes, then
    all positions of the next.
    """

    name: str
    n: int
    type: IntType
    lanes: int
    layer: str
    vectors: int = 1
    positions: int = 1

    @property
    def vector_beats(self) -> int:
        """Beats of one vector; lanes beyond its integers in the last one are padding."""
        return self.positions * -(-(self.n // self.positions) // self.lanes)

    @property
    def beats(self) -> int:
        """Beats of one frame."""
        return self.vectors * self.vector_beats

    @property
    def width(self) -> int:
        """Bits of a beat."""
        return self.lanes * self.type.bits

    @property
    def padding(self) -> int:
        """Lanes of a vector's beats that carry none of its integers."""
        return self.vector_beats * self.lanes - self.n

    def packing(self, beat_bits: int) -> Packing:
        """How the vectors' beats lie in an array of words of `beat_bits`."""
        kind = self.type
        return Packing(self.n, kind.bits, kind.signed, kind.bipolar, beat_bits, self.lanes)

    def unpack(self, beats: np.ndarray, beat_bits: int, n_frames: int) -> np.ndarray:
        """Recorded beats, as bytes, to the integers of their vectors, (frames, vectors, n)."""
        beats = beats.view(np.uint8).reshape(n_frames * self.vectors, -1)
        if self.positions == 1:
            return self.packing(beat_bits).unpack(beats).reshape(n_frames, self.vectors, self.n)
        # channel-outer: every beat is a vector of its own until they are put in order
        kind, n_channels = self.type, self.n // self.positions
        beat = Packing(self.lanes, kind.bits, kind.signed, kind.bipolar, beat_bits, self.lanes)
        lanes = beat.unpack(beats.reshape(n_frames * self.beats, -1))
        ordered = lanes.reshape(n_frames, self.vectors, -1, self.positions, self.lanes)
        ordered = ordered.swapaxes(2, 3).reshape(n_frames, self.vectors, self.positions, -1)
        return ordered[..., :n_channels].reshape(n_frames, self.vectors, self.n)


@dataclass(frozen=True, eq=False)
class Memory:
    """A memory's initial content: `words` as Python integers of `width` bits, word 0 first."""

    file: str
    width: int
    words: tuple[int, ...]

    @cached_property
    def text(self) -> str:
        """The file as `$readmemh` reads it: a word a line, in hexadecimal."""
        digits = -(-self.width // 4)
        return "".join(f"{word:0{digits}x}\n" for word in self.words)

    @property
    def pieces(self) -> np.ndarray:
        """As the host writes it: uint32 (words, pieces of 32 bits), the lowest piece first."""
        n_bytes = 4 * -(-self.width // 32)
        data = b"".join(word.to_bytes(n_bytes, "little") for word in self.words)
        return np.frombuffer(data, "<u4").reshape(len(self.words), -1)


@dataclass(frozen=True, eq=False)
class Block:
    """One instance of an RTL module between its input streams and its output streams.

    A module with one input has the port `s_axis`, one with two has `s0_axis` and `s1_axis`;
    outputs likewise. `cycles` is the least number of cycles that one frame occupies it.
    """

    module: str
    name: str
    sources: tuple[Stream, ...]
    sinks: tuple[Stream, ...]
    parameters: dict[str, int | str]
    cycles: int
    memories: tuple[Memory, ...] = field(default=())

    @property
    def source(self) -> Stream:
        """The first input, of most blocks the only one."""
        return self.sources[0]

    @property
    def sink(self) -> Stream:
        """The first output, of most blocks the only one."""
        return self.sinks[0]


def with_memory_numbers(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks, those with memories that the host may write told the number of their first."""
    numbered, n = [], 0
    for block in blocks:
        if block.parameters.get("WRITABLE"):
            parameters = {**block.parameters, "FIRST_MEMORY": n}
            numbered.append(replace(block, parameters=parameters))
            n += len(block.memories)
        else:
            numbered.append(block)
    return tuple(numbered)


def writable_memories(blocks: tuple[Block, ...]) -> tuple[Memory, ...]:
    """The memories that the host may write, by their numbers."""
    return tuple(m for block in blocks if block.parameters.get("WRITABLE") for m in block.memories)


def memories_of(blocks: tuple[Block, ...]) -> Memories:
    """What the host writes to them."""
    return Memories([memory.pieces for memory in writable_memories(blocks)])


def ports(blocks: tuple[Block, ...]) -> tuple[Stream, Stream]:
    """The accelerator's input and output stream: the ones that only one block touches."""
    made = {stream.name: stream for block in blocks for stream in block.sinks}
    taken = {stream.name: stream for block in blocks for stream in block.sources}
    (first,) = (stream for name, stream in taken.items() if name not in made)
    (last,) = (stream for name, stream in made.items() if name not in taken)
    return first, last


def inner_streams(blocks: tuple[Block, ...]) -> tuple[Stream, ...]:
    """All streams that blocks put out, in the blocks' order: what a simulation can record."""
    return tuple(stream for block in blocks for stream in block.sinks)
