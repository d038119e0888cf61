"""Faults of the RTL: one substitution each in one file of the emitted accelerator, plausible slips.

The text that a mutant replaces has to occur exactly as often as the mutant says, so that this list
can't drift away from the sources unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hw_build.blocks import Block, ports

Parameters = Mapping[str, int | str]

COMPRESSED = ("product_counter", "compressor", "compressor_tree", "compressed_dot_product")
"""Modules that are simulated only in a model built with `compress`."""

ONCE = (
    "accelerator",
    "transfer_end",
    "axi_lite_registers",
    "transfer_counters",
    "saturating_counter",
)
"""Modules beside the pipeline: every accelerator has them, and their parameter BEATS."""


def _always(_: Parameters) -> bool:
    return True


def _replays(p: Parameters) -> bool:
    return int(p["FOLD_OUT"]) > 1 and not p.get("DEPTHWISE")


_HOSTS: dict[str, tuple[tuple[str, ...], Callable[[Parameters], bool]]] = {
    "stream_fifo": (("mvu",), lambda p: not _replays(p)),
    "replay_buffer": (("mvu",), _replays),
    "threshold_search": (("mvu",), lambda p: int(p["LEVEL_BITS"]) > 1),
    "memory_writer": (("mvu",), _always),
    "adder": (("mvu",), _always),
    "dot_product": (("mvu",), _always),
    "partial_products": (("mvu",), _always),
    **dict.fromkeys(COMPRESSED, (("mvu",), _always)),
    "ring_memory": (("window", "upsample"), _always),
    "scaled": (("stream_add",), _always),
}
"""The modules whose parameters decide whether a module below them is instantiated."""

SWAP, DROP, TWICE = "lanes or rows swapped", "beat dropped", "beat duplicated"
COUNT, COMPARE, RESET = "counter off by one", "compare wrong", "reset value wrong"
STUCK, SUM, TIMING = "valid or ready wrong", "arithmetic wrong", "value of another cycle"


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `module`.sv, `times` times. `needs` looks at the parameters of the
    block that holds the module: whether the mutated line is elaborated there at all."""

    kind: str
    name: str
    module: str
    old: str
    new: str
    needs: Callable[[Parameters], bool] = lambda p: True
    times: int = 1

    @property
    def compressed(self) -> bool:
        """Whether it shows only in a model of the compressed body."""
        return self.module in COMPRESSED

    def applies_to(self, blocks: tuple[Block, ...]) -> bool:
        """Whether some block of the accelerator elaborates the mutated line."""
        if self.module in ONCE:
            return self.needs({"BEATS": ports(blocks)[1].beats})
        hosts, instantiated = _HOSTS.get(self.module, ((self.module,), _always))
        return any(
            block.module in hosts
            and instantiated(block.parameters)
            and self.needs(block.parameters)
            for block in blocks
        )

    def plant(self, folder: Path) -> None:
        """Rewrites the file in `folder`; ValueError if the sources have moved on from `old`."""
        path = folder / f"{self.module}.sv"
        text = path.read_text()
        if text.count(self.old) != self.times:
            raise ValueError(
                f"mutant {self.name!r}: {path.name} holds {self.old!r} {text.count(self.old)} "
                f"times, not {self.times}"
            )
        path.write_text(text.replace(self.old, self.new))
