"""What surrounds the accelerator on each family: the processing system, and where it is wired.

Everything that reaches the programmable logic is set here by name. Memory and pins of the
processor are not: the board's own boot image has configured them long before an overlay is loaded.
So a build needs no board files, and does not depend on those that happen to be installed.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.boards import facts_of

from ..boards import Board

PS = "ps"


@dataclass(frozen=True)
class System:
    """One family's processing system.

    Args:
        vlnv: its IP, without a version: the installed one.
        settings: its properties, but for the clock's.
        clock_setting: the property that takes the clock in MHz.
        clock, reset: its output pins.
        clock_inputs: its pins that take the clock.
        control: the master that reaches the registers.
        memory: the slave that reaches the memory.
        space: the address space of `control`.
        segment: the memory behind `memory`.
        unused: what else lies behind it, where the processor is set up for it: the DMA stays out.
        external: interfaces that leave the chip.
    """

    vlnv: str
    settings: dict[str, str]
    clock_setting: str
    clock: str
    reset: str
    clock_inputs: tuple[str, ...]
    control: str
    memory: str
    space: str
    segment: str
    unused: tuple[str, ...] = ()
    external: tuple[str, ...] = ()


ZYNQ7 = System(
    vlnv="xilinx.com:ip:processing_system7",
    settings={
        "CONFIG.PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "50",
        "CONFIG.PCW_USE_M_AXI_GP0": "1",
        "CONFIG.PCW_USE_S_AXI_HP0": "1",
        "CONFIG.PCW_S_AXI_HP0_DATA_WIDTH": "64",
        "CONFIG.PCW_EN_CLK0_PORT": "1",
        "CONFIG.PCW_EN_RST0_PORT": "1",
    },
    clock_setting="CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ",
    clock="FCLK_CLK0",
    reset="FCLK_RESET0_N",
    clock_inputs=("M_AXI_GP0_ACLK", "S_AXI_HP0_ACLK"),
    control="M_AXI_GP0",
    memory="S_AXI_HP0",
    space="Data",
    segment="S_AXI_HP0/HP0_DDR_LOWOCM",
    external=("DDR", "FIXED_IO"),
)
"""PYNQ-Z1 and PYNQ-Z2: both have an oscillator of 50 MHz."""

ZYNQ_ULTRASCALE = System(
    vlnv="xilinx.com:ip:zynq_ultra_ps_e",
    settings={
        "CONFIG.PSU__USE__M_AXI_GP0": "1",
        "CONFIG.PSU__USE__M_AXI_GP1": "0",
        "CONFIG.PSU__USE__M_AXI_GP2": "0",
        "CONFIG.PSU__USE__S_AXI_GP2": "1",
        "CONFIG.PSU__SAXIGP2__DATA_WIDTH": "128",
        "CONFIG.PSU__FPGA_PL0_ENABLE": "1",
        "CONFIG.PSU__USE__FABRIC__RST": "1",
    },
    clock_setting="CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
    clock="pl_clk0",
    reset="pl_resetn0",
    clock_inputs=("maxihpm0_fpd_aclk", "saxihp0_fpd_aclk"),
    control="M_AXI_HPM0_FPD",
    memory="S_AXI_HP0_FPD",
    space="Data",
    segment="SAXIGP2/HP0_DDR_LOW",
    unused=("SAXIGP2/HP0_DDR_HIGH", "SAXIGP2/HP0_LPS_OCM", "SAXIGP2/HP0_QSPI"),
)
"""GP0 and GP2 of the settings are the ports M_AXI_HPM0_FPD and S_AXI_HP0_FPD."""


def system_of(board: Board) -> System:
    """The processing system of a board."""
    return ZYNQ7 if facts_of(board.name).is_zynq7 else ZYNQ_ULTRASCALE
