"""The driver: numpy integers in, numpy integers out, on a board that can't hang or lie unnoticed.

Nothing here knows whether the board is real: pynq's active device may be a virtual one.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.bundle import BITSTREAM, HANDOFF, Bundle
from deploy.errors import GateError, MachineError, UserError
from deploy.registers import MAGIC, VERSION, identity_words
from deploy.transfers import Transfer, Transfers
from deploy.trust import require_trust

PIECES = 8
LEAST_PIECE = 32
"""A batch is cut into so many transfers, of so many frames at least: while one is under way the
next is packed and the last unpacked."""

SELF_TEST_FRAMES = 4
SELF_TEST_FRAMES_OF_WRITTEN = 64
"""Where weights were just written: classes of other weights are often the same for a few frames."""


@dataclass(frozen=True)
class Counters:
    """The counters of the last transfer, in cycles; all zero where nothing counts cycles."""

    cycles: int
    frames_done: int
    input_stalls: int
    output_stalls: int
    latency: int
    interval: int


class Accelerator:
    """An accelerator, loaded and checked. Use it as a context manager: it frees its buffers.

    Opening it verifies the bundle, loads the bitstream under a name of its content (a stale one of
    the same name can't stay), sets the clock and reads it back, compares the identity registers
    with the build, writes the network's weights where the build lets the host do that, and runs a
    few golden vectors, twice.

    Args:
        bundle: a `Bundle`, or the path of one.
        run, trust: what vouches for the bundle's bitstream; see `deploy.trust`.
        hardware: a folder with accelerator.bit and accelerator.hwh to use instead of the bundle's.
        clock_mhz: another clock than the manifest's.
        timeout_s: how long a transfer may go without a frame leaving; see `Transfers`.
        frames_per_transfer: the most frames of one transfer; by default what time and memory
            allow.

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
        with tempfile.TemporaryDirectory(prefix="narrowgauge-") as folder:
            bit = self._hardware(Path(folder), hardware, run, trust)
            manifest = self.manifest
            self.board = PynqBoard(bit, manifest.board, manifest.part, manifest.mover)
        self.clock_mhz = self.board.set_clock(self.clock_asked_mhz)
        frames = SELF_TEST_FRAMES
        if self.board.has_registers:
            self._check_identity()
            if self.manifest.memories:
                self.bundle.memories().write(self.board.write)
                frames = SELF_TEST_FRAMES_OF_WRITTEN
        self._transfers = Transfers(
            self.board, self.manifest, self.clock_mhz, timeout_s, frames_per_transfer
        )
        try:
            for _ in range(2):  # the second time in the state that the first one left
                self.check_golden(frames)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees all contiguous memory. The bitstream stays loaded."""
        self._transfers.free()
        self._transfers.broken = self._transfers.broken or "it was closed"

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
        batch = np.asarray(batch)
        if batch.ndim != 2 or batch.shape[1] != self._input.n:
            raise UserError(
                "the batch has the wrong shape",
                found=str(batch.shape),
                expected=f"(N, {self._input.n}) integers",
                fix="quantise real inputs first: quantise(x)",
            )
        transfers, out = self._transfers, np.empty((len(batch), self._output.n), self._output.dtype)
        under_way: tuple[Transfer, slice] | None = None
        if not len(batch):
            return out
        with transfers.or_broken():
            size = transfers.reserve(min(len(batch), max(LEAST_PIECE, -(-len(batch) // PIECES))))
            for number, first in enumerate(range(0, len(batch), size)):
                rows = slice(first, first + size)
                try:
                    filled = transfers.fill(number % 2, batch[rows])
                except UserError:
                    if under_way is not None:
                        transfers.finish(under_way[0])
                    raise
                if under_way is not None:
                    transfers.finish(under_way[0])
                transfers.start(filled)
                if under_way is not None:
                    out[under_way[1]] = transfers.unpack(under_way[0])
                under_way = filled, rows
            if under_way is not None:
                transfers.finish(under_way[0])
                out[under_way[1]] = transfers.unpack(under_way[0])
        return out

    def move(self, batch: np.ndarray) -> tuple[int, float]:
        """One transfer of the batch's first frames, as many as fit: how many, and its seconds.

        DMA alone: neither the packing before it nor anything after it is in the seconds.

        Raises:
            UserError, MachineError: as `run`.
        """
        with self._transfers.or_broken():
            frames = self._transfers.reserve(len(batch))
            filled = self._transfers.fill(0, batch[:frames])
            start = time.perf_counter()
            self._transfers.start(filled)
            self._transfers.finish(filled)
            return frames, time.perf_counter() - start

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
