"""Transfers through two pairs of contiguous buffers, none waited for without end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.errors import MachineError, UserError
from deploy.manifest import Manifest
from deploy.movers import as_text
from deploy.registers import CLEAR_COUNTERS

MOST_BUFFER_BYTES = 4 << 20
"""Of one buffer; there are four."""

LONGEST_S = 0.4
"""What a transfer may be expected to take, unless one frame takes longer."""

MOST_PATIENCE_S = 5.0
"""The longest time without a frame, whatever the manifest says of the accelerator's speed."""


@dataclass(frozen=True, eq=False)
class Transfer:
    """One transfer under way: `frames` frames in the buffers of slot 0 or 1."""

    slot: int
    frames: int


class Transfers:
    """What moves frames, on a loaded board. After a failure it is broken for good.

    Args:
        board: a `deploy.pynq_board.PynqBoard`.
        manifest: of the accelerator that is loaded there.
        clock_mhz: what it runs at.
        patience_s: how long a transfer may go without a frame leaving; by default 1 s and ten
            times what the transfer should take, and never more than `MOST_PATIENCE_S`.
        most_frames: the most frames of one transfer; by default what time and memory allow.
    """

    def __init__(
        self,
        board: Any,
        manifest: Manifest,
        clock_mhz: float,
        patience_s: float | None = None,
        most_frames: int | None = None,
    ) -> None:
        self._board, self._name = board, manifest.board
        self._input, self._output = manifest.input, manifest.output
        self._patience_s, self._most_frames = patience_s, most_frames
        self._latency_s = manifest.latency_cycles / (clock_mhz * 1e6)
        self._interval_s = manifest.interval_cycles / (clock_mhz * 1e6)
        self._buffers: list[Any] = []  # of slot 0: source, target; of slot 1: source, target
        self._capacity = 0
        self.broken = ""

    @property
    def most_frames(self) -> int:
        """The most frames that one transfer can hold, memory permitting."""
        most_bytes = min(MOST_BUFFER_BYTES, self._board.mover.most_bytes)
        per_frame = max(self._input.bytes_per_frame, self._output.bytes_per_frame)
        most = max(1, min(most_bytes // per_frame, int(LONGEST_S / self._interval_s)))
        return min(most, self._most_frames) if self._most_frames else most

    def reserve(self, frames: int) -> int:
        """Has two pairs of buffers for `frames` frames, or as many as there is room for: how many.

        Raises:
            MachineError: there is not even room for one frame.
        """
        frames = min(frames, self.most_frames)
        if self._capacity >= frames:
            return frames
        self.free()
        sizes = [self._input.bytes_per_frame, self._output.bytes_per_frame] * 2
        why = ""
        while frames >= 1:
            try:
                for size in sizes:
                    self._buffers.append(self._board.allocate(frames * size))
                self._capacity = frames
                return frames
            except MemoryError as error:
                why = str(error)
                self.free()
                frames //= 2
        raise MachineError(
            "not enough contiguous memory for one frame",
            found=why,
            expected=f"2 x {self._input.bytes_per_frame + self._output.bytes_per_frame} bytes",
            fix="free buffers of other programs, or restart the board",
        )

    def free(self) -> None:
        """Frees all buffers."""
        for buffer in self._buffers:
            buffer.freebuffer()
        self._buffers, self._capacity = [], 0

    def fill(self, slot: int, batch: np.ndarray) -> Transfer:
        """Packs frames, no more than were reserved, into the input buffer of a slot.

        Raises:
            UserError: a value that the input doesn't hold.
        """
        size = len(batch) * self._input.bytes_per_frame
        self._input.pack(batch, np.asarray(self._buffers[2 * slot])[:size])
        return Transfer(slot, len(batch))

    def start(self, transfer: Transfer) -> None:
        """Starts what was filled in."""
        if self._board.has_registers:
            self._board.write("CONTROL", CLEAR_COUNTERS)
            self._board.write("FRAMES", transfer.frames)
        source, target = self._buffers[2 * transfer.slot : 2 * transfer.slot + 2]
        n_source = transfer.frames * self._input.bytes_per_frame
        n_target = transfer.frames * self._output.bytes_per_frame
        self._board.mover.start(source, n_source, target, n_target, transfer.frames)

    def finish(self, transfer: Transfer) -> None:
        """Waits for a transfer, as long as frames leave, and checks that it was whole.

        Raises:
            MachineError: it wasn't, or no frame left for too long.
        """
        mover, patience_s = self._board.mover, self._patience_of(transfer.frames)
        done, deadline = 0, time.monotonic() + patience_s
        while not mover.done():
            now = time.monotonic()
            if self._board.has_registers and (left := self._board.read("FRAMES_DONE")) != done:
                done, deadline = left, now + patience_s
            elif now > deadline and not mover.done():
                raise self._hang(transfer)
        written = mover.finish()
        expected = transfer.frames * self._output.bytes_per_frame
        if written != expected:
            raise MachineError(
                "the output ended early: tlast came before the last frame",
                found=f"{written} bytes; {as_text(self._board.dump())}",
                expected=f"{expected} bytes, {transfer.frames} frames",
            )

    def unpack(self, transfer: Transfer) -> np.ndarray:
        """The output integers (frames, m) of a finished transfer."""
        size = transfer.frames * self._output.bytes_per_frame
        return self._output.unpack(np.asarray(self._buffers[2 * transfer.slot + 1])[:size])

    @contextmanager
    def or_broken(self) -> Iterator[None]:
        """Around transfers: whatever ends them between start and finish leaves them unusable.

        Raises:
            UserError: it happened before.
        """
        if self.broken:
            raise UserError("the accelerator can't be used any more", found=self.broken)
        try:
            yield
        except UserError:
            raise  # a refused batch has left nothing under way
        except BaseException:
            self.broken = "a transfer failed; open the accelerator again"
            self._board.mover.stop()
            raise

    def _patience_of(self, frames: int) -> float:
        if self._patience_s is not None:
            return self._patience_s
        return min(1 + 10 * (self._latency_s + frames * self._interval_s), MOST_PATIENCE_S)

    def _hang(self, transfer: Transfer) -> MachineError:
        """What the registers say of a transfer that doesn't end."""
        dump, frames = self._board.dump(), transfer.frames
        done = dump.get("FRAMES_DONE")
        if done is None:
            what = "a block that moves data did not finish"
        elif done >= frames:
            what = "all frames left, and the output DMA still waits: tlast did not come"
        elif done:
            what = f"the accelerator stopped after {done} of {frames} frames"
        else:
            what = f"no frame of {frames} left the accelerator"
        return MachineError(
            f"a transfer did not end in time: {what}",
            where=f"board {self._name}, {frames} frames",
            found=as_text(dump),
            fix="open the accelerator again, which loads the bitstream anew; if it stays, the "
            "clock, the reset or the numbers of frames of the two ends are wrong",
        )
