"""The clock that nextpnr reaches for a block on a Lattice ECP5: timing evidence without Vivado.

Yosys and nextpnr place and route the same sources on an LFE5U-85F, speed grade 6, package
CABGA756, each block by itself. Slower silicon than a Zynq's, and LUTs of four inputs: what closes
here closes there. The figure is the fastest clock between registers of the block; paths to and
from its ports lead to pins here, to a neighbour's logic in an accelerator, and are left out.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.store import Store

from .blocks import Block
from .lone_block import LEAVES, LoneBlock, copies_of
from .yosys import nextpnr_ecp5_version, run_nextpnr_ecp5, run_yosys, yosys_version

KIND = "placed and routed by nextpnr for ECP5-85k, speed grade 6"
RESULT = "clock.json"

SCRIPT = """\
{reading}\
setattr -mod -set keep_hierarchy 1 {leaves}
synth_ecp5 -top {top}
setattr -mod -unset keep_hierarchy *
flatten
clean
write_json mapped.json
"""


@dataclass(frozen=True)
class Routed:
    """The clock in MHz, and what the block takes of the device: LUT4 sites and registers."""

    clock_mhz: float
    lut4: int
    ff: int


def clock_of_block(rtl_folder: Path, block: Block, seed: int, store: Store | None = None) -> Routed:
    """Place and route for one seed, from the store or by nextpnr; minutes for thousands of LUTs.

    Raises:
        MachineError: Yosys or nextpnr is not installed, or fails.
    """
    lone = LoneBlock(rtl_folder, block)
    script = SCRIPT.format(reading=lone.reading, top=block.module, leaves=copies_of(LEAVES))
    arguments = ["--85k", "--package", "CABGA756", "--seed", str(seed), "--freq", "200"]
    arguments += ["--timing-allow-fail", "--json", "mapped.json", "--report", "report.json", "-q"]
    key = {
        "files": lone.digests,
        "script": script,
        "arguments": arguments,
        "tools": [yosys_version(), nextpnr_ecp5_version()],
    }

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            lone.copy_into(work)
            run_yosys(script, work)
            run_nextpnr_ecp5(arguments, work)
            report = json.loads((work / "report.json").read_text())
        (clock,) = report["fmax"].values()
        used = {name: site["used"] for name, site in report["utilization"].items()}
        routed = Routed(clock["achieved"], used["TRELLIS_COMB"], used["TRELLIS_FF"])
        (folder / RESULT).write_text(json.dumps(asdict(routed)))

    entry = (store or Store()).get_or_make("clocked", key, make)
    return Routed(**json.loads((entry / RESULT).read_text()))
