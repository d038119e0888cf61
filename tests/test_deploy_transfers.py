"""A transfer is waited for as long as frames leave, and no longer."""

from __future__ import annotations

import time

import numpy as np
import pytest
from toy_bundle import OUTPUT, toy_manifest

from deploy.errors import MachineError, UserError
from deploy.transfers import Transfers

STEP_S = 0.05


class Board:
    """A board and its mover in one: a frame leaves every `STEP_S`, until it stops at `dead_at`."""

    has_registers, most_bytes = True, 1 << 20

    def __init__(self, dead_at: int) -> None:
        self.dead_at, self.frames, self.since, self.stopped = dead_at, 0, 0.0, False
        self.mover = self

    def allocate(self, n_bytes: int) -> np.ndarray:
        return np.zeros(n_bytes, np.uint8)

    def write(self, name: str, value: int) -> None:
        pass

    def read(self, name: str) -> int:
        done = int((time.monotonic() - self.since) / STEP_S)
        return min(done, self.dead_at, self.frames)

    def start(self, source, n_source, target, n_target, frames: int) -> None:
        self.frames, self.since = frames, time.monotonic()

    def done(self) -> bool:
        return self.read("FRAMES_DONE") >= self.frames

    def finish(self) -> int:
        return self.frames * OUTPUT.bytes_per_frame

    def stop(self) -> None:
        self.stopped = True

    def dump(self) -> dict[str, int]:
        return {"FRAMES_DONE": self.read("FRAMES_DONE")}


def transfer(board: Board, frames: int, patience_s: float) -> Transfers:
    transfers = Transfers(board, toy_manifest({}), 100.0, patience_s)
    with transfers.or_broken():
        transfers.reserve(frames)
        filled = transfers.fill(0, np.zeros((frames, 20), np.int8))
        transfers.start(filled)
        transfers.finish(filled)
    return transfers


def test_frames_that_leave_slowly_are_waited_for() -> None:
    transfer(Board(dead_at=99), frames=8, patience_s=3 * STEP_S)


def test_frames_that_stop_are_a_hang_and_say_how_many_left() -> None:
    board, start = Board(dead_at=5), time.monotonic()
    with pytest.raises(MachineError, match="stopped after 5 of 8 frames"):
        transfer(board, frames=8, patience_s=3 * STEP_S)
    assert time.monotonic() - start < 1
    assert board.stopped


def test_what_broke_stays_broken() -> None:
    transfers = Transfers(Board(99), toy_manifest({}), 100.0)
    with pytest.raises(KeyboardInterrupt), transfers.or_broken():
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="can't be used any more"), transfers.or_broken():
        pass
