"""Writes the hardware of a virtual board: .hwh and .bit files for the real pynq to read.

The design is that of the accelerator on any board: the processing system, the mover (an AXI DMA, or
FINN's two IODMA blocks) and, with an AXI DMA, the accelerator's registers. The .bit file holds the
build's identity where a real one holds configuration data.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from deploy.bitstream import make_header
from deploy.boards import BoardFacts
from deploy.bundle import BITSTREAM, HANDOFF
from deploy.registers import ADDRESS_RANGE, REGISTERS

ACCELERATOR, DMA = "accelerator_0", "axi_dma_0"
IDMA, ODMA = "idma0", "odma0"
_AXI = "xilinx.com:interface:aximm:1.0"


@dataclass(frozen=True)
class Block:
    """An addressable block: its place, its type (vendor:library:name:version), its parameters."""

    name: str
    base: int
    size: int
    vlnv: str
    parameters: dict[str, str] = field(default_factory=dict)
    registers: tuple[tuple[str, int, str], ...] = ()


_DMA_PARAMETERS = {
    "c_include_mm2s": "1",
    "c_include_s2mm": "1",
    "c_include_sg": "0",
    "c_micro_dma": "0",
    "c_sg_length_width": "26",
    "c_m_axi_mm2s_data_width": "64",
    "c_m_axi_s2mm_data_width": "64",
    "c_include_mm2s_dre": "0",
    "c_include_s2mm_dre": "0",
}


def blocks_of(mover: str, facts: BoardFacts) -> tuple[Block, ...]:
    """The blocks of a design with this mover, at this family's addresses."""
    base = 0x40000000 if facts.is_zynq7 else 0xA0000000
    if mover == "axi_dma":
        registers = tuple((r.name, r.offset, r.access) for r in REGISTERS)
        vlnv = "narrowgauge:rtl:accelerator:1.0"
        dma = Block(DMA, base, 0x10000, "xilinx.com:ip:axi_dma:7.1", _DMA_PARAMETERS)
        own = Block(ACCELERATOR, base + 0x10000, ADDRESS_RANGE, vlnv, registers=registers)
        return dma, own
    vlnv = "xilinx_finn:finn:StreamingDataflowPartition:1.0"
    return tuple(
        Block(name, base + 0x10000 * i, 0x10000, vlnv) for i, name in enumerate((IDMA, ODMA))
    )


def write_hardware(folder: Path, mover: str, facts: BoardFacts, identity: str) -> None:
    """Writes accelerator.bit and accelerator.hwh into `folder`."""
    hwh = ElementTree.tostring(_system(blocks_of(mover, facts), facts), encoding="unicode")
    (folder / Path(HANDOFF).name).write_text('<?xml version="1.0" encoding="UTF-8"?>\n' + hwh)
    data = make_header("accelerator;UserID=0XFFFFFFFF", facts.part, identity.encode())
    (folder / Path(BITSTREAM).name).write_bytes(data)


def _system(blocks: tuple[Block, ...], facts: BoardFacts) -> ElementTree.Element:
    device, _, package = facts.part.removeprefix("xc").partition("-")
    if facts.is_zynq7:
        device, package = device[:5], device[5:]
    root = ElementTree.Element("EDKSYSTEM", EDWVERSION="1.2", VIVADOVERSION="2022.2")
    family = "zynq" if facts.is_zynq7 else "zynquplus"
    names = {"ARCH": family, "DEVICE": device, "NAME": "accelerator", "PACKAGE": package}
    _add(root, "SYSTEMINFO", **names, SPEEDGRADE="-1")
    _add(root, "EXTERNALPORTS")
    _add(root, "EXTERNALINTERFACES")
    modules = _add(root, "MODULES")
    _processor(modules, blocks, facts)
    for block in blocks:
        _module(modules, block)
    return root


