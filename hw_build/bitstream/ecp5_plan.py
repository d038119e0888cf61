"""The plan of an ECP5's bitstream as pure data: every file, and every call of Yosys and nextpnr.

The board has nothing but a clock and a UART, so what is built is `uart_accelerator`: the bridge of
docs/ecp5.md around the accelerator of every other board.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.durable import digest_of
from deploy.uart import BAUD

from ..blocks import Block, writable_memories
from ..boards import Board
from ..ecp5 import SCRIPT
from ..emit import RTL_FOLDER
from ..lone_block import LEAVES, copies_of, reading
from .ip_wrapper import WRAPPER
from .plan import Plan, Step, rtl_files

TOP, CORE = "uart_accelerator", "core"
"""The top module, and the accelerator's instance in it."""

UART_FOLDER = RTL_FOLDER / "uart"
UART_MODULES = ("power_on_reset", "uart_rx", "uart_tx", "uart_bridge", TOP)
"""The files of `rtl/uart/`, in order of use."""

BLOCK_RAM = Path(__file__).with_name("dp16kd.v")
SEEDS = (1, 2, 3)
"""Of placements: the fastest is taken."""

BESIDE = {"transfer": "the end of a transfer", "registers": "the registers"}
"""Instances of the accelerator beside its blocks."""

NETLIST, REPORT, BITSTREAM = "netlist.v", "report.json", "accelerator.bit"
MAPPED, CONFIGURATION, LPF = "mapped.json", "routed.config", "board.lpf"

TO_VERILOG = f"""\
read_json {MAPPED}
delete =A:blackbox
read_verilog -D NO_INCLUDES +/ecp5/cells_sim.v
read_verilog -overwrite {BLOCK_RAM.name}
hierarchy -check -top {TOP}
proc
flatten
opt_expr -mux_bool
opt_merge
opt_clean -purge
write_verilog -noattr {NETLIST}
"""
"""The mapped cells as plain Verilog, by Yosys' own models of them, and ours of block RAM."""


@dataclass(frozen=True)
class Pins:
    """Sites of the package; `rx` is what the FPGA receives."""

    clk: str
    rx: str
    tx: str


@dataclass(frozen=True)
class Part:
    """What nextpnr calls the device of a board."""

    device: str
    package: str
    speed: str
    pins: Pins


PARTS = {"ecp5-85k": Part("85k", "CABGA381", "6", Pins(clk="G2", rx="M1", tx="L4"))}
"""ULX3S: the oscillator, and the FTDI chip behind USB port US1 (its TXD, its RXD)."""


@dataclass(frozen=True)
class Call(Step):
    """One run of a tool, on files of the plan and of earlier calls.

    Args:
        tool: "yosys", "nextpnr" or "ecppack".
        arguments: of its command line; of Yosys the script's text.
        takes: the names of the files that it reads.
    """

    tool: str
    arguments: tuple[str, ...]
    takes: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Ecp5Plan(Plan):
    """A plan with its calls: `routing` for each seed, one of whose results `packing` takes."""

    synthesis: Call
    netlist: Call
    routing: Mapping[int, Call]
    packing: Call

    @property
    def digest(self) -> str:
        """sha256 over the board, the clock, every file and every call."""
        calls = (self.synthesis, self.netlist, *self.routing.values(), self.packing)
        return digest_of({"plan": super().digest, "calls": [asdict(call) for call in calls]})


def make_ecp5_plan(
    rtl: Path, blocks: tuple[Block, ...], board: Board, clock_mhz: float
) -> Ecp5Plan:
    """The plan for the RTL that `emit` wrote into `rtl`.

    Raises:
        UserError: a file of the RTL is missing.
    """
    files = {n: data for n, data in rtl_files(rtl, board.dma_bits).items() if n != f"{WRAPPER}.v"}
    sources = [name for name in files if name.endswith(".sv")]
    for module in UART_MODULES:
        files[f"{module}.sv"] = (UART_FOLDER / f"{module}.sv").read_bytes()
        sources.append(f"{module}.sv")
    part = PARTS[board.name]
    texts = {LPF: pin_constraints(part.pins, clock_mhz), BLOCK_RAM.name: BLOCK_RAM.read_text()}
    read = reading(
        " ".join(sources),
        TOP,
        f"chparam -set DIVIDER {divider_of(clock_mhz)} {TOP}",
        writable=bool(writable_memories(blocks)),
    )
    script = SCRIPT.format(reading=read, top=TOP, leaves=copies_of(LEAVES))
    device = (f"--{part.device}", "--package", part.package, "--speed", part.speed)
    names = ("--json", MAPPED, "--lpf", LPF, "--textcfg", CONFIGURATION, "--report", REPORT)
    routing = {
        seed: Call(
            name=f"routing_{seed}",
            title=f"placement and routing by nextpnr, seed {seed}",
            makes=(CONFIGURATION, REPORT),
            tool="nextpnr",
            arguments=(*device, *names, "--seed", str(seed), "--timing-allow-fail", "-q"),
            takes=(MAPPED, LPF),
        )
        for seed in SEEDS
    }
    return Ecp5Plan(
        board,
        clock_mhz,
        {**files, **{name: text.encode() for name, text in texts.items()}},
        {f"{block.name}_{block.module}": block.name for block in blocks} | BESIDE,
        synthesis=Call(
            "synthesis", "synthesis by Yosys", (MAPPED,), "yosys", (script,), tuple(files)
        ),
        netlist=Call(
            *("netlist", "the netlist as Verilog", (NETLIST,), "yosys"),
            *((TO_VERILOG,), (MAPPED, BLOCK_RAM.name)),
        ),
        routing=routing,
        packing=Call(
            *("packing", "bitstream by ecppack", (BITSTREAM,), "ecppack"),
            ("--compress", "--input", CONFIGURATION, "--bit", BITSTREAM),
            (CONFIGURATION,),
        ),
    )


def divider_of(clock_mhz: float) -> int:
    """Cycles of a bit on the UART: at 25 MHz exactly 25."""
    return round(clock_mhz * 1e6 / BAUD)


def pin_constraints(pins: Pins, clock_mhz: float) -> str:
    """Where the top's ports are, for nextpnr, and how fast the clock is."""
    lines = [f'FREQUENCY PORT "clk" {clock_mhz:g} MHZ;']
    for port, kind in (("clk", "PULLMODE=NONE"), ("rx", "PULLMODE=UP"), ("tx", "DRIVE=4")):
        lines.append(f'LOCATE COMP "{port}" SITE "{getattr(pins, port)}";')
        lines.append(f'IOBUF PORT "{port}" {kind} IO_TYPE=LVCMOS33;')
    return "\n".join(lines) + "\n"
