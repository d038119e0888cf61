"""The plan of a build as pure data: every file that Vivado gets, and the steps in order.

Same RTL, board and clock, same plan, byte for byte; its digest and Vivado's version are the key
under which a bitstream is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.durable import digest_of
from deploy.errors import UserError

from ..blocks import Block
from ..boards import Board
from ..emit import TOP, top_level
from ..estimate import block_resources
from ..lone_block import LoneBlock
from . import scripts
from .ip_wrapper import WRAPPER, wrapper
from .layer_modules import layers_of, module_of, stub, whole


@dataclass(frozen=True)
class Step:
    """One Vivado process: the script `name.tcl`, and the files that it leaves behind."""

    name: str
    title: str
    makes: tuple[str, ...]

    @property
    def script(self) -> str:
        return f"{self.name}.tcl"

    @property
    def log(self) -> str:
        return f"{self.name}.log"

    @property
    def done(self) -> str:
        """The mark that says that it was carried out and checked."""
        return f"{self.name}.done"


REPORTS = ("timing.rpt", "utilisation.rpt", "utilisation_accelerator.rpt", "routes.rpt")
STEPS = (
    Step("1_package", "packaging the IP", ("ip/component.xml",)),
    Step(
        "2_design", "block design", (f"{scripts.PROJECT}/{scripts.PROJECT}.xpr", "accelerator.hwh")
    ),
    Step("3_synthesis", "synthesis", ("synthesised.dcp",)),
    Step("4_placement", "placement", ("placed.dcp",)),
    Step("5_routing", "routing", ("routed.dcp", *REPORTS)),
    Step("6_bitstream", "bitstream", ("accelerator.bit",)),
)
RESULTS = ("accelerator.bit", "accelerator.hwh", *REPORTS)
"""What is kept of a build."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What to build and how.

    Args:
        board, clock_mhz: built for.
        files: contents by path, relative to the build's folder.
        instances: the layer (or block) of each instance in the accelerator.
        lut: estimated LUTs of the accelerator; tells how long it may take, not what is made.
        steps: in order.
        layers: the plans of what is synthesised by itself beforehand, by layer; the steps find the
            `layer.dcp` of each as `checkpoint_of` says.
    """

    board: Board
    clock_mhz: float
    files: Mapping[str, bytes]
    instances: Mapping[str, str]
    lut: float = 0.0
    steps: tuple[Step, ...] = STEPS
    layers: Mapping[str, Plan] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 over the board, the clock, every file, and those of the layers."""
        files = {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}
        whole = {"board": self.board.name, "clock": self.clock_mhz, "files": files}
        layers = {name: layer.digest for name, layer in self.layers.items()}
        return digest_of({**whole, "layers": layers} if layers else whole)

    def write(self, folder: Path, more: Mapping[str, Path]) -> None:
        """Every file into `folder`, which is made if need be; and copies of `more`."""
        copies = {name: path.read_bytes() for name, path in more.items()}
        for name, data in {**self.files, **copies}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def make_plan(
    rtl: Path,
    blocks: tuple[Block, ...],
    board: Board,
    clock_mhz: float,
    *,
    layers_apart: bool = False,
) -> Plan:
    """The plan for the RTL that `emit` wrote into `rtl`.

    With `layers_apart` each layer with weights is synthesised by itself, from a plan of its own.

    Raises:
        UserError: a file of the RTL is missing.
    """
    sources = rtl_files(rtl, board.dma_bits)
    apart = layers_of(blocks) if layers_apart else {}
    if apart:
        sources = _with_stubs(sources, blocks, apart, board.dma_bits)
    memories = [name for name in sources if name.endswith(".mem")]
    modules = [name for name in sources if name not in memories]
    texts = {
        "1_package": scripts.package_ip(board.part, modules, memories),
        "2_design": scripts.block_design(board, clock_mhz),
        "3_synthesis": scripts.synthesis(
            board.part, {module_of(name): checkpoint_of(name) for name in apart}
        ),
        "4_placement": scripts.placement(),
        "5_routing": scripts.routing(),
        "6_bitstream": scripts.bitstream(),
    }
    files = {f"{scripts.RTL}/{name}": data for name, data in sources.items()}
    files |= {f"{name}.tcl": text.encode() for name, text in texts.items()}
    instances = {f"{block.name}_{block.module}": block.name for block in blocks}
    lut = sum(block_resources(block).lut for block in blocks)
    layers = {
        name: _layer_plan(LoneBlock(rtl, block), board, clock_mhz) for name, block in apart.items()
    }
    return Plan(board, clock_mhz, files, instances, lut, layers=layers)


def checkpoint_of(layer: str) -> str:
    """Where a plan's steps look for the netlist of a layer that was synthesised by itself."""
    return f"layers/{layer}.dcp"


def _with_stubs(
    sources: dict[str, bytes], blocks: tuple[Block, ...], apart: dict[str, Block], port_bits: int
) -> dict[str, bytes]:
    """The sources of a design in which these blocks are no more than their ports."""
    within = {memory.file for block in apart.values() for memory in block.memories}
    top = top_level(blocks, port_bits, {name: module_of(name) for name in apart})
    stubs = "".join(stub(block) for block in apart.values())
    kept = {name: data for name, data in sources.items() if name not in within}
    return {"layer_stubs.v": stubs.encode(), **kept, f"{TOP}.sv": top.encode()}


def _layer_plan(lone: LoneBlock, board: Board, clock_mhz: float) -> Plan:
    """One layer by itself, out of context."""
    block = lone.block
    top = module_of(block.name)
    sources = {name: (lone.rtl_folder / name).read_bytes() for name in lone.sources}
    sources[f"{top}.v"] = whole(block).encode()
    memories = {memory.file: memory.text.encode() for memory in block.memories}
    script = scripts.layer_synthesis(board.part, list(sources), list(memories), top)
    step = Step("layer", f"synthesis of {block.name}", (scripts.LAYER_CHECKPOINT,))
    files = {f"{scripts.RTL}/{name}": data for name, data in {**sources, **memories}.items()}
    files |= {
        step.script: script.encode(),
        scripts.LAYER_CLOCK: scripts.layer_clock(clock_mhz).encode(),
    }
    return Plan(board, clock_mhz, files, {}, block_resources(block).lut, steps=(step,))


def rtl_files(rtl: Path, port_bits: int) -> dict[str, bytes]:
    """The wrapper, the accelerator's sources in order of use, and its memory files.

    Raises:
        UserError: one is missing.
    """
    listed = rtl / "files.f"
    names = listed.read_text().split() if listed.is_file() else []
    missing = [name for name in names if not (rtl / name).is_file()]
    if missing or not names:
        raise UserError(
            "the RTL is not whole",
            where=str(rtl),
            found=f"no {missing[0] if missing else 'files.f'}",
            fix="make it again: python -m hw_build.flow run RUN",
        )
    names += sorted(path.name for path in rtl.glob("*.mem"))
    files = {name: (rtl / name).read_bytes() for name in names}
    return {**files, f"{WRAPPER}.v": wrapper(port_bits).encode()}
