"""Accelerators built for tests: emitted, compiled, and opened as often as a test likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from random_networks import Case

from hw_build.blocks import Block, inner_streams
from hw_build.emit import emit
from hw_build.lowering import lower
from hw_build.rtl_gate import RtlGate
from hw_build.simulator import Simulator
from hw_build.verilator import build_model


@dataclass(frozen=True, eq=False)
class Accelerator:
    """A case's RTL in `folder`, and its simulation model."""

    case: Case
    blocks: tuple[Block, ...]
    folder: Path
    library: Path

    @property
    def gate(self) -> RtlGate:
        return RtlGate.of(self.case.graph, self.blocks, self.case.inputs)

    @property
    def streams(self) -> list[str]:
        return [stream.name for stream in inner_streams(self.blocks)]

    def open(self) -> Simulator:
        return Simulator(self.library, self.blocks, self.case.graph, self.folder)


def build(
    case: Case,
    folder: Path,
    *,
    compress: bool = False,
    change: Callable[[Path], None] | None = None,
) -> Accelerator:
    """The accelerator of a case; `change` may rewrite the emitted files before they are built."""
    blocks = lower(case.graph, case.folding)
    emit(blocks, folder)
    if change is not None:
        change(folder)
    return Accelerator(case, blocks, folder, build_model(folder, blocks, compress=compress))


def rewriting(module: str, old: str, new: str) -> Callable[[Path], None]:
    """A `change` that replaces the one occurrence of `old` in a module."""

    def change(folder: Path) -> None:
        path = folder / f"{module}.sv"
        text = path.read_text()
        assert text.count(old) == 1, f"{module}.sv holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    return change
