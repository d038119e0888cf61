"""The plan of a build as pure data: every file that Vivado gets, and the steps in order.

Same RTL, board and clock, same plan, byte for byte; its digest and Vivado's version are the key
under which a bitstream is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.durable import digest_of
from deploy.errors import UserError

from ..blocks import Block
from ..boards import Board
from ..estimate import block_resources
from . import scripts
from .ip_wrapper import WRAPPER, wrapper


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
    """

    board: Board
    clock_mhz: float
    files: Mapping[str, bytes]
    instances: Mapping[str, str]
    lut: float = 0.0

    @property
    def digest(self) -> str:
        """sha256 over the board, the clock and every file."""
        files = {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}
        return digest_of({"board": self.board.name, "clock": self.clock_mhz, "files": files})

    def write(self, folder: Path) -> None:
        """Every file into `folder`, which is made if need be."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def make_plan(rtl: Path, blocks: tuple[Block, ...], board: Board, clock_mhz: float) -> Plan:
    """The plan for the RTL that `emit` wrote into `rtl`.

    Raises:
        UserError: a file of the RTL is missing.
    """
    sources = rtl_files(rtl, board.dma_bits)
    memories = [name for name in sources if name.endswith(".mem")]
    modules = [name for name in sources if name not in memories]
    texts = {
        "1_package": scripts.package_ip(board.part, modules, memories),
        "2_design": scripts.block_design(board, clock_mhz),
        "3_synthesis": scripts.synthesis(board.part),
        "4_placement": scripts.placement(),
        "5_routing": scripts.routing(),
        "6_bitstream": scripts.bitstream(),
    }
    files = {f"{scripts.RTL}/{name}": data for name, data in sources.items()}
    files |= {f"{name}.tcl": text.encode() for name, text in texts.items()}
    instances = {f"{block.name}_{block.module}": block.name for block in blocks}
    lut = sum(block_resources(block).lut for block in blocks)
    return Plan(board, clock_mhz, files, instances, lut)


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
