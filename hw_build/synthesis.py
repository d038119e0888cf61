"""Synthesis of every block by itself with Yosys for 7-series: LUTs, registers, memories, depth.

Every figure from here is of the kind "synthesised (not placed)". Blocks are synthesised out of
context, each from its modules, parameters and memory contents alone (of block RAM, only its shape),
and kept in the store under a key over just these: after an edit of one layer, only that layer is
synthesised again.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.durable import digest_of, sha256_of
from deploy.errors import MachineError
from deploy.registers import identity_words
from deploy.store import Store

from . import lut_rom, netlist
from .blocks import Block, Memory, ports, writable_memories
from .lone_block import ADDERS, LEAVES, LoneBlock, copies_of
from .lut_rom import map_deep_roms, write_lut_rom
from .yosys import run_yosys, yosys_version

KIND = "synthesised (not placed)"
NETLIST = "netlist.json"
RESULT = "synthesised.json"

SCRIPT = """\
{reading}\
setattr -mod -set keep_hierarchy 1 {kept}
# the library without cells_xtra.v: nothing in there is mapped to, and it takes long to read
read_verilog -lib -specify +/xilinx/cells_sim.v
# ROM in logic at once: later, Yosys would move registers from its address to its data
proc
{without_names}\
{roms}\
memory_map -rom-only -attr rom_style=logic
synth_xilinx -family {family} {options} -run prepare:map_memory
{memories}\
synth_xilinx -family {family} {options} -run map_ffram:fine
setattr -mod -unset keep_hierarchy {adders}
flatten
synth_xilinx -family {family} {options} -run fine:map_luts
opt_expr -mux_undef -noclkinv
# every LUT costs one: synth_xilinx itself prices a LUT2 at 2/5 of a LUT6. No wide multiplexers:
# ABC would take them for single LUTs that are as fast.
abc -luts 6:1
clean
{constants}\
xilinx_srl -fixed -minlen 3
techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6
xilinx_dffopt
opt_lut_ins -tech xilinx
setattr -mod -unset keep_hierarchy *
flatten
opt_merge -share_all
clean -purge
blackbox =A:whitebox
select {top}
write_json -noscopeinfo -selected {netlist}
"""
"""`synth_xilinx` with a LUT mapping of our own in place of its last but one step."""

CONSTANTS = """\
setattr -mod -unset keep_hierarchy *
flatten
opt_lut
opt_expr
opt_merge
opt_lut
clean
"""
"""Weights that are constants reach into what was kept whole, which takes longer."""

WITHOUT_NAMES = """\
flatten
opt_clean -purge
"""
"""A unit's lanes and rows name thousands of wires, which every later pass would walk over."""

OPTIONS = "-flatten -noiopad -noclkbuf -nodsp"
MEMORIES = """\
memory_libmap -lib +/xilinx/lutrams_xc5v.txt{block_memory}
techmap -map +/xilinx/lutrams_xc5v_map.v
setparam -unset INIT t:$__XILINX_BLOCKRAM_*
"""
BLOCK_MEMORY = """\
 -lib +/xilinx/brams_xc4v.txt \
-D HAS_SIZE_36 -D HAS_CASCADE -D HAS_CONFLICT_BUG -D HAS_MIXWIDTH_SDP"""
"""`synth_xilinx` of 7-series would go on to make RAMB36E1 of the block RAMs that are chosen here,
which takes seconds for each one and changes no figure."""


@dataclass(frozen=True)
class Synthesised:
    """Cells of a block by the counting rules of `netlist`, and its deepest path.

    `depth` is the number of LUTs on the longest path between registers, memories or ports of the
    block, `chains` the number of carry cells on it.
    """

    lut: int
    ff: int
    bram36: float
    dsp: int
    depth: int
    chains: int


def with_port_blocks(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks, and those beside the pipeline: the end of a transfer, and the registers.

    The registers are synthesised with an identity that is no build's, so that they are found again
    for every other one.
    """
    _, last = ports(blocks)
    end = Block("transfer_end", "transfer", (last,), (last,), {"BEATS": last.beats}, 0)
    parameters = {
        "IDENTITY_FILE": "registers.mem",
        "OUTPUT_BEATS": last.beats,
        "WRITABLE": int(bool(writable_memories(blocks))),
    }
    identity = Memory("registers.mem", 32, identity_words(digest_of("any build")))
    registers = Block("axi_lite_registers", "registers", (), (), parameters, 0, (identity,))
    return (*blocks, end, registers)


def synthesise(
    rtl_folder: Path,
    blocks: tuple[Block, ...],
    family: str = "xc7",
    store: Store | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Synthesised]:
    """Synthesised figures by block name; "transfer" is the transfer_end of the top level.

    Args:
        rtl_folder: what `emit` wrote for these blocks.
        family: Yosys' name of the device family; the counting rules are those of xc7.
        store: where results are kept; the default store if None.
        progress: takes how many blocks are done, and how many there are, as each one is done.

    Raises:
        MachineError: Yosys is not installed, or fails.
    """
    store = store or Store()
    work = with_port_blocks(blocks)
    done = itertools.count(1)

    def one(block: Block) -> Synthesised:
        found = synthesise_block(rtl_folder, block, family, store)
        if progress is not None:
            progress(next(done), len(work))
        return found

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(zip([block.name for block in work], pool.map(one, work), strict=True))


def synthesise_block(rtl_folder: Path, block: Block, family: str, store: Store) -> Synthesised:
    """One block's figures, from the store or from Yosys."""
    lone = LoneBlock(rtl_folder, block)
    key = {
        "files": lone.digests,
        "script": [synthesis_script(lone, family), lut_rom.LIBRARY, lut_rom.CONSTANTS],
        "counted by": sha256_of(Path(netlist.__file__)),
        "yosys": yosys_version(),
    }

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            try:
                found = map_block(rtl_folder, block, Path(work), family)
            except MachineError as error:
                where = f"synthesis of {block.name} ({block.module})"
                raise MachineError(
                    error.what, where=where, found=error.found, fix=error.fix
                ) from error
        (folder / RESULT).write_text(json.dumps(asdict(found)))

    entry = store.get_or_make("synthesised", key, make)
    return Synthesised(**json.loads((entry / RESULT).read_text()))


def map_block(rtl_folder: Path, block: Block, work: Path, family: str = "xc7") -> Synthesised:
    """Maps one block in the empty folder `work`, and leaves its netlist there as `NETLIST`."""
    lone = LoneBlock(rtl_folder, block)
    lone.copy_into(work)
    write_lut_rom(work)
    run_yosys(synthesis_script(lone, family), work)
    mapped = netlist.Netlist.read(work / NETLIST)
    depth = mapped.depth
    return Synthesised(mapped.lut, mapped.ff, mapped.bram36, mapped.dsp, depth.luts, depth.chains)


def synthesis_script(lone: LoneBlock, family: str) -> str:
    """What Yosys runs for a block."""
    return SCRIPT.format(
        reading=lone.reading,
        kept=copies_of(LEAVES + ADDERS),
        adders=copies_of(ADDERS),
        top=lone.block.module,
        family=family,
        options=OPTIONS,
        without_names=WITHOUT_NAMES if lone.block.module == "mvu" else "",
        roms=map_deep_roms(lone.block),
        memories=MEMORIES.format(
            block_memory=BLOCK_MEMORY if lone.block.parameters.get("BLOCK_MEMORY") else ""
        ),
        constants=CONSTANTS if lone.has_constant_weights else "",
        netlist=NETLIST,
    )
