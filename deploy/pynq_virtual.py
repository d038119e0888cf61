"""A virtual board: a device that the real, unmodified pynq takes for a Zynq with its logic.

`virtual_board` makes it pynq's active device; then any user of pynq runs on it: `Overlay`,
`allocate`, `MMIO`, `Clocks`, `pynq.lib.dma`, `pynq.pmbus`.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pynq
import pynq.lib.dma
import pynq.pmbus
import pynq.ps
from pynq.pl_server.device import Device
from pynq.pl_server.embedded_device import Metadata, RuntimeMetadataParser

from deploy.bitstream import header_of, require_part
from deploy.boards import BoardFacts, facts_of
from deploy.errors import MachineError, UserError
from deploy.executors import GOLDEN, RTL, Executor
from deploy.handoff import ACCELERATOR, DMA, IDMA, ODMA, write_hardware
from deploy.manifest import Manifest
from deploy.pynq_virtual_memory import LiveWords, VirtualMemory
from deploy.virtual_blocks import AxiDma, Faults, FinnPair, Logic, RegisterBlock

_ZYNQ7_CLOCKS, _ZYNQ7_REGISTERS = (
    0xF8000000,
    {
        # PLLs at 26, 21 and 20 times 50 MHz; PL clocks at IO PLL / 5 / 2 = 100 MHz
        0x100: 26 << 12,
        0x104: 21 << 12,
        0x108: 20 << 12,
        0x120: 0x1F000200,
        **dict.fromkeys((0x170, 0x180, 0x190, 0x1A0), 0x00200500),
    },
)
_ZYNQMP_CLOCKS, _ZYNQMP_REGISTERS = (
    0xFF5E0000,
    {
        # IO and R PLL at 33.3 MHz * 90 / 2; PL clocks at that / 15 = 100 MHz
        **dict.fromkeys((0x20, 0x30), 90 << 8 | 1 << 16),
        **dict.fromkeys((0xC0, 0xC4, 0xC8, 0xCC), 0x01010F00),
    },
)
_ZYNQ7_DIVIDERS = {_ZYNQ7_CLOCKS + offset for offset in (0x170, 0x180, 0x190, 0x1A0)}
_ZYNQMP_DIVIDERS = {_ZYNQMP_CLOCKS + offset for offset in (0xC0, 0xC4, 0xC8, 0xCC)}
_IDLE_WATTS, _BUSY_WATTS = 1.0, 1.25


class VirtualDevice(Device):
    """The board. `source` is that of its executor: no figure of it is a measurement.

    Args:
        facts: which board.
        manifest: the accelerator's streams.
        executor: what computes.
        faults: what is planted.
        contiguous_mb: contiguous memory, by default the board's.
        before: what the bitstream computes that was loaded before; needed by a stale one alone.
    """

    _probe_priority_ = 10

    @classmethod
    def _probe_(cls) -> list[Device]:
        return []  # it never offers itself: `virtual_board` makes it the active device

    def __init__(
        self,
        facts: BoardFacts,
        manifest: Manifest,
        executor: Executor,
        faults: Faults,
        contiguous_mb: float | None = None,
        before: Executor | None = None,
    ) -> None:
        if executor.source not in (RTL, GOLDEN):
            raise UserError(
                "what computes behind a virtual board is no board",
                found=f"an executor whose source is {executor.source!r}",
                expected=f"{RTL} or {GOLDEN}",
            )
        super().__init__(f"virtual_{facts.name}")
        self.name, self.arch, self.facts = facts.name, facts.arch, facts
        self.capabilities = {"MEMORY_MAPPED": True}
        self.source = executor.source
        self._manifest, self._faults = manifest, faults
        stale = before if faults.stale_bitstream else None
        self._executor = executor if stale is None else stale
        nobody = faults.stale_bitstream and before is None
        self._identity = "0" * 64 if nobody else self._executor.identity
        room = facts.contiguous_mb if contiguous_mb is None else contiguous_mb
        self.default_memory = VirtualMemory(self, int(room * (1 << 20)))
        self._blocks: dict[tuple[int, int], Any] = {}
        base, values = (
            (_ZYNQ7_CLOCKS, _ZYNQ7_REGISTERS)
            if facts.is_zynq7
            else (_ZYNQMP_CLOCKS, _ZYNQMP_REGISTERS)
        )
        self._words = {base + offset: value for offset, value in values.items()}
        self.logic: Logic | None = None

    # ---- what pynq asks of a device ----

    def get_memory(self, description: Any) -> VirtualMemory:
        return self.default_memory

    def mmap(self, base_addr: int, length: int) -> LiveWords:
        return LiveWords(-(-length // 4), base_addr, self._read, self._write)

    def flush(self, block: Any, offset: int, vaddr: int, nbytes: int) -> None:
        block.logic[offset : offset + nbytes] = block.host[offset : offset + nbytes]

    def invalidate(self, block: Any, offset: int, vaddr: int, nbytes: int) -> None:
        block.written = False
        block.host[offset : offset + nbytes] = block.logic[offset : offset + nbytes]

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        parser = RuntimeMetadataParser(Metadata(input=str(Path(bitfile_name).with_suffix(".hwh"))))
        if self.facts.is_zynq7:
            # pynqmetadata looks for a ZynqMP's parameter names alone.
            for clock in parser.clock_dict.values():
                clock["frequency"] = clock.get("frequency") or 100.0
        return parser

    def gen_cache(self, bitstream: Any, parser: Any = None) -> None:
        """There is no server to cache for."""

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Loads a .bit file: its part must be this board's; its data is the build's identity."""
        data = Path(bitstream.bitfile_name).read_bytes()
        require_part(header_of(data, bitstream.bitfile_name)["b"], self.facts.part, self.name)
        parser = parser or self.get_bitfile_metadata(bitstream.bitfile_name)
        if not (self._faults.stale_bitstream and self.logic is not None):
            self._load(parser.ip_dict)
        super().post_download(bitstream, parser, self.name)

    def close(self) -> None:
        """pynq's Overlay.free comes here."""

    # ---- the logic ----

    def _load(self, ip: Any) -> None:
        manifest = self._manifest
        self._executor.reset()
        self.logic = Logic(
            self._executor, self._identity, manifest.input, manifest.output, self._faults
        )
        models: dict[str, Any] = {}
        if manifest.mover == "axi_dma":
            models[ACCELERATOR] = RegisterBlock(self.logic)
            models[DMA] = AxiDma(self.logic, models[ACCELERATOR], self.default_memory)
            kinds = {"accelerator": ACCELERATOR, "axi_dma": DMA}
            place = {name: kinds.get(str(e["type"]).split(":")[2]) for name, e in ip.items()}
        else:
            pair = FinnPair(self.logic, self.default_memory, IDMA, ODMA)
            models = {IDMA: pair.idma, ODMA: pair.odma}
            place = {name: name.split("/")[-1] for name in ip}
        self._blocks = {
            (entry["phys_addr"], entry["phys_addr"] + entry["addr_range"]): models[place[name]]
            for name, entry in ip.items()
            if place[name] in models
        }

    def _block_at(self, address: int) -> tuple[Any, int]:
        for (first, end), block in self._blocks.items():
            if first <= address < end:
                return block, address - first
        return None, 0

    def _read(self, address: int) -> int:
        block, offset = self._block_at(address)
        return self._words.get(address, 0) if block is None else block.read(offset)

    def _write(self, address: int, value: int) -> None:
        block, offset = self._block_at(address)
        if block is not None:
            block.write(offset, value)
        elif not (self._faults.stuck_clock and address in _ZYNQ7_DIVIDERS | _ZYNQMP_DIVIDERS):
            self._words[address] = value