def _processor(modules: ElementTree.Element, blocks: tuple[Block, ...], facts: BoardFacts) -> None:
    if facts.is_zynq7:
        kind, version, master = "processing_system7", "5.5", "M_AXI_GP0"
    else:
        kind, version, master = "zynq_ultra_ps_e", "3.5", "M_AXI_HPM0_FPD"
    module = _instance(modules, "ps", kind, f"xilinx.com:ip:{kind}:{version}", IS_PL="FALSE")
    parameters = _add(module, "PARAMETERS")
    for clock in range(4):
        for name, value in _clock(clock, facts).items():
            _add(parameters, "PARAMETER", NAME=name, VALUE=value)
    _add(module, "PORTS")
    buses = _add(module, "BUSINTERFACES")
    bus = {"BUSNAME": "control", "DATAWIDTH": "32", "VLNV": _AXI}
    _add(buses, "BUSINTERFACE", NAME=master, TYPE="MASTER", **bus)
    memory_map = _add(module, "MEMORYMAP")
    for block in blocks:
        _add(
            memory_map,
            "MEMRANGE",
            ADDRESSBLOCK="Reg",
            BASENAME="C_BASEADDR",
            BASEVALUE=f"{block.base:#010x}",
            HIGHNAME="C_HIGHADDR",
            HIGHVALUE=f"{block.base + block.size - 1:#010x}",
            INSTANCE=block.name,
            IS_DATA="TRUE",
            IS_INSTRUCTION="TRUE",
            MASTERBUSINTERFACE=master,
            MEMTYPE="REGISTER",
            SLAVEBUSINTERFACE="s_axi_control",
        )


def _clock(i: int, facts: BoardFacts) -> dict[str, str]:
    """A PL clock at the 100 MHz that boards start with; clock 0 alone is enabled."""
    enabled = str(int(i == 0))
    if facts.is_zynq7:
        return {
            f"PCW_FPGA_FCLK{i}_ENABLE": enabled,
            f"PCW_FCLK_CLK{i}_BUF": "TRUE",
            f"PCW_FPGA{i}_PERIPHERAL_FREQMHZ": "100",
            f"PCW_ACT_FPGA{i}_PERIPHERAL_FREQMHZ": "100.0",
            f"PCW_FCLK{i}_PERIPHERAL_DIVISOR0": "5",
            f"PCW_FCLK{i}_PERIPHERAL_DIVISOR1": "2",
            f"PCW_FCLK{i}_PERIPHERAL_CLKSRC": "IO PLL",
        }
    reference = f"PSU__CRL_APB__PL{i}_REF_CTRL"
    return {
        f"PSU__FPGA_PL{i}_ENABLE": enabled,
        f"{reference}__FREQMHZ": "100",
        f"{reference}__ACT_FREQMHZ": "100.0",
        f"{reference}__DIVISOR0": "15",
        f"{reference}__DIVISOR1": "1",
        f"{reference}__SRCSEL": "IOPLL",
    }


def _module(modules: ElementTree.Element, block: Block) -> None:
    module = _instance(modules, block.name, block.vlnv.split(":")[2], block.vlnv)
    if block.registers:
        spaces = _add(module, "ADDRESSBLOCKS")
        space = _add(
            spaces,
            "ADDRESSBLOCK",
            ACCESS="read-write",
            INTERFACE="s_axi_control",
            NAME="Reg",
            RANGE=str(block.size),
            USAGE="register",
        )
        registers = _add(space, "REGISTERS")
        for name, offset, access in block.registers:
            register = _add(registers, "REGISTER", NAME=name)
            values = {
                "DESCRIPTION": name,
                "ADDRESS_OFFSET": hex(offset),
                "SIZE": "32",
                "ACCESS": "read-only" if access == "ro" else "read-write",
                "IS_ENABLED": "true",
            }
            for key, value in values.items():
                _add(register, "PROPERTY", NAME=key, VALUE=value)
    parameters = _add(module, "PARAMETERS")
    for name, value in block.parameters.items():
        _add(parameters, "PARAMETER", NAME=name, VALUE=value)
    _add(module, "PORTS")
    bus = {"BUSNAME": "control", "DATAWIDTH": "32", "VLNV": _AXI}
    buses = _add(module, "BUSINTERFACES")
    _add(buses, "BUSINTERFACE", NAME="s_axi_control", TYPE="SLAVE", **bus)


def _instance(
    modules: ElementTree.Element, name: str, kind: str, vlnv: str, **more: str
) -> ElementTree.Element:
    return _add(
        modules,
        "MODULE",
        FULLNAME=f"/{name}",
        HWVERSION="1.0",
        INSTANCE=name,
        IPTYPE="PERIPHERAL",
        IS_ENABLE="1",
        MODCLASS="PERIPHERAL",
        MODTYPE=kind,
        VLNV=vlnv,
        **more,
    )


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)
