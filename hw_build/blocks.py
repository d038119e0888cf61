"""What the RTL is made of: a chain of blocks joined by streams.

A block is one instance of a module of `rtl/` with its parameters and memory files; a stream says
how integers travel between two blocks. Everything that follows (the top level's text, predicted
cycles, estimates) is computed from these records.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.packing import Packing

from .graph import IntType


@dataclass(frozen=True)
class Stream:
    """Vectors of `n` integers, `lanes` a beat, lane 0 in the least significant bits.

    `layer` names the layer of the integer graph whose output this is; a stream between two
    converters has none.
    """

    name: str
    n: int
    type: IntType
    lanes: int
    layer: str | None = None

    @property
    def beats(self) -> int:
        """Beats of one vector; lanes beyond `n` in the last one are padding."""
        return -(-self.n // self.lanes)

    @property
    def width(self) -> int:
        """Bits of a beat."""
        return self.lanes * self.type.bits

    def packing(self, beat_bits: int) -> Packing:
        """How the stream's beats lie in an array of words of `beat_bits`."""
        return Packing(
            self.n, self.type.bits, self.type.signed, self.type.bipolar, beat_bits, self.lanes
        )


@dataclass(frozen=True, eq=False)
class Memory:
    """A memory's initial content: `words` as Python integers of `width` bits, word 0 first."""

    file: str
    width: int
    words: tuple[int, ...]

    @property
    def text(self) -> str:
        """The file as `$readmemh` reads it: a word a line, in hexadecimal."""
        digits = -(-self.width // 4)
        return "".join(f"{word:0{digits}x}\n" for word in self.words)


@dataclass(frozen=True, eq=False)
class Block:
    """One instance of an RTL module between an input stream and an output stream.

    `cycles` is the least number of cycles that one frame occupies it.
    """

    module: str
    name: str
    source: Stream
    sink: Stream
    parameters: dict[str, int | str]
    cycles: int
    memories: tuple[Memory, ...] = field(default=())