@contextmanager
def virtual_board(
    name: str,
    manifest: Manifest,
    executor: Executor,
    *,
    faults: Faults | None = None,
    contiguous_mb: float | None = None,
    part: str | None = None,
    before: Executor | None = None,
) -> Iterator[Path]:
    """Makes a virtual board pynq's active device; yields a folder with its .bit and .hwh.

    Args:
        name: one of `deploy.boards.BOARDS`.
        manifest: of the accelerator.
        executor: what computes; closed by whoever opened it.
        faults: what is planted.
        contiguous_mb: contiguous memory, by default the board's.
        part: the part that the .bit file is for, by default the board's.
        before: what was loaded before, for `Faults.stale_bitstream`; by default the same network
            of another build.

    Raises:
        UserError: no such board.
        MachineError: this pynq doesn't support it.
    """
    facts = facts_of(name)
    if facts.is_zynq7 and int(pynq.__version__.split(".")[0]) >= 4:
        raise MachineError(
            "this pynq does not support the board",
            found=f"pynq {pynq.__version__} and {name}, a Zynq-7000",
            expected="pynq 3.x",
        )
    faults = faults or Faults()
    device = VirtualDevice(facts, manifest, executor, faults, contiguous_mb, before)
    names = ("_devices", "_active_device")
    before = {key: Device.__dict__[key] for key in names if key in Device.__dict__}
    architecture, sensors = pynq.ps.CPU_ARCH, pynq.pmbus._enumerate_sensors
    with tempfile.TemporaryDirectory(prefix="narrowgauge-board-") as folder:
        chosen = facts if part is None else replace(facts, part=part)
        write_hardware(Path(folder), manifest.mover, chosen, executor.identity)
        Device._devices, Device.active_device = [device], device
        pynq.ps.CPU_ARCH = facts.arch  # pynq 3.0 asks it for the family of the clocks
        pynq.pmbus._enumerate_sensors = lambda config_file=None: _rails(device)
        _forget_clocks(device)
        try:
            yield Path(folder)
            device.default_memory.check_read()
        finally:
            for key in names:
                if key in before:
                    setattr(Device, key, before[key])
                elif key in Device.__dict__:
                    delattr(Device, key)
            pynq.ps.CPU_ARCH, pynq.pmbus._enumerate_sensors = architecture, sensors
            _forget_clocks(None)


def _forget_clocks(device: Any) -> None:
    """pynq keeps the clocks' registers for the life of the process."""
    if "_real_instance" in pynq.ps.Clocks.__dict__:
        del pynq.ps.Clocks._real_instance
    pynq.ps.Clocks.device = device


class _Sensor:
    """A sensor as pynq.pmbus shows one: a power in watts that no hardware draws."""

    def __init__(self, name: str, device: VirtualDevice) -> None:
        self.name, self._device, self._seen = name, device, 0
        self.parents: tuple[Any, ...] = ()

    @property
    def value(self) -> float:
        done = 0 if self._device.logic is None else self._device.logic.n_transfers
        busy, self._seen = done != self._seen, done
        return _BUSY_WATTS if busy else _IDLE_WATTS

    def get_value(self, parents: Any = None) -> float:
        return self.value


def _rails(device: VirtualDevice) -> dict[str, Any]:
    rails = {}
    for name in device.facts.rails:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rails[name] = pynq.pmbus.Rail(name)
        rails[name].power = _Sensor(f"{name}_power", device)
    return rails
