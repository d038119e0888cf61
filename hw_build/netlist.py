"""Reads a netlist of 7-series cells that Yosys mapped: counts its cells, finds its deepest path.

Rules of counting:
- LUT1 to LUT6 are one LUT each, so is INV (Vivado may absorb it), and a column of 64 words of ROM.
  No two are taken as a pair that shares one physical LUT6, so the figure after Vivado's packing is
  lower;
- LUT RAM counts the LUTs that it occupies (RAM32M and RAM64M four, RAM64X1D two, ...), a shift
  register SRL16E or SRLC32E one;
- FDRE, FDSE, FDCE and FDPE are one register each;
- a block RAM counts blocks of 36 kbit by its mode.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import MachineError

from . import lut_rom

LUTS_OF = {
    **{f"LUT{n}": 1 for n in range(1, 7)},
    "INV": 1,
    lut_rom.CELL: 1,
    "SRL16E": 1,
    "SRLC32E": 1,
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM128X1S": 2,
    "RAM256X1S": 4,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "RAM32M": 4,
    "RAM64M": 4,
}
REGISTERS = frozenset({"FDRE", "FDSE", "FDCE", "FDPE"})
BLOCK_RAMS = frozenset({"$__XILINX_BLOCKRAM_TDP_", "$__XILINX_BLOCKRAM_SDP_"})
"""What Yosys chooses block RAM as, before it becomes RAMB18E1 and RAMB36E1."""
BRAM36_OF = {"HALF": 0.5, "FULL": 1.0, "CASCADE": 2.0}
DSPS = frozenset({"DSP48E1"})
CHAINS = frozenset({"CARRY4", "MUXF7", "MUXF8"})
"""Hard cells beside the LUTs: no LUT, little delay."""

_CLOCKED_PORTS = frozenset({"CLK", "WCLK", "C", "CE", "WE", "D", "DI", "DIA", "DIB", "DIC", "DID"})
"""Inputs of LUT RAMs and shift registers that reach the output over a clock edge only."""


@dataclass(frozen=True, order=True)
class Depth:
    """The longest combinational path: LUTs on it first, then carry and wide-multiplexer cells."""

    luts: int = 0
    chains: int = 0


@dataclass(frozen=True)
class Netlist:
    """One flat module of mapped cells, as Yosys writes them: `type`, `parameters`, `connections`,
    `port_directions`."""

    cells: tuple[dict, ...]

    @classmethod
    def read(cls, file: Path) -> Netlist:
        """The top module of what `write_json` wrote; MachineError at a cell without a price."""
        modules = json.loads(file.read_text())["modules"].values()
        top = next(module for module in modules if "top" in module["attributes"])
        cells = tuple(top["cells"].values())
        known = {*LUTS_OF, *REGISTERS, *BLOCK_RAMS, *DSPS, *CHAINS, "GND", "VCC"}
        if unknown := {cell["type"] for cell in cells} - known:
            raise MachineError(
                "Yosys mapped to cells that have no price here",
                where=str(file),
                found=", ".join(sorted(unknown)),
                fix="use the Yosys of requirements.lock, or price them in hw_build/netlist.py",
            )
        return cls(cells)

    @property
    def counts(self) -> Counter[str]:
        """Number of cells of each type."""
        return Counter(cell["type"] for cell in self.cells)

    @property
    def lut(self) -> int:
        return sum(LUTS_OF.get(kind, 0) * n for kind, n in self.counts.items())

    @property
    def ff(self) -> int:
        return sum(n for kind, n in self.counts.items() if kind in REGISTERS)

    @property
    def bram36(self) -> float:
        blocks = [cell for cell in self.cells if cell["type"] in BLOCK_RAMS]
        return sum(BRAM36_OF[cell["parameters"]["OPTION_MODE"]] for cell in blocks)

    @property
    def dsp(self) -> int:
        return sum(n for kind, n in self.counts.items() if kind in DSPS)

    @property
    def depth(self) -> Depth:
        """The longest path among those that start and end at registers, memories or ports.

        Paths that go on in a neighbouring block, such as a ready that passes through, end here.
        """
        arcs = {net: (cost, inputs) for c in self.cells for net, cost, inputs in _arcs(c)}
        arrival: dict[int, Depth] = {}
        for root in arcs:
            waiting = [root]
            while waiting:
                net = waiting[-1]
                cost, inputs = arcs[net]
                ahead = [i for i in inputs if i in arcs and i not in arrival]
                if ahead:
                    if len(waiting) > len(arcs):
                        raise ValueError("the netlist has a combinational loop")
                    waiting.append(ahead[0])
                    continue
                latest = max((arrival.get(i, Depth()) for i in inputs), default=Depth())
                arrival[net] = Depth(latest.luts + cost.luts, latest.chains + cost.chains)
                waiting.pop()
        return max(arrival.values(), default=Depth())


def _arcs(cell: dict) -> Iterator[tuple[int, Depth, tuple[int, ...]]]:
    """(output net, cost, input nets that reach it without a clock edge) of a cell."""
    kind, wires = cell["type"], defaultdict(list, cell["connections"])
    if kind == "CARRY4":
        first = _nets(wires["CI"] + wires["CYINIT"])
        for bit in range(4):
            into_sum = first + _nets(wires["S"][: bit + 1] + wires["DI"][:bit])
            for net in _nets(wires["O"][bit : bit + 1]):
                yield net, Depth(0, 1), into_sum
            for net in _nets(wires["CO"][bit : bit + 1]):
                yield net, Depth(0, 1), into_sum + _nets(wires["DI"][bit : bit + 1])
    elif kind in LUTS_OF or kind in CHAINS:
        outputs = {port for port, way in cell["port_directions"].items() if way == "output"}
        asynchronous = set(wires) - outputs - (_CLOCKED_PORTS if kind[:3] in MEMORIES else set())
        inputs = tuple(net for port in asynchronous for net in _nets(wires[port]))
        cost = Depth(0, 1) if kind in CHAINS else Depth(1, 0)
        for port in outputs:
            for net in _nets(wires[port]):
                yield net, cost, inputs


MEMORIES = frozenset({"RAM", "SRL"})
"""How the names of LUT RAMs and shift registers begin."""


def _nets(bits: list) -> tuple[int, ...]:
    """Numbers of the nets among the bits of a connection; constants are strings."""
    return tuple(bit for bit in bits if isinstance(bit, int))
