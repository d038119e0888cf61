"""Faults of the accelerator's memories: one bit of one word, and what that bit means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hw_build.blocks import Block, Memory


@dataclass(frozen=True, eq=False)
class MemoryFault:
    """One bit of a memory of `block`, inverted."""

    block: Block
    memory: Memory
    word: int
    bit: int

    @property
    def kind(self) -> str:
        """'weight bit', 'start bit' or 'threshold bit'."""
        part = self.memory.file.removeprefix(f"{self.block.name}_").removesuffix(".mem")
        return f"{part.rstrip('0123456789')} bit"

    @property
    def name(self) -> str:
        return f"{self.memory.file}, word {self.word}, bit {self.bit}"

    @property
    def dead_because(self) -> str:
        """Why no input at all could show the fault, where that is certain; else nothing."""
        p = {k: v for k, v in self.block.parameters.items() if isinstance(v, int)}
        binary, ternary, quinary = (p["WEIGHT_KIND"] == kind for kind in range(3))
        if self.kind == "weight bit":
            group, beat = divmod(self.word, p["FOLD_IN"])
            plane_of_row, column_in_beat = divmod(self.bit, p["SIMD"])
            row_in_group, plane = divmod(plane_of_row, p["WEIGHT_BITS"])
            sign = (ternary or quinary) and plane == p["WEIGHT_BITS"] - 1
            magnitude = range(self.bit - plane * p["SIMD"], self.bit, p["SIMD"])
            zero = sign and not any(self.memory.words[self.word] >> bit & 1 for bit in magnitude)
            masked = ternary or p["ACT_KIND"] == 2  # elsewhere a sign inverts a product of zero
            if zero and masked:
                return "sign of a zero weight"
            padding = beat * p["SIMD"] + column_in_beat >= self.block.source.n
            # a zero input makes no product, but for the inverted ones
            inverted = binary or (ternary and p["ACT_KIND"] == 1) or (quinary and sign)
            if padding and not inverted:
                return "weight of a padding column"
        else:
            group = self.word
            row_in_group = self.bit // p["SUM_BITS"] % p["PE"]
        if group * p["PE"] + row_in_group >= self.block.sink.n and binary and not p["LEVEL_BITS"]:
            return "padding row of scores"  # read by nobody, see `zero_padded_streams`
        return ""

    @contextmanager
    def planted(self, folder: Path) -> Iterator[None]:
        """The memory's file in `folder` with the fault, and whole again afterwards."""
        words = list(self.memory.words)
        words[self.word] ^= 1 << self.bit
        path = folder / self.memory.file
        path.write_text(replace(self.memory, words=tuple(words)).text)
        try:
            yield
        finally:
            path.write_text(self.memory.text)


def sample_memory_faults(blocks: tuple[Block, ...], n: int, seed: int) -> list[MemoryFault]:
    """`n` different bits, spread over all memories as evenly as their sizes allow.

    Memories are dealt one bit each in turn, in random order within each, so that small ones (start
    values, thresholds) get as many faults as large ones until they have no bit left.
    """
    rng = np.random.default_rng(seed)
    memories = [(block, memory) for block in blocks for memory in block.memories]
    orders = [iter(rng.permutation(len(m.words) * m.width).tolist()) for _, m in memories]
    faults: list[MemoryFault] = []
    while len(faults) < n:
        before = len(faults)
        for (block, memory), order in zip(memories, orders, strict=True):
            place = next(order, None)
            if place is not None and len(faults) < n:
                faults.append(MemoryFault(block, memory, *divmod(place, memory.width)))
        if len(faults) == before:
            raise ValueError(f"the memories hold {before} bits, fewer than {n}")
    return faults
