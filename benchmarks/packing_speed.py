"""Packing and unpacking on the host, against finn-plus and bare numpy.packbits, in one run.

`python -m benchmarks.packing_speed`: batch 1,000 of 784 inputs at 1, 2, 3, 4 and 8 bits, the median
of `REPEATS` runs, and what of it the driver's double buffering can't hide.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from finn.util.data_packing import finnpy_to_packed_bytearray, packed_bytearray_to_finnpy
from qonnx.core.datatype import DataType

from benchmarks.record import print_header
from deploy.accelerator import Accelerator
from deploy.errors import GateError
from deploy.packing import Packing
from deploy.transfers import Transfers

FRAMES, INPUTS, OUTPUTS = 1000, 784, 10
WIDTHS = (1, 2, 3, 4, 8)
REPEATS = 30
TFC_INTERVAL, CLOCK_MHZ = 64, 100
"""Cycles a frame of the simulated TFC (benchmarks.mnist_bit_exact), and its clock."""

LEAST_RATIO, MOST_OF_PACKBITS, MOST_UNHIDDEN = 10, 1.5, 0.2


def median_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of one call."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def against_finn(bits: int, container: type) -> tuple[float, float, float, float]:
    """Seconds of our packing into a buffer and finn's, our unpacking and finn's, of the same
    integers, which finn holds in `container`."""
    packing = Packing(INPUTS, bits, signed=False)
    x = np.random.default_rng(bits).integers(0, 1 << bits, (FRAMES, INPUTS)).astype(np.uint8)
    kind = DataType["BINARY" if bits == 1 else f"UINT{bits}"]
    lanes = next(n for n in range(64 // bits, 0, -1) if INPUTS % n == 0)
    folded = x.reshape(FRAMES, INPUTS // lanes, lanes).astype(container)
    options = {"reverse_inner": True, "reverse_endian": True}
    buffer = np.zeros(FRAMES * packing.bytes_per_frame, np.uint8)
    data, theirs = packing.pack(x), finnpy_to_packed_bytearray(folded, kind, **options)
    back = packed_bytearray_to_finnpy(theirs, kind, folded.shape, **options)
    if not (packing.unpack(data) == x).all() or not (back == folded).all():
        raise GateError("packing and unpacking give other integers", where=f"{bits} bits")
    return (
        median_s(lambda: packing.pack(x, buffer)),
        median_s(lambda: finnpy_to_packed_bytearray(folded, kind, **options), 3),
        median_s(lambda: packing.unpack(data)),
        median_s(lambda: packed_bytearray_to_finnpy(theirs, kind, folded.shape, **options), 3),
    )


def against_packbits(n: int, beat_bits: int, bare: Callable[[np.ndarray], object]) -> float:
    """Our packing's time over that of numpy.packbits, where that does the job: whole frames of one
    bit that fill their beats; the two run in turns."""
    packing = Packing(n, 1, signed=False, beat_bits=beat_bits)
    x = np.random.default_rng(1).integers(0, 2, (FRAMES, n)).astype(np.uint8)
    pairs = [
        (median_s(lambda: packing.pack(x), 5), median_s(lambda: bare(x), 5)) for _ in range(REPEATS)
    ]
    return float(np.median([ours / theirs for ours, theirs in pairs]))


class Buffer(np.ndarray):
    """Memory of the host that calls itself a DMA's buffer."""

    def freebuffer(self) -> None:
        pass


class TimedBoard:
    """A board whose accelerator takes `frame_s` for each frame, and computes nothing."""

    has_registers, most_bytes = False, 1 << 30

    def __init__(self, frame_s: float) -> None:
        self.mover, self._frame_s, self._end, self._n_target = self, frame_s, 0.0, 0

    def allocate(self, n_bytes: int) -> np.ndarray:
        return np.zeros(n_bytes, np.uint8).view(Buffer)

    def start(self, source, n_source: int, target, n_target: int, frames: int) -> None:
        self._n_target, self._end = n_target, time.perf_counter() + frames * self._frame_s

    def done(self) -> bool:
        return time.perf_counter() >= self._end

    def finish(self) -> int:
        return self._n_target


def unhidden_share(bits: int) -> float:
    """The share of the driver's own `run` in which the accelerator waits for the host, at batch
    1,000: its transfers take what the simulated interval says, and the rest is the host's."""
    sent, received = Packing(INPUTS, bits, signed=False), Packing(OUTPUTS, 12, signed=True)
    frame_s = max(TFC_INTERVAL, sent.beats_per_frame) / (CLOCK_MHZ * 1e6)
    accelerator = object.__new__(Accelerator)  # opened on no board
    accelerator._input, accelerator._output = sent, received
    facts = {"latency_cycles": TFC_INTERVAL, "interval_cycles": TFC_INTERVAL, "board": "timed"}
    manifest = SimpleNamespace(input=sent, output=received, **facts)
    accelerator._transfers = Transfers(TimedBoard(frame_s), manifest, CLOCK_MHZ)
    x = np.random.default_rng(bits).integers(0, 1 << bits, (FRAMES, INPUTS)).astype(np.uint8)
    return 1 - FRAMES * frame_s / median_s(lambda: accelerator.run(x))


def main() -> int:
    """Prints the figures; exit code 1 if a bound is missed."""
    print_header("measured on this machine, median seconds; the accelerator's time simulated")
    good = True
    print("bits  container  pack ms  finn-plus  ratio | unpack ms  finn-plus  ratio")
    for bits, container in (*((bits, np.float32) for bits in WIDTHS), (8, np.uint8)):
        pack, their_pack, unpack, their_unpack = against_finn(bits, container)
        ratios = their_pack / pack, their_unpack / unpack
        view = bits == 8 and container is np.uint8
        good &= view or min(ratios) >= LEAST_RATIO
        print(
            f"{bits:4}  {container.__name__:9}  {1e3 * pack:7.3f}  {1e3 * their_pack:9.3f}  "
            f"{ratios[0]:5.1f} | {1e3 * unpack:9.3f}  {1e3 * their_unpack:9.1f}  {ratios[1]:5.0f}"
            + ("  finn-plus returns a view: nothing is packed" if view else "")
        )
    for n, beat_bits in ((832, 64), (784, 16)):
        by_frame = against_packbits(n, beat_bits, lambda x: np.packbits(x, 1, "little"))
        at_once = against_packbits(n, beat_bits, lambda x: np.packbits(x.reshape(-1), 0, "little"))
        good &= by_frame <= MOST_OF_PACKBITS
        print(
            f"one bit, {n} inputs in beats of {beat_bits}: {by_frame:.2f} times numpy.packbits by "
            f"frame, {at_once:.2f} times over the whole array"
        )
    packing, x = Packing(INPUTS, 1, signed=False, beat_bits=16), np.ones((FRAMES, INPUTS), np.uint8)
    check = median_s(lambda: packing._check(x)) / median_s(lambda: packing.pack(x))
    print(f"of that the check of the values' range: {100 * check:.0f} %")
    for bits in (1, 8):
        share = unhidden_share(bits)
        good &= share <= MOST_UNHIDDEN
        print(f"not hidden by double buffering at {bits} bits: {100 * share:.1f} % of end to end")
    print("all bounds met" if good else "a bound was missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
