"""The accelerator without a system around it: a folder for people with a design of their own."""

from __future__ import annotations

from pathlib import Path

from deploy.errors import UserError
from deploy.registers import ADDRESS_RANGE, OFFSETS
from deploy.run_directory import RunDirectory

from .. import graph_file
from ..blocks import memories_of
from ..boards import board_named
from ..emit import TOP, identity_of
from ..folded import load_blocks
from ..pipeline.folders import FOLDING, GRAPH, RTL
from . import CAVEAT, scripts
from .ip_wrapper import WRAPPER, instantiation
from .plan import rtl_files

README = """\
The accelerator of {run}: {ports}.

rtl/             SystemVerilog and memory files; `{wrapper}.v` names the interfaces for Vivado
files.f          the sources, each after those that it uses; top module `accelerator`
instance.v       a template: an instance of the accelerator
package_ip.tcl   makes a Vivado IP in ip/: vivado -mode batch -source package_ip.tcl
{weights}
{caveat}.

Clock `clk`; reset `resetn`, synchronous, active low.
s_axis           AXI4-Stream in, {bits} bits; tlast is not looked at
m_axis           AXI4-Stream out, {bits} bits; tlast on the last beat of as many frames as register
                 FRAMES says
s_axi_lite       AXI4-Lite, 32 bits, {size} bytes of registers; FRAMES has to be written before
                 the first frame where tlast is needed

$readmemh reads the memory files by their bare names: run simulators in rtl/, and add the files to
the project of a synthesis tool. A tool that does not find one leaves its memory empty.

identity  {identity}
"""

WEIGHTS = "weights.txt"
OF_WEIGHTS = """\
{weights}      what the host writes to s_axi_lite before the first frame, in this order: offset and
                 value, both hexadecimal. Until then the weights may be those of another network
"""


def write_ip(run: Path, out: Path) -> None:
    """Writes the folder `out` from a run's RTL.

    Raises:
        UserError: the run has no RTL, or it is for a board that Vivado doesn't know, or `out` is
            there and not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("the folder is not empty", where=str(out), fix="give a new one: --out")
    made_by = f"python -m hw_build.flow run {run} --until rtl"
    directory = RunDirectory(run)
    rtl = directory.stage(RTL, made_by=made_by)
    bits = directory.manifest(RTL, made_by=made_by)["config"]["port_bits"]
    board = board_named(directory.manifest(FOLDING, made_by=made_by)["config"]["board"])
    if not board.has_pynq:
        raise UserError(
            "an IP is packaged for Vivado, which knows no such part",
            found=f"{board.name}: {board.part}",
            fix=f"{made_by} --board pynq_z2; the RTL is the same",
        )
    files = rtl_files(rtl, bits)
    memories = [name for name in files if name.endswith(".mem")]
    modules = [name for name in files if name not in memories]
    (out / scripts.RTL).mkdir(parents=True)
    for name, data in files.items():
        (out / scripts.RTL / name).write_bytes(data)
    graph = graph_file.load(directory.stage(GRAPH, made_by=made_by)).graph
    blocks = load_blocks(directory.stage(FOLDING, made_by=made_by), graph, bits)
    writes: list[str] = []
    memories_of(blocks).write(lambda name, value: writes.append(f"{OFFSETS[name]:x} {value:x}\n"))
    first_line = files[f"{TOP}.sv"].decode().splitlines()[0]
    texts = {
        "files.f": "".join(f"{scripts.RTL}/{name}\n" for name in modules if name != f"{WRAPPER}.v"),
        "package_ip.tcl": scripts.package_ip(board.part, modules, memories),
        "instance.v": instantiation(bits),
        "README.txt": README.format(
            caveat=CAVEAT,
            run=run.name,
            ports=first_line.removeprefix("// ").rstrip("."),
            wrapper=WRAPPER,
            bits=bits,
            size=ADDRESS_RANGE,
            identity=identity_of(rtl),
            weights=OF_WEIGHTS.format(weights=WEIGHTS) if writes else "",
        ),
        **({WEIGHTS: "".join(writes)} if writes else {}),
    }
    for name, text in texts.items():
        (out / name).write_text(text)
