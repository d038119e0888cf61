"""The driver: numpy integers in, numpy integers out, on a board that can't hang or lie unnoticed.

Nothing here knows whether the board is real: pynq's active device may be a virtual one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bundle import BITSTREAM, HANDOFF, Bundle
from deploy.errors import GateError, MachineError, UserError
from deploy.movers import as_text
from deploy.registers import CLEAR_COUNTERS, MAGIC, VERSION, identity_words
from deploy.trust import require_trust

PIECES = 8
LEAST_PIECE = 32
"""A batch is cut into so many transfers, of so many frames at least: while one is under way the
next is packed and the last unpacked."""

MOST_BUFFER_BYTES = 4 << 20
"""Of one buffer; there are four."""

SELF_TEST_FRAMES = 4


@dataclass(frozen=True)
class Counters:
    """The counters of the last transfer, in cycles; all zero where nothing counts cycles."""

    cycles: int
    frames_done: int
    input_stalls: int
    output_stalls: int
    latency: int
    interval: int


@dataclass(frozen=True, eq=False)
class _Transfer:
    """One transfer under way: frames `rows` of the batch, in buffers `slot`."""

    rows: slice
    slot: int
    frames: int
    deadline: float


class Accelerator:
    """An accelerator, loaded and checked. Use it as a context manager: it frees its buffers.

    Opening it verifies the bundle, loads the bitstream under a name of its content (a stale one of
    the same name can't stay), sets the clock and reads it back, compares the identity registers
    with the build, and runs a few golden vectors.

    Args:
        bundle: a `Bundle`, or the path of one.
        run, trust: what vouches for the bundle's bitstream; see `deploy.trust`.
        hardware: a folder with accelerator.bit and accelerator.hwh to use instead of the bundle's.
        clock_mhz: another clock than the manifest's.
        timeout_s: of one transfer; by default 1 s and ten times what the transfer should take.
        frames_per_transfer: the most frames of one transfer; by default what memory allows.

    Raises:
        UserError: a bundle that is refused, another part, an untrusted bitstream.
        MachineError: no device, no root, a clock that can't be set, a hang, a stale bitstream.
        GateError: the golden vectors come out wrong.
    """

    def __init__(
        self,
        bundle: Bundle | Path | str,
        *,
        run: Path | None = None,
        trust: bool = False,
        hardware: Path | None = None,
        clock_mhz: float | None = None,
        timeout_s: float | None = None,
        frames_per_transfer: int | None = None,
    ) -> None:
        from deploy.pynq_board import PynqBoard

        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.read(bundle)
        self.manifest = self.bundle.manifest
        self._input, self._output = self.manifest.input, self.manifest.output
        self.input_steps, self.meaning = self.manifest.input_steps, self.manifest.meaning
        self.clock_asked_mhz = self.manifest.clock_mhz if clock_mhz is None else clock_mhz
        self._timeout_s = timeout_s
        self._most_frames = frames_per_transfer
        self._buffers: list[Any] = []  # of slot 0: source, target; of slot 1: source, target
        self._capacity = 0
        self._broken = ""
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
            bit = self._hardware(Path(folder), hardware, run, trust)
            manifest = self.manifest
            self.board = PynqBoard(bit, manifest.board, manifest.part, manifest.mover)
        self.clock_mhz = self.board.set_clock(self.clock_asked_mhz)
        if self.board.has_registers:
            self._check_identity()
        try:
            self.check_golden(SELF_TEST_FRAMES)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees all contiguous memory. The bitstream stays loaded."""
        self._free()
        self._broken = self._broken or "it was closed"

    @property
    def source(self) -> str:
        """Of every figure: "board", "rtl-simulation" or "golden-model"."""
        return self.board.source

    def quantise(self, x: np.ndarray) -> np.ndarray:
        """Integers (N, n) for the network's real inputs, by the bundle's input quantiser."""
        return self.input_steps(x)

    def dequantise(self, integers: np.ndarray) -> np.ndarray:
        """float64 scores for output integers."""
        return self.meaning.dequantise(integers)

    def classify(self, integers: np.ndarray) -> np.ndarray:
        """int64 classes (N,) for output integers."""
        return self.meaning.classify(integers)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Integers (N, m) for integers (N, n), N of any size.

        Raises:
            UserError: another shape or type, a value that the input doesn't hold.
            MachineError: a transfer doesn't end in time, or no contiguous memory. A driver that
                met a hang is broken; open it again.
        """
        if self._broken:
            raise UserError("the accelerator can't be used any more", found=self._broken)
        batch = np.asarray(batch)
        if batch.ndim != 2 or batch.shape[1] != self._input.n:
            raise UserError(
                "the batch has the wrong shape",
                found=str(batch.shape),
                expected=f"(N, {self._input.n}) integers",
                fix="quantise real inputs first: quantise(x)",
            )
        out = np.empty((len(batch), self._output.n), self._output.dtype)
        if not len(batch):
            return out
        under_way: _Transfer | None = None
        for slot, rows in self._pieces(len(batch)):
            data = self._input.pack(batch[rows])
            source = self._buffers[2 * slot]
            source[: data.size] = data.reshape(-1)
            if under_way is not None:
                self._finish(under_way)
            started = self._start(slot, rows, len(data))
            if under_way is not None:
                self._unpack(under_way, out)
            under_way = started
        if under_way is not None:
            self._finish(under_way)
            self._unpack(under_way, out)
        return out

    def move(self, frames: int) -> float:
        """Seconds of one transfer of what lies in the buffers: DMA alone, nothing packed.

        Raises:
            MachineError: as `run`.
        """
        self._reserve(frames)
        start = time.perf_counter()
        self._finish(self._start(0, slice(0, frames), frames))
        return time.perf_counter() - start

    def check_golden(self, frames: int | None = None) -> int:
        """Runs golden vectors (all by default) and returns how many.

        Raises:
            GateError: the first one that comes out wrong.
        """
        vectors = self.bundle.vectors()
        inputs, expected = vectors.inputs[:frames], vectors.outputs[:frames]
        found = self.run(inputs)
        differs = found != expected
        if differs.any():
            frame, index = (int(i) for i in np.argwhere(differs)[0])
            raise GateError(
                "the board disagrees with the golden vectors",
                where=f"frame {frame}, output {index}",
                found=f"{found[frame, index]}; {int(differs.any(axis=1).sum())} of "
                f"{len(found)} frames differ",
                expected=str(expected[frame, index]),
            )
        return len(found)

    def counters(self) -> Counters:
        """The counters of the last transfer.

        Raises:
            UserError: the accelerator has no counters.
        """
        read = self.board.read
        return Counters(
            cycles=read("CYCLES"),
            frames_done=read("FRAMES_DONE"),
            input_stalls=read("INPUT_STALLS"),
            output_stalls=read("OUTPUT_STALLS"),
            latency=read("LATENCY"),
            interval=read("INTERVAL"),
        )

    @property
    def most_frames(self) -> int:
        """The most frames that one transfer can hold, memory permitting."""
        most_bytes = min(MOST_BUFFER_BYTES, self.board.mover.most_bytes)
        per_frame = max(self._input.bytes_per_frame, self._output.bytes_per_frame)
        most = max(1, most_bytes // per_frame)
        return min(most, self._most_frames) if self._most_frames else most

    def _hardware(self, folder: Path, hardware: Path | None, run: Path | None, trust: bool) -> Path:
        """The .bit file to load, its .hwh beside it, named by the build."""
        bit = folder / f"{self.manifest.identity[:16]}-{self.bundle.sha256[:16]}.bit"
        if hardware is not None:
            for path in (hardware / Path(BITSTREAM).name, hardware / Path(HANDOFF).name):
                if not path.is_file():
                    raise UserError("no such hardware file", where=str(path))
                bit.with_suffix(path.suffix).write_bytes(path.read_bytes())
            return bit
        if not self.bundle.has_bitstream:
            raise UserError(
                "the bundle has no bitstream",
                where=str(self.bundle.path),
                fix="build it with Vivado, or run at home: --board virtual:pynq_z2",
            )
        require_trust(self.bundle, run, trust)
        for name in (BITSTREAM, HANDOFF):
            bit.with_suffix(Path(name).suffix).write_bytes(self.bundle.files[name])
        return bit

    def _check_identity(self) -> None:
        magic, version = self.board.read("MAGIC"), self.board.read("VERSION")
        if magic != MAGIC or version != VERSION:
            raise MachineError(
                "no accelerator of ours answers at the registers",
                found=f"MAGIC {magic:#x}, VERSION {version}",
                expected=f"{MAGIC:#x}, {VERSION}",
                fix="the .hwh belongs to another bitstream, or the bitstream was not loaded",
            )
        found = tuple(self.board.read(f"IDENTITY{i}") for i in range(4))
        expected = identity_words(self.manifest.identity)
        if found != expected:
            raise MachineError(
                "another build is loaded: a stale or wrong bitstream",
                where=f"identity registers, board {self.manifest.board}",
                found="".join(f"{word:08x}" for word in found),
                expected="".join(f"{word:08x}" for word in expected),
                fix="load the bitstream of this bundle; restart the board if an old one stays",
            )

    def _pieces(self, n: int) -> Iterator[tuple[int, slice]]:
        """Slot and rows of each transfer, their buffers reserved."""
        wanted = max(LEAST_PIECE, -(-n // PIECES))
        size = self._reserve(min(n, wanted, self.most_frames))
        for number, first in enumerate(range(0, n, size)):
            yield number % 2, slice(first, min(n, first + size))

    def _reserve(self, frames: int) -> int:
        """Has two pairs of buffers for `frames` frames, or as many as memory holds; returns that.

        Raises:
            MachineError: there is not even room for one frame.
        """
        if self._capacity >= frames:
            return frames
        self._free()
        sizes = [self._input.bytes_per_frame, self._output.bytes_per_frame] * 2
        why = ""
        while frames >= 1:
            try:
                for size in sizes:
                    self._buffers.append(self.board.allocate(frames * size))
                self._capacity = frames
                return frames
            except MemoryError as error:
                why = str(error)
                self._free()
                frames //= 2
        raise MachineError(
            "not enough contiguous memory for one frame",
            found=why,
            expected=f"2 x {self._input.bytes_per_frame + self._output.bytes_per_frame} bytes",
            fix="free buffers of other programs, or restart the board",
        )

    def _free(self) -> None:
        for buffer in self._buffers:
            buffer.freebuffer()
        self._buffers, self._capacity = [], 0

    def _start(self, slot: int, rows: slice, frames: int) -> _Transfer:
        if self.board.has_registers:
            self.board.write("CONTROL", CLEAR_COUNTERS)
            self.board.write("FRAMES", frames)
        source, target = self._buffers[2 * slot : 2 * slot + 2]
        n_source = frames * self._input.bytes_per_frame
        n_target = frames * self._output.bytes_per_frame
        self.board.mover.start(source, n_source, target, n_target, frames)
        seconds = self._timeout_s
        if seconds is None:
            cycles = self.manifest.latency_cycles + frames * self.manifest.interval_cycles
            seconds = 1 + 10 * cycles / (self.clock_mhz * 1e6)
        return _Transfer(rows, slot, frames, time.monotonic() + seconds)

    def _finish(self, transfer: _Transfer) -> None:
        """Waits for a transfer, never longer than its deadline, and checks that it was whole."""
        mover = self.board.mover
        try:
            while not mover.done():
                if time.monotonic() > transfer.deadline and not mover.done():
                    raise self._hang(transfer)
            written = mover.finish()
        except BaseException:
            self._broken = "a transfer failed; open the accelerator again"
            mover.stop()
            raise
        expected = transfer.frames * self._output.bytes_per_frame
        if written != expected:
            self._broken = "a transfer was cut short; open the accelerator again"
            raise MachineError(
                "the output ended early: tlast came before the last frame",
                found=f"{written} bytes; {as_text(self.board.dump())}",
                expected=f"{expected} bytes, {transfer.frames} frames",
            )

    def _hang(self, transfer: _Transfer) -> MachineError:
        """What the registers say of a transfer that doesn't end."""
        dump, frames = self.board.dump(), transfer.frames
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
            where=f"board {self.manifest.board}, {frames} frames",
            found=as_text(dump),
            fix="open the accelerator again, which loads the bitstream anew; if it stays, the "
            "clock, the reset or the numbers of frames of the two ends are wrong",
        )

    def _unpack(self, transfer: _Transfer, out: np.ndarray) -> None:
        size = transfer.frames * self._output.bytes_per_frame
        target = np.asarray(self._buffers[2 * transfer.slot + 1])
        out[transfer.rows] = self._output.unpack(target[:size])
