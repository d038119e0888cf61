"""Weights and thresholds that the host writes into an accelerator, where it was built for that.

Memories have numbers. A word of one is given in pieces of 32 bits, the lowest first, and then
written to its address; no frame may be under way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Memories:
    """What all memories hold: `contents[i]` of number i, uint32 (words, pieces of a word)."""

    contents: Sequence[np.ndarray]

    @cached_property
    def digest(self) -> int:
        """What register WEIGHTS reads when it is all there: 32 bits of its sha256, 0 of nothing."""
        if not self.contents:
            return 0
        whole = hashlib.sha256()
        for content in self.contents:
            whole.update(str(content.shape).encode() + content.astype("<u4").tobytes())
        return int.from_bytes(whole.digest()[:4], "big") or 1

    def write(self, register: Callable[[str, int], None]) -> None:
        """Writes all of it; `register` writes one by its name.

        WEIGHTS is 0 from the first word until the last one is there.
        """
        if not self.contents:
            return
        register("WEIGHTS", 0)
        for number, content in enumerate(self.contents):
            register("MEMORY", number)
            for address, word in enumerate(content.tolist()):
                for piece in word:
                    register("DATA", piece)
                register("WORD", address)
        register("WEIGHTS", self.digest)

    def to_flat(self) -> np.ndarray:
        """All pieces, one after another, uint32 (n,)."""
        return np.concatenate([content.reshape(-1) for content in self.contents])

    @classmethod
    def of_flat(cls, pieces: np.ndarray, shapes: Sequence[tuple[int, int]]) -> Memories:
        """The inverse of `to_flat`; ValueError if type or size don't fit."""
        sizes = [words * per_word for words, per_word in shapes]
        if pieces.dtype != np.uint32 or pieces.shape != (sum(sizes),):
            raise ValueError(f"{pieces.dtype} {pieces.shape}, not uint32 ({sum(sizes)},)")
        parts = np.split(pieces, np.cumsum(sizes[:-1]))
        return cls([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
