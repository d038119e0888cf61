"""Rows of small unsigned integers laid end to end in bytes, and back, a few array operations each.

Field i of a row takes bits i * bits to (i + 1) * bits - 1 of the row, bit b being bit b % 8 of byte
b // 8. `deploy.packing` makes beats and frames of such rows.

One bit goes by numpy's own packbits, whole bytes by a view. All else is joined by doubling: in a
word of twice the size two neighbours become one field of twice the width, until a field is a byte
(2 and 4 bits) or sits in a 64-bit word, and the words are then shifted into their places in a row.
"""

from __future__ import annotations

import numpy as np

CHEAP_WIDTHS = (1, 2, 4, 8, 16, 32)
"""Widths whose cost does not grow with the length of a row. Others want short rows."""


def carrier_bits(bits: int) -> int:
    """The width of the narrowest numpy integer that holds `bits` bits: 8, 16 or 32."""
    return 8 if bits <= 8 else 16 if bits <= 16 else 32


def pack_rows(fields: np.ndarray, bits: int) -> np.ndarray:
    """Each row's fields end to end, the first in the least significant bits.

    Args:
        fields: contiguous (M, k) of '<u1', '<u2' or '<u4', as `carrier_bits` says; bool will do for
            one bit. Only the low `bits` bits of a field count, except at one bit, where any value
            but zero is 1.
        bits: 1 to 32.

    Returns:
        uint8 (M, B), B at least ceil(k * bits / 8); bits after the last field are zero.
    """
    n_rows, per_row = fields.shape
    if bits == 1 and per_row % 8 == 0:  # every row ends with a byte: one run is faster than many
        packed = np.packbits(fields.reshape(-1), bitorder="little")
        return packed.reshape(n_rows, per_row // 8)
    if bits == 1:
        return np.packbits(fields, axis=1, bitorder="little")
    if bits == fields.itemsize * 8:
        return fields.view(np.uint8)
    words = np.zeros((n_rows, per_row + -per_row % _fields_per_word(bits)), fields.dtype)
    np.bitwise_and(fields, fields.dtype.type(_ones(bits)), out=words[:, :per_row])
    # In place, with one array beside: a fresh one for every step costs more than the step.
    width, beside = bits, np.empty_like(words)
    while width != 8 and words.itemsize < 8:
        half = words.itemsize * 8
        words, beside = (part.view(f"<u{words.itemsize * 2}") for part in (words, beside))
        number = words.dtype.type
        np.right_shift(words, number(half), out=beside)
        beside <<= number(width)
        words &= number(_ones(width))
        words |= beside
        width *= 2
    if width == 8:
        return words.astype(np.uint8)
    row = np.zeros((n_rows, -(-per_row * bits // 64)), "<u8")
    for group in range(words.shape[1]):
        word, offset = divmod(group * width, 64)
        row[:, word] |= words[:, group] << np.uint64(offset)
        if offset + width > 64 and word + 1 < row.shape[1]:
            row[:, word + 1] |= words[:, group] >> np.uint64(64 - offset)
    return row.view(np.uint8)


def unpack_rows(rows: np.ndarray, per_row: int, bits: int) -> np.ndarray:
    """The inverse of `pack_rows`.

    Args:
        rows: contiguous uint8 (M, B), B at least ceil(per_row * bits / 8); what follows the last
            field is not looked at.
        per_row: fields per row, k.
        bits: 1 to 32.

    Returns:
        (M, k) of '<u1', '<u2' or '<u4'.
    """
    if bits == 1:
        return np.unpackbits(rows, axis=1, count=per_row, bitorder="little")
    if bits == carrier_bits(bits):
        octets = np.ascontiguousarray(rows[:, : per_row * bits // 8])
        return octets.view(f"<u{bits // 8}")
    n_words = -(-per_row // _fields_per_word(bits))
    if bits in (2, 4):
        width = 8
        words = rows[:, :n_words].astype(f"<u{8 // bits}")
    else:
        width = bits * _fields_per_word(bits)
        words = _cut_words(_as_words(rows), n_words, width)
    while width > bits:
        width //= 2
        half = words.itemsize * 4
        lower = words & words.dtype.type(_ones(width))
        upper = (words >> words.dtype.type(width)) & words.dtype.type(_ones(width))
        words = (lower | (upper << words.dtype.type(half))).view(f"<u{words.itemsize // 2}")
    return words[:, :per_row]


def _as_words(rows: np.ndarray) -> np.ndarray:
    """(M, B) bytes as (M, ceil(B / 8)) of '<u8', filled up with zeros."""
    n_rows, n_bytes = rows.shape
    if n_bytes % 8:
        filled = np.zeros((n_rows, n_bytes + -n_bytes % 8), np.uint8)
        filled[:, :n_bytes] = rows
        rows = filled
    return rows.view("<u8")


def _cut_words(row: np.ndarray, n_words: int, width: int) -> np.ndarray:
    """(M, W) of '<u8' cut into (M, n_words) of '<u8' of `width` bits each; past the end are zeros.

    What a word holds above its `width` bits is left for the caller to mask.
    """
    words = np.zeros((len(row), n_words), "<u8")
    for group in range(n_words):
        word, offset = divmod(group * width, 64)
        if word < row.shape[1]:
            words[:, group] = row[:, word] >> np.uint64(offset)
        if offset + width > 64 and word + 1 < row.shape[1]:
            words[:, group] |= row[:, word + 1] << np.uint64(64 - offset)
    return words


def _fields_per_word(bits: int) -> int:
    """How many fields the doubling joins: to a byte at 2 and 4 bits, else to a 64-bit word."""
    return 8 // bits if bits in (2, 4) else 64 // carrier_bits(bits)


def _ones(width: int) -> int:
    return (1 << width) - 1
