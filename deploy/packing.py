"""How integers travel: the one definition of a stream's bytes (contract: docs/streams.md).

A beat is `beat_bits` wide and holds `lanes` integers of `bits` bits, lane 0 in the least
significant bits; the high bits that are left over are zero. An integer never straddles two beats,
and every frame of `n` integers begins a fresh beat: it takes ceil(n / lanes) of them, the unused
lanes of the last one zero. The host's bytes are the beats, little endian, frames back to back.
Signed integers are two's complement; a bipolar one is a single bit, 1 for +1 and 0 for -1.

The simulator's harness and the board's driver both pack here, so an error cannot hide between them.
Runs on a board: Python 3.10, numpy 1.17 or later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.bitfields import CHEAP_WIDTHS, carrier_bits, pack_rows, unpack_rows
from deploy.errors import UserError


@dataclass(frozen=True)
class Packing:
    """The stream of frames of `n` integers of one type.

    Args:
        n: integers per frame.
        bits: bits per integer, 1 to 32.
        signed: two's complement if true.
        bipolar: {-1, +1} in one bit; `bits` is then 1 and `signed` true.
        beat_bits: width of a beat, a multiple of 8; 64 is the DMA's.
        lanes: integers per beat; None for as many as fit, beat_bits // bits.

    Raises:
        UserError: for numbers that describe no stream.
    """

    n: int
    bits: int
    signed: bool
    bipolar: bool = False
    beat_bits: int = 64
    lanes: int | None = None

    def __post_init__(self) -> None:
        def require(holds: bool, found: str, expected: str) -> None:
            if not holds:
                raise UserError("no such stream", found=found, expected=expected)

        require(self.n >= 1, f"n = {self.n}", "at least one integer per frame")
        require(1 <= self.bits <= 32, f"bits = {self.bits}", "1 to 32")
        require(
            not self.bipolar or (self.bits == 1 and self.signed),
            f"bipolar with bits = {self.bits}, signed = {self.signed}",
            "bits = 1, signed = True",
        )
        require(
            self.beat_bits >= self.bits and self.beat_bits % 8 == 0,
            f"beat_bits = {self.beat_bits}",
            f"a multiple of 8, at least the {self.bits} bits of one integer",
        )
        most = self.beat_bits // self.bits
        require(
            self.lanes is None or 1 <= self.lanes <= most,
            f"lanes = {self.lanes}",
            f"1 to {most}: {self.beat_bits} // {self.bits}",
        )

    @property
    def lanes_per_beat(self) -> int:
        """`lanes`, or as many as fit."""
        return self.beat_bits // self.bits if self.lanes is None else self.lanes

    @property
    def beats_per_frame(self) -> int:
        """ceil(n / lanes)."""
        return -(-self.n // self.lanes_per_beat)

    @property
    def bytes_per_frame(self) -> int:
        return self.beats_per_frame * self.beat_bits // 8

    @property
    def lo(self) -> int:
        """The least integer of the type."""
        if self.bipolar:
            return -1
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """The greatest integer of the type."""
        if self.bipolar:
            return 1
        return (1 << (self.bits - 1 if self.signed else self.bits)) - 1

    @property
    def dtype(self) -> np.dtype:
        """The narrowest numpy type that holds every integer of the stream."""
        return np.dtype(("int" if self.signed else "uint") + str(carrier_bits(self.bits)))

    def pack(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The bytes of frames.

        Args:
            x: integers of any integer dtype, shape (N, n).
            out: contiguous uint8 of N * bytes_per_frame values, which takes them; a DMA's buffer,
                so that whole bytes are copied once.

        Returns:
            uint8 array of shape (N, bytes_per_frame): `out`'s memory, or its own.

        Raises:
            UserError: another shape or dtype, or a value that the type does not hold.
        """
        self._check(x)
        carrier = np.dtype(f"<u{carrier_bits(self.bits) // 8}")
        fields = x > 0 if self.bipolar else x.astype(carrier, copy=False)
        n_rows, per_row, row_bytes = self._rows(len(x))
        if per_row != self.n:
            padded = np.zeros((len(x), self.beats_per_frame * per_row), fields.dtype)
            padded[:, : self.n] = fields
            fields = padded.reshape(n_rows, per_row)
        packed = pack_rows(np.ascontiguousarray(fields), self.bits)[:, :row_bytes]
        if out is not None or packed.shape[1] < row_bytes:
            rows = np.empty((n_rows, row_bytes), np.uint8) if out is None else out
            rows = rows.reshape(n_rows, row_bytes)
            rows[:, : packed.shape[1]] = packed
            rows[:, packed.shape[1] :] = 0
            packed = rows
        else:
            packed = _own(packed, x)
        return packed.reshape(len(x), self.bytes_per_frame)

    def unpack(self, data: bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
        """The frames in `data`; unused bits are not looked at.

        Args:
            data: the bytes of whole frames, as a buffer or a uint8 array of any shape.

        Returns:
            array of `self.dtype`, shape (N, n).

        Raises:
            UserError: `data` is not a whole number of frames, or not bytes.
        """
        flat = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
        if flat.dtype != np.uint8 or flat.size % self.bytes_per_frame:
            raise UserError(
                "the bytes are not a whole number of frames",
                found=f"{flat.size} elements of {flat.dtype}",
                expected=f"uint8, a multiple of {self.bytes_per_frame} bytes per frame",
            )
        n_frames = flat.size // self.bytes_per_frame
        n_rows, per_row, row_bytes = self._rows(n_frames)
        rows = np.ascontiguousarray(flat).reshape(n_rows, row_bytes)
        fields = unpack_rows(rows, per_row, self.bits)
        if per_row != self.n:
            fields = fields.reshape(n_frames, self.beats_per_frame * per_row)[:, : self.n]
        return _own(self._to_integers(fields), flat)

    def _rows(self, n_frames: int) -> tuple[int, int, int]:
        """The runs of fields without a gap: how many rows, fields per row, bytes per row.

        Beats without spare bits make one row per frame; otherwise each beat is a row.
        """
        no_spare = self.lanes_per_beat * self.bits == self.beat_bits
        if no_spare and self.bits in CHEAP_WIDTHS:
            return n_frames, self.n, self.bytes_per_frame
        return n_frames * self.beats_per_frame, self.lanes_per_beat, self.beat_bits // 8

    def _to_integers(self, fields: np.ndarray) -> np.ndarray:
        """Unsigned fields as the stream's integers: sign extended, or 2x - 1 where bipolar."""
        if not self.signed:
            return fields.astype(self.dtype, copy=False)
        integers = fields.astype(self.dtype.str.replace("i", "u"), copy=False).view(self.dtype)
        if self.bipolar:
            return 2 * integers - self.dtype.type(1)
        if self.bits == self.dtype.itemsize * 8:
            return integers
        sign = self.dtype.type(1 << (self.bits - 1))
        return (integers ^ sign) - sign

    def _check(self, x: np.ndarray) -> None:
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "iu" or x.shape[1:] != (self.n,):
            found = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
            raise UserError(
                "frames of another shape or type than the stream's",
                found=found,
                expected=f"an integer array of shape (N, {self.n})",
            )
        holds = np.iinfo(x.dtype)
        if not x.size or (holds.min >= self.lo and holds.max <= self.hi):
            return
        # Python's integers compare exactly, whatever the array's own type can hold.
        fits = int(x.max()) <= self.hi and (holds.min >= self.lo or int(x.min()) >= self.lo)
        if fits and not (self.bipolar and np.count_nonzero(x) < x.size):
            return
        wrong = (x < self.lo) if x.dtype.kind == "i" else np.zeros(x.shape, bool)
        if int(x.max()) > self.hi:
            wrong |= x > x.dtype.type(self.hi)
        if self.bipolar:
            wrong |= x == 0
        frame, index = (int(i) for i in np.argwhere(wrong)[0])
        raise UserError(
            "a value does not fit the stream",
            where=f"frame {frame}, integer {index}",
            found=str(int(x[frame, index])),
            expected="-1 or +1" if self.bipolar else f"{self.lo} to {self.hi}",
        )


def _own(result: np.ndarray, given: np.ndarray) -> np.ndarray:
    """`result`, contiguous and in memory of its own: whole bytes travel as views up to here."""
    if np.may_share_memory(result, given):
        return result.copy()
    return np.ascontiguousarray(result)
