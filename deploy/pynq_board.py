"""A board under pynq, real or virtual: the loaded bitstream, its clock, memory and registers."""

from __future__ import annotations

import os
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bitstream import part_of, require_part
from deploy.board_image import board_name, image_version, require_board
from deploy.boards import facts_of
from deploy.errors import MachineError, UserError
from deploy.executors import BOARD, GOLDEN, RTL
from deploy.movers import AxiDmaMover, FinnIodmaMover, Mover
from deploy.registers import OFFSETS

CLOCK_STEPS = (1.0, 0.98, 0.96, 0.94, 0.92, 0.9)
"""Of the clock that was asked for: pynq takes the nearest that the dividers reach, which may be
above it, where the accelerator was never shown to work. Then a little less is asked for."""


class PynqBoard:
    """The active pynq device with a bitstream freshly loaded.

    Args:
        bit: the .bit file, its .hwh beside it.
        board, part: what the bitstream was built for.
        mover: "axi_dma" or "finn_iodma".

    Raises:
        MachineError: no pynq, no device, no root, a pynq that doesn't know the board.
        UserError: another part, or a design without the parts that the driver needs.
    """

    def __init__(self, bit: Path, board: str, part: str, mover: str) -> None:
        self._pynq = import_pynq()
        try:
            self.device = self._pynq.Device.active_device
        except RuntimeError as error:
            raise _no_device(str(error)) from error
        self.source = source_of(self.device)
        self.name = self.device.name
        if self.source == BOARD:
            named = board_name()
            require_board(named, board)
            self.name = named or "unknown"
        _require_version(self._pynq.__version__, board)
        require_part(part_of(bit), part, str(bit))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # clocks are read back instead
            try:
                self._overlay = self._pynq.Overlay(str(bit), download=True)
            except PermissionError as error:
                raise _no_root(str(error)) from error
            except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
                if "oot permission" in str(error):
                    raise _no_root(str(error)) from error
                raise MachineError(
                    "pynq can't load the bitstream", where=str(bit), found=str(error)[:300]
                ) from error
            self.mover = self._find_mover(mover, str(bit))
        self._registers = self._find_registers(str(bit)) if mover == "axi_dma" else None

    @property
    def versions(self) -> dict[str, str]:
        """Of Python, pynq, numpy, the kernel and the board's image."""
        return {
            "python": platform.python_version(),
            "pynq": str(self._pynq.__version__),
            "numpy": np.__version__,
            "kernel": os.uname().release,
            "machine": os.uname().machine,
            "image": image_version() if self.source == BOARD else "none",
        }

    @property
    def has_registers(self) -> bool:
        return self._registers is not None

    def read(self, register: str) -> int:
        """One of the accelerator's registers, by its name in `deploy.registers`."""
        return int(self._map.read(OFFSETS[register]))

    def write(self, register: str, value: int) -> None:
        self._map.write(OFFSETS[register], int(value))

    def dump(self) -> dict[str, int]:
        """All registers of the accelerator and the mover."""
        own = {name: self.read(name) for name in OFFSETS} if self._registers is not None else {}
        return {**own, **self.mover.dump()}

    def allocate(self, n_bytes: int) -> np.ndarray:
        """A contiguous cacheable uint8 buffer.

        Raises:
            MemoryError: there is not so much contiguous memory.
        """
        try:
            return self._pynq.allocate(shape=(n_bytes,), dtype=np.uint8, cacheable=1)
        except (RuntimeError, OSError) as error:
            raise MemoryError(str(error)) from error

    def set_clock(self, wanted_mhz: float) -> float:
        """Sets the accelerator's clock and returns what was achieved, in MHz, as read back.

        Raises:
            MachineError: it is above what was asked for, or more than 10 % below.
        """
        clocks, achieved = self._pynq.Clocks, 0.0
        for step in CLOCK_STEPS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    clocks.fclk0_mhz = wanted_mhz * step
                    achieved = float(clocks.fclk0_mhz)
                except (ValueError, ZeroDivisionError) as error:
                    raise _wrong_clock(wanted_mhz, f"pynq: {error}") from error
            if achieved <= wanted_mhz * 1.0001:
                break
        if not wanted_mhz * CLOCK_STEPS[-1] * 0.999 <= achieved <= wanted_mhz * 1.0001:
            raise _wrong_clock(wanted_mhz, f"{achieved:g} MHz, read back")
        return achieved

    def power_rails(self) -> dict[str, Any]:
        """The power sensors of the board's rails by name; empty where it has none."""
        import pynq.pmbus

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rails = pynq.pmbus.get_rails()
        return {name: rail.power for name, rail in rails.items() if rail.power is not None}

    @property
    def _map(self) -> Any:
        if self._registers is None:
            raise UserError("an accelerator built by FINN has no registers of ours")
        return self._registers

    def _mmio(self, name: str) -> Any:
        entry = self._overlay.ip_dict[name]
        return self._pynq.MMIO(entry["phys_addr"], entry["addr_range"], device=self.device)

    def _find_registers(self, where: str) -> Any:
        return self._mmio(self._only("accelerator", where))

    def _find_mover(self, kind: str, where: str) -> Mover:
        if kind == "axi_dma":
            driver: Any = self._overlay
            for part in self._only("axi_dma", where).split("/"):
                driver = getattr(driver, part)
            return AxiDmaMover(driver)
        names = sorted(self._overlay.ip_dict)
        ends = [[n for n in names if n.split("/")[-1].startswith(e)] for e in ("idma", "odma")]
        if not all(ends):
            raise _no_block("idma and odma", where, names)
        if len(ends[0]) > 1 or len(ends[1]) > 1:
            raise UserError(
                "the driver can't move data of several inputs or outputs",
                where=where,
                found=", ".join(ends[0] + ends[1]),
                expected="one idma and one odma block",
                fix="use FINN's own driver for such an accelerator",
            )
        return FinnIodmaMover(self._mmio(ends[0][0]), self._mmio(ends[1][0]))

    def _only(self, kind: str, where: str) -> str:
        """The name of the one block whose type (vendor:library:NAME:version) is `kind`."""
        blocks = {name: str(entry["type"]) for name, entry in self._overlay.ip_dict.items()}
        found = [name for name, type_ in blocks.items() if f":{kind}:" in type_]
        if len(found) != 1:
            raise _no_block(kind, where, sorted(blocks.values()))
        return found[0]


