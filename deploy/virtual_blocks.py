"""The programmable logic of a virtual board: the blocks that a driver talks to, and one executor.

What would hang silicon or corrupt its memory ends here in a `BoardFault` that names the cause: at
once where it is a mistake in a transfer, after `HANG_S` of polling where a driver waits for what
can't come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deploy.errors import GateError, MachineError
from deploy.executors import Execution, Executor
from deploy.packing import Packing
from deploy.registers import CLEAR_COUNTERS, MAGIC, MOST, OFFSETS, VERSION, identity_words

HANG_S = 3.0
"""How long a transfer that can't end is polled before the board says so."""


class BoardFault(MachineError):  # noqa: N818 (it is not our code that erred)
    """What would be a hang or corrupted memory on silicon."""


@dataclass(frozen=True)
class Faults:
    """Faults that are planted in a virtual board, to see that they are noticed.

    Args:
        stuck_clock: the clock's dividers can't be changed.
        stale_bitstream: what was loaded before stays, whatever is loaded.
        lost_tlast: tlast never comes, so that the output DMA does not end.
        early_tlast: tlast comes one frame early.
        dead: no frame ever leaves.
        flipped_bit: a bit of the first output byte is wrong.
    """

    stuck_clock: bool = False
    stale_bitstream: bool = False
    lost_tlast: bool = False
    early_tlast: bool = False
    dead: bool = False
    flipped_bit: bool = False


class PhysicalMemory(Protocol):
    """Memory as the programmable logic sees it; `read` and `write` raise BoardFault for a stray
    address."""

    def read(self, address: int, n_bytes: int, who: str) -> np.ndarray: ...

    def write(self, address: int, data: np.ndarray, who: str) -> None: ...

    def forget(self, address: int) -> None: ...


class Waiting:
    """Counts the time that a driver polls for something that can't come."""

    def __init__(self) -> None:
        self._since: float | None = None

    def reset(self) -> None:
        self._since = None

    def poll(self, why: str) -> None:
        """BoardFault once the polling has lasted `HANG_S`."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since > HANG_S:
            self._since = None
            raise BoardFault("a wait on the board would never end", found=why)


@dataclass(eq=False)
class Logic:
    """The accelerator behind the blocks: what it takes and gives, and who computes.

    `running` tells the power rails that something was busy lately.
    """

    executor: Executor
    identity: str
    input: Packing
    output: Packing
    faults: Faults
    n_transfers: int = 0

    def execute(self, data: np.ndarray, frames: int) -> tuple[Execution, str]:
        """One transfer, and why it does not end (empty if it does)."""
        self.n_transfers += 1
        if self.faults.dead:
            return Execution(np.empty(0, np.uint8)), "the accelerator takes input, nothing leaves"
        try:
            done = self.executor.run(data, frames)
        except GateError as error:
            why = f"the accelerator is stuck: {error.what}; {error.where}"
            return Execution(np.empty(0, np.uint8)), why
        out = np.array(done.data, np.uint8)
        if self.faults.flipped_bit:
            out[0] ^= 1
        if self.faults.early_tlast:
            out = out[: -self.output.bytes_per_frame]
        ends = done.frame_ends
        made = Execution(out, ends, done.input_stalls, done.output_stalls)
        return made, "tlast did not come" if self.faults.lost_tlast else ""


_OF_MEMORIES = {OFFSETS[name] for name in ("WEIGHTS", "MEMORY", "DATA", "WORD")}


class RegisterBlock:
    """The registers of `deploy.registers`, their counters filled in by the executor's answers."""

    def __init__(self, logic: Logic) -> None:
        self._logic = logic
        self.values = dict.fromkeys(OFFSETS.values(), 0)
        self._set("MAGIC", MAGIC)
        self._set("VERSION", VERSION)
        for i, word in enumerate(identity_words(logic.identity)):
            self._set(f"IDENTITY{i}", word)

    @property
    def frames(self) -> int:
        return self.values[OFFSETS["FRAMES"]]

    def count(self, done: Execution, frames: int) -> None:
        """Adds one transfer to the counters."""
        self._set("FRAMES_DONE", self.values[OFFSETS["FRAMES_DONE"]] + frames)
        ends = done.frame_ends
        if ends is None or not frames:
            return
        self._set("CYCLES", self.values[OFFSETS["CYCLES"]] + int(ends[-1]) + 1)
        self._set("LATENCY", int(ends[0]) + 1)
        self._set("INTERVAL", int(ends[-1] - ends[-2]) if len(ends) > 1 else 0)
        for name, stalls in (("INPUT", done.input_stalls), ("OUTPUT", done.output_stalls)):
            self._set(f"{name}_STALLS", self.values[OFFSETS[f"{name}_STALLS"]] + stalls)

    def read(self, offset: int) -> int:
        return self.values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == OFFSETS["FRAMES"]:
            self.values[offset] = value
        elif offset in _OF_MEMORIES:
            self._logic.executor.write(offset, value)
            if offset == OFFSETS["WEIGHTS"]:
                self.values[offset] = value
        elif offset == OFFSETS["CONTROL"] and value & CLEAR_COUNTERS:
            for name in ("CYCLES", "FRAMES_DONE", "INPUT_STALLS", "OUTPUT_STALLS"):
                self._set(name, 0)
            for name in ("LATENCY", "INTERVAL"):
                self._set(name, 0)

    def _set(self, name: str, value: int) -> None:
        self.values[OFFSETS[name]] = min(value, MOST)


