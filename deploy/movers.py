"""What moves frames between memory and the accelerator: an AXI DMA, or FINN's two IODMA blocks.

A mover starts a transfer and never waits for it: the driver polls `done` against a deadline.
"""

from __future__ import annotations

from typing import Any, Protocol

from deploy.errors import MachineError


class Mover(Protocol):
    """`most_bytes` is the longest transfer that it can make."""

    most_bytes: int

    def start(self, source: Any, n_source: int, target: Any, n_target: int, frames: int) -> None:
        """Starts one transfer: `n_source` bytes of a buffer in, `n_target` bytes out."""
        ...

    def done(self) -> bool:
        """Whether both ends have finished; MachineError if one of them failed."""
        ...

    def finish(self) -> int:
        """After `done`: makes the output readable. Returns the bytes written."""
        ...

    def stop(self) -> None:
        """Gives up a transfer."""
        ...

    def dump(self) -> dict[str, int]:
        """The registers, by name."""
        ...


_DMA_REGISTERS = {
    "MM2S_DMACR": 0x00,
    "MM2S_DMASR": 0x04,
    "MM2S_SA": 0x18,
    "MM2S_LENGTH": 0x28,
    "S2MM_DMACR": 0x30,
    "S2MM_DMASR": 0x34,
    "S2MM_DA": 0x48,
    "S2MM_LENGTH": 0x58,
}
_STATUS = (("input", 0x04), ("output", 0x34))
_DMA_IDLE = 0x2
_DMA_ERRORS = {0x10: "internal error", 0x20: "slave error", 0x40: "decode error (stray address)"}

_IODMA_REGISTERS = {"AP_CTRL": 0x00, "ADDRESS": 0x10, "ADDRESS_HIGH": 0x14, "FRAMES": 0x1C}
_START, _DONE, _IDLE = 0x1, 0x2, 0x4


class AxiDmaMover:
    """The AXI DMA in simple mode, driven by `pynq.lib.dma.DMA`."""

    def __init__(self, dma: Any) -> None:
        self._dma = dma
        self.most_bytes = int(dma.buffer_max_size)

    def start(self, source: Any, n_source: int, target: Any, n_target: int, frames: int) -> None:
        try:
            # The receiver first: the accelerator may answer before the sender's call is back.
            self._dma.recvchannel.transfer(target, nbytes=n_target)
            self._dma.sendchannel.transfer(source, nbytes=n_source)  # flushes the buffer
        except (RuntimeError, ValueError) as error:
            raise MachineError(
                "the DMA takes no transfer",
                found=f"{error}; {as_text(self.dump())}",
                fix="open the accelerator again, which loads the bitstream anew",
            ) from error

    def done(self) -> bool:
        states = [(end, self._dma.mmio.read(offset)) for end, offset in _STATUS]
        for end, status in states:
            for bit, meaning in _DMA_ERRORS.items():
                if status & bit:
                    raise MachineError(
                        f"the {end} DMA reports an error",
                        found=f"{meaning}, {as_text(self.dump())}",
                    )
        return all(status & _DMA_IDLE for _, status in states)

    def finish(self) -> int:
        self._dma.sendchannel.wait()
        self._dma.recvchannel.wait()  # invalidates the buffer
        return int(self._dma.recvchannel.transferred)

    def stop(self) -> None:
        self._dma.mmio.write(0x00, 0x4)  # resets both channels
        self._dma.mmio.write(0x30, 0x4)

    def dump(self) -> dict[str, int]:
        return {name: self._dma.mmio.read(offset) for name, offset in _DMA_REGISTERS.items()}


class FinnIodmaMover:
    """The IODMA blocks of an accelerator that stock FINN built: one for each end.

    Each has AP_CTRL at 0x00 (bit 0 start, 1 done, cleared by reading, 2 idle), the buffer's
    address at 0x10 and 0x14, and the number of frames at 0x1C.
    """

    most_bytes = 1 << 31

    def __init__(self, idma: Any, odma: Any) -> None:
        self._ends = {"input": idma, "output": odma}
        self._running: set[str] = set()
        self._target: Any = None
        self._n_target = 0

    def start(self, source: Any, n_source: int, target: Any, n_target: int, frames: int) -> None:
        source.flush()
        self._target, self._n_target = target, n_target
        for end, buffer in (("output", target), ("input", source)):
            mmio, address = self._ends[end], int(buffer.physical_address)
            mmio.write(0x10, address & 0xFFFFFFFF)
            mmio.write(0x14, address >> 32)
            mmio.write(0x1C, frames)
            mmio.write(0x00, _START)
        self._running = {"input", "output"}

    def done(self) -> bool:
        for end in sorted(self._running):
            if self._ends[end].read(0x00) & (_DONE | _IDLE):
                self._running.discard(end)
        return not self._running

    def finish(self) -> int:
        self._target.invalidate()
        return self._n_target

    def stop(self) -> None:
        """The blocks have no stop: loading the bitstream again is the way out."""

    def dump(self) -> dict[str, int]:
        return {
            f"{end.upper()}_{name}": self._ends[end].read(offset)
            for end in self._ends
            for name, offset in _IODMA_REGISTERS.items()
        }


def as_text(registers: dict[str, int]) -> str:
    """A register dump on one line."""
    return ", ".join(f"{name}={value:#x}" for name, value in registers.items())