def source_of(device: Any) -> str:
    """Whether a pynq device is a board, or what computes behind a virtual one.

    Raises:
        MachineError: it is neither, as a card in a server or another machine's board.
    """
    from pynq.pl_server.embedded_device import EmbeddedDevice

    if isinstance(device, EmbeddedDevice):
        return BOARD
    source = getattr(device, "source", None)
    if source not in (RTL, GOLDEN):
        raise MachineError(
            "pynq's device is no board that this driver knows",
            found=f"{type(device).__name__} {getattr(device, 'name', '')}".strip(),
            expected="a Zynq board, by pynq's EmbeddedDevice",
            fix="run on the board itself, or with --host",
        )
    return source


def _no_block(kind: str, where: str, found: list[str]) -> UserError:
    return UserError(
        "the .hwh is not that of an accelerator of ours",
        where=where,
        found=", ".join(found)[:200] or "no addressable block",
        expected=f"one block of kind {kind}",
    )


def import_pynq() -> Any:
    """pynq, with its DMA driver; MachineError where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pynq
            import pynq.lib.dma  # registers the DMA's driver
        except ImportError as error:
            raise MachineError(
                "pynq can't be imported",
                found=str(error),
                fix="on a board, run in its pynq virtual environment: "
                ". /etc/profile.d/pynq_venv.sh; at home, make setup",
            ) from error
    return pynq


def _no_device(found: str) -> MachineError:
    xrt = os.environ.get("XILINX_XRT") or "not set"
    return MachineError(
        "pynq finds no device",
        found=f"{found}; XILINX_XRT is {xrt}; uid {os.getuid()}",
        expected="a PYNQ board, root, and XILINX_XRT",
        fix="on a board: sudo -i, . /etc/profile.d/pynq_venv.sh, . /etc/profile.d/xrt_setup.sh; "
        "at home: --board virtual:pynq_z2",
    )


def _no_root(found: str) -> MachineError:
    return MachineError(
        "loading a bitstream needs root", found=found, fix="run as root: sudo -i on the board"
    )


def _require_version(version: str, board: str) -> None:
    if int(version.split(".")[0]) >= 4 and facts_of(board).is_zynq7:
        raise MachineError(
            "this pynq does not support the board",
            found=f"pynq {version} and {board}, a Zynq-7000",
            expected="pynq 3.x",
            fix="use image 3.1 or earlier on this board: pip install pynq==3.1.2",
        )


def _wrong_clock(wanted_mhz: float, found: str) -> MachineError:
    return MachineError(
        "the accelerator's clock can't be set",
        found=found,
        expected=f"{wanted_mhz:g} MHz, or up to 10 % less",
        fix="build for a clock that the board's dividers reach: --clock-mhz",
    )