class AxiDma:
    """An AXI DMA in simple mode, both channels, around one accelerator."""

    _SEND, _RECEIVE = 0x00, 0x30
    _CONTROL, _STATUS, _ADDRESS, _ADDRESS_HIGH, _LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
    _HALTED, _IDLE = 0x1, 0x2

    def __init__(self, logic: Logic, registers: RegisterBlock, memory: PhysicalMemory) -> None:
        self._logic, self._registers, self._memory = logic, registers, memory
        self._waiting = Waiting()
        self.values: dict[int, int] = {}
        self._reset()

    def read(self, offset: int) -> int:
        if offset in (self._SEND + self._STATUS, self._RECEIVE + self._STATUS):
            channel = offset - self._STATUS
            if channel in self._armed:
                self._waiting.poll(self._why or self._what_is_missing())
        return self.values.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        channel = self._RECEIVE if offset >= self._RECEIVE else self._SEND
        self.values[offset] = value
        if offset == channel + self._CONTROL:
            if value & 0x4:
                self._memory.forget(self._address(self._RECEIVE))
                self._reset()
            elif value & 0x1:
                self.values[channel + self._STATUS] = 0
            else:
                self.values[channel + self._STATUS] = self._HALTED
                self._armed.discard(channel)
        elif offset == channel + self._LENGTH:
            self._arm(channel)

    def _reset(self) -> None:
        self._armed: set[int] = set()
        self._why = ""
        for channel in (self._SEND, self._RECEIVE):
            self.values[channel + self._STATUS] = self._HALTED
            self.values[channel + self._CONTROL] = 0

    def _arm(self, channel: int) -> None:
        end = "input" if channel == self._SEND else "output"
        if self.values[channel + self._STATUS] & self._HALTED:
            raise BoardFault(f"the {end} DMA got a length while it was not running")
        if channel in self._armed:
            raise BoardFault(f"the {end} DMA was started while it was busy")
        self._armed.add(channel)
        self._waiting.reset()
        self.values[channel + self._STATUS] = 0
        if self._armed == {self._SEND, self._RECEIVE}:
            self._transfer()

    def _transfer(self) -> None:
        frames = self._registers.frames
        n_in, n_out = (self.values[c + self._LENGTH] for c in (self._SEND, self._RECEIVE))
        per_in, per_out = self._logic.input.bytes_per_frame, self._logic.output.bytes_per_frame
        check_lengths(frames, n_in, n_out, per_in, per_out)
        data = self._memory.read(self._address(self._SEND), n_in, "the input DMA")
        target = self._address(self._RECEIVE)
        done, self._why = self._logic.execute(data, frames)
        if len(done.data):
            self._memory.write(target, done.data, "the output DMA")
            self._registers.count(done, len(done.data) // per_out)
        if not self._why:
            self._end(self._RECEIVE)
            self.values[self._RECEIVE + self._LENGTH] = len(done.data)
        if not self._why or len(done.data):
            self._end(self._SEND)

    def _end(self, channel: int) -> None:
        self._armed.discard(channel)
        self.values[channel + self._STATUS] = self._IDLE

    def _address(self, channel: int) -> int:
        low = self.values.get(channel + self._ADDRESS, 0)
        return low | self.values.get(channel + self._ADDRESS_HIGH, 0) << 32

    def _what_is_missing(self) -> str:
        other = "input" if self._SEND not in self._armed else "output"
        return f"the {other} DMA was never started"


class FinnIodma:
    """One of the two IODMA blocks of a FINN build; `pair` joins them."""

    def __init__(self, name: str, pair: FinnPair) -> None:
        self.name, self._pair = name, pair
        self.values: dict[int, int] = {0x00: 0x4}

    def read(self, offset: int) -> int:
        value = self.values.get(offset, 0)
        if offset == 0x00:
            if value == 0x1:
                self._pair.poll()
            elif value & 0x2:
                self.values[0x00] = 0x4  # done is cleared by reading
        return value

    def write(self, offset: int, value: int) -> None:
        if offset != 0x00:
            self.values[offset] = value
        elif value & 0x1:
            if self.values[0x00] == 0x1:
                raise BoardFault(f"{self.name} was started while it was busy")
            self.values[0x00] = 0x1
            self._pair.started()

    @property
    def busy(self) -> bool:
        return self.values[0x00] == 0x1

    @property
    def frames(self) -> int:
        return self.values.get(0x1C, 0)

    @property
    def address(self) -> int:
        return self.values.get(0x10, 0) | self.values.get(0x14, 0) << 32


class FinnPair:
    """The two IODMA blocks of an accelerator: it runs once both are started with equal frames."""

    def __init__(self, logic: Logic, memory: PhysicalMemory, idma: str, odma: str) -> None:
        self._logic, self._memory = logic, memory
        self.idma, self.odma = FinnIodma(idma, self), FinnIodma(odma, self)
        self._waiting, self._why = Waiting(), ""

    def started(self) -> None:
        """One of them was started."""
        idma, odma = self.idma, self.odma
        self._waiting.reset()
        if not (idma.busy and odma.busy):
            self._why = f"{(idma if odma.busy else odma).name} was never started"
            return
        if idma.frames != odma.frames or not idma.frames:
            found = f"{idma.name} {idma.frames}, {odma.name} {odma.frames}"
            raise BoardFault("the two ends have different numbers of frames", found=found)
        n_in = idma.frames * self._logic.input.bytes_per_frame
        data = self._memory.read(idma.address, n_in, idma.name)
        done, self._why = self._logic.execute(data, idma.frames)
        n_out = odma.frames * self._logic.output.bytes_per_frame
        if not self._why and len(done.data) < n_out:
            self._why = f"{odma.name} waits for {n_out - len(done.data)} bytes more"
        if not self._why:
            self._memory.write(odma.address, done.data, odma.name)
            for end in (idma, odma):
                end.values[0x00] = 0xE

    def poll(self) -> None:
        """A busy block's status was read."""
        self._waiting.poll(self._why)


def check_lengths(frames: int, n_in: int, n_out: int, per_in: int, per_out: int) -> None:
    """BoardFault unless the DMA's lengths are those of `frames` frames (more room out is fine)."""
    if not frames:
        raise BoardFault("a transfer was started with FRAMES = 0: tlast would never come")
    if n_in != frames * per_in or n_out < frames * per_out:
        raise BoardFault(
            "the lengths of a transfer differ: one end would wait for ever",
            found=f"FRAMES {frames}, input {n_in} bytes, output {n_out} bytes",
            expected=f"{frames * per_in} bytes in ({per_in} a frame), "
            f"{frames * per_out} out ({per_out} a frame)",
        )
