"""One block by itself, out of the accelerator's context: its sources, memories and parameters."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from deploy.durable import digest_of, sha256_of

from .blocks import Block, Memory
from .emit import MODULES

LEAVES = ("compressor", "product_counter")
"""Modules that stay whole while LUTs are mapped: ABC would take compressors apart."""

ADDERS = ("adder",)
"""Modules that stay whole until carry chains are made: Yosys would merge them to counters."""

_READ = """\
read_verilog -sv -defer {sources}
{parameters}
hierarchy -check -top {top}
# A unit's memory is a ROM, or a RAM where the host writes it, and has a style for either; Yosys
# takes both as orders. It knows ROM in logic as "logic", Vivado as "distributed".
setattr -unset {other}_style a:rom_style=distributed a:ram_style=distributed %i
setattr -set rom_style "logic" a:rom_style=distributed
"""


def reading(sources: str, top: str, parameters: str = "", *, writable: bool = False) -> str:
    """Yosys commands that read RTL of ours, whose units' memories are `writable` or not."""
    other = "rom" if writable else "ram"
    return _READ.format(sources=sources, top=top, parameters=parameters, other=other)


@dataclass(frozen=True)
class LoneBlock:
    """A block and the folder that `emit` wrote it to."""

    rtl_folder: Path
    block: Block

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The files of its module and of all that this instantiates, what is used first."""
        found: set[str] = set()
        ahead = {self.block.module}
        while ahead:
            found |= ahead
            text = "".join((self.rtl_folder / f"{name}.sv").read_text() for name in ahead)
            ahead = {m for m in MODULES if re.search(rf"^\s*{m}\s+#\(", text, re.M)} - found
        return tuple(f"{m}.sv" for m in MODULES if m in found)

    @property
    def has_constant_weights(self) -> bool:
        """Whether it is an `mvu` all of whose weight words are alike, which takes no memory."""
        if self.block.parameters.get("WRITABLE"):
            return False
        file = self.block.parameters.get("WEIGHT_FILE")
        return any(m.file == file and len(set(m.text.split())) == 1 for m in self.block.memories)

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of every file that it is made of: part of the key of what comes of it.

        Of memories that the host writes only the shape counts: any word may come to lie there.
        """
        is_written = bool(self.block.parameters.get("WRITABLE"))
        memories = {
            self._own(m.file): f"{len(m.words)} x {m.width}"
            if is_written
            else digest_of(self._content(m))
            for m in self.block.memories
        }
        return {**{n: sha256_of(self.rtl_folder / n) for n in self.sources}, **memories}

    def copy_into(self, work: Path) -> None:
        """Writes its files into `work`, which is all that a tool in WebAssembly sees."""
        for name in self.sources:
            shutil.copyfile(self.rtl_folder / name, work / name)
        for memory in self.block.memories:
            (work / self._own(memory.file)).write_text(self._content(memory))

    @property
    def reading(self) -> str:
        """Yosys commands that read it with its parameters.

        Yosys' own Verilog reader is used: it makes one module of equal instances, where read_slang
        makes one of each, so that each of some hundred compressors would be mapped anew.
        """
        values = {
            # chparam takes no minus sign
            name: f'"{self._own(v)}"' if isinstance(v, str) else f"32'h{v & 0xFFFFFFFF:x}"
            for name, v in self.block.parameters.items()
        }
        settings = " ".join(f"-set {name} {value}" for name, value in values.items())
        return reading(
            " ".join(self.sources),
            self.block.module,
            f"chparam {settings} {self.block.module}",
            writable=bool(self.block.parameters.get("WRITABLE")),
        )

    def _content(self, memory: Memory) -> str:
        """A memory's file; of weights in block RAM, two words that leave no bit constant.

        Block RAM's content changes no logic, and takes a second for a million bits to read.
        """
        parameters = self.block.parameters
        is_weights = memory.file == parameters.get("WEIGHT_FILE")
        if is_weights and parameters.get("BLOCK_MEMORY") and not self.has_constant_weights:
            memory = replace(memory, words=(0, (1 << memory.width) - 1))
        return memory.text

    def _own(self, file: str) -> str:
        """A memory file's name without the block's: equal layers of other names are found again."""
        return "block" + file.removeprefix(self.block.name)


def copies_of(modules: tuple[str, ...]) -> str:
    """What Yosys selects by: modules, and their copies for other parameters than the defaults."""
    return " ".join(f"{m} $paramod*\\{m} $paramod*\\{m}\\*" for m in modules)
