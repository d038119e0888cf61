"""Packing and unpacking on the host, against finn-plus and bare numpy.packbits, in one run.

`python -m benchmarks.packing_speed`: batch 1,000 of 784 inputs at 1, 2, 3, 4 and 8 bits, the median
of `REPEATS` runs, and what of it the driver's double buffering can't hide.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from finn.util.data_packing import finnpy_to_packed_bytearray, packed_bytearray_to_finnpy
from qonnx.core.datatype import DataType

from benchmarks.record import print_header
from deploy.accelerator import LEAST_PIECE, PIECES
from deploy.errors import GateError
from deploy.packing import Packing

FRAMES, INPUTS, OUTPUTS = 1000, 784, 10
WIDTHS = (1, 2, 3, 4, 8)
REPEATS = 30
TFC_INTERVAL, CLOCK_MHZ = 66, 100
"""Cycles a frame of the simulated TFC (benchmarks.simulation_speed), and its clock."""

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


def against_finn(bits: int) -> tuple[float, float, float, float]:
    """Seconds of our packing and finn's, our unpacking and finn's, of the same integers."""
    packing = Packing(INPUTS, bits, signed=False)
    x = np.random.default_rng(bits).integers(0, 1 << bits, (FRAMES, INPUTS)).astype(np.uint8)
    kind = DataType["BINARY" if bits == 1 else f"UINT{bits}"]
    lanes = next(n for n in range(64 // bits, 0, -1) if INPUTS % n == 0)
    folded = x.reshape(FRAMES, INPUTS // lanes, lanes).astype(np.float32)
    options = {"reverse_inner": True, "reverse_endian": True}
    data, theirs = packing.pack(x), finnpy_to_packed_bytearray(folded, kind, **options)
    back = packed_bytearray_to_finnpy(theirs, kind, folded.shape, **options)
    if not (packing.unpack(data) == x).all() or not (back == folded).all():
        raise GateError("packing and unpacking give other integers", where=f"{bits} bits")
    return (
        median_s(lambda: packing.pack(x)),
        median_s(lambda: finnpy_to_packed_bytearray(folded, kind, **options), 3),
        median_s(lambda: packing.unpack(data)),
        median_s(lambda: packed_bytearray_to_finnpy(theirs, kind, folded.shape, **options), 3),
    )


def against_packbits() -> float:
    """Our packing's time over that of numpy.packbits, where that does the job: whole frames of one
    bit that fill their beats; the two run in turns."""
    packing = Packing(832, 1, signed=False)
    x = np.random.default_rng(1).integers(0, 2, (FRAMES, 832)).astype(np.uint8)
    ratios = [
        median_s(lambda: packing.pack(x), 5)
        / median_s(lambda: np.packbits(x, axis=1, bitorder="little"), 5)
        for _ in range(REPEATS)
    ]
    return float(np.median(ratios))


def unhidden_share(bits: int) -> float:
    """The share of end-to-end time in which the accelerator waits for the host, at batch 1,000.

    As the driver does it: piece k + 1 is packed while the accelerator works on piece k, and piece k
    is unpacked while it works on piece k + 1.
    """
    sent, received = Packing(INPUTS, bits, signed=False), Packing(OUTPUTS, 12, signed=True)
    size = max(LEAST_PIECE, -(-FRAMES // PIECES))
    sizes = [min(size, FRAMES - first) for first in range(0, FRAMES, size)]
    x = np.random.default_rng(bits).integers(0, 1 << bits, (size, INPUTS)).astype(np.uint8)
    y = received.pack(np.zeros((size, OUTPUTS), np.int16))
    buffer, out = np.zeros(size * sent.bytes_per_frame, np.uint8), np.empty((size, OUTPUTS), "i2")

    def pack() -> None:
        buffer[:] = sent.pack(x).reshape(-1)

    def unpack() -> None:
        out[:] = received.unpack(y)

    packs, unpacks = median_s(pack), median_s(unpack)
    works = max(TFC_INTERVAL, sent.beats_per_frame) * size / (CLOCK_MHZ * 1e6)
    now, free = packs, packs  # when the host is ready; when the accelerator ends
    for number in range(len(sizes)):
        free = max(now, free) + works
        if number:
            now += unpacks
        if number + 1 < len(sizes):
            now = max(now + packs, free)
    end = max(now, free) + unpacks
    return 1 - len(sizes) * works / end


def main() -> int:
    """Prints the figures; exit code 1 if a bound is missed."""
    print_header("measured on this machine, median seconds; the accelerator's time simulated")
    good = True
    print("bits  pack ms  finn-plus  ratio | unpack ms  finn-plus  ratio")
    for bits in WIDTHS:
        pack, their_pack, unpack, their_unpack = against_finn(bits)
        ratios = their_pack / pack, their_unpack / unpack
        good &= min(ratios) >= LEAST_RATIO
        print(
            f"{bits:4}  {1e3 * pack:7.3f}  {1e3 * their_pack:9.1f}  {ratios[0]:5.0f} | "
            f"{1e3 * unpack:9.3f}  {1e3 * their_unpack:9.1f}  {ratios[1]:5.0f}"
        )
    ratio = against_packbits()
    good &= ratio <= MOST_OF_PACKBITS
    print(f"one bit against bare numpy.packbits: {ratio:.2f} times its time")
    for bits in (1, 8):
        share = unhidden_share(bits)
        good &= share <= MOST_UNHIDDEN
        print(f"not hidden by double buffering at {bits} bits: {100 * share:.1f} % of end to end")
    print("all bounds met" if good else "a bound was missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
