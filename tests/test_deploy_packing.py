"""Packing against a reference that shares nothing with it: Python's own big integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.errors import UserError
from deploy.packing import Packing


def reference_bytes(packing: Packing, frames: list[list[int]]) -> bytes:
    """One big integer per beat, as docs/streams.md says it in words."""
    lanes = packing.lanes or packing.beat_bits // packing.bits
    data = b""
    for frame in frames:
        for start in range(0, packing.n, lanes):
            beat = 0
            for lane, value in enumerate(frame[start : start + lanes]):
                code = (value + 1) // 2 if packing.bipolar else value % 2**packing.bits
                beat += code << (lane * packing.bits)
            data += beat.to_bytes(packing.beat_bits // 8, "little")
    return data


@st.composite
def streams(draw: st.DrawFn) -> tuple[Packing, np.ndarray]:
    bipolar = draw(st.integers(0, 7)) == 0
    bits = 1 if bipolar else draw(st.integers(1, 32))
    signed = bipolar or draw(st.booleans())
    beat_bits = draw(st.sampled_from([8, 24, 32, 64, 96, 256]).filter(lambda b: b >= bits))
    lanes = draw(st.none() | st.integers(1, beat_bits // bits))
    n = draw(st.integers(1, 40))
    packing = Packing(n, bits, signed, bipolar, beat_bits, lanes)
    values = st.sampled_from([-1, 1]) if bipolar else st.integers(packing.lo, packing.hi)
    n_frames = draw(st.integers(0, 3))
    count = n * n_frames
    flat = draw(st.lists(values, min_size=count, max_size=count))
    dtype = draw(st.sampled_from([np.int64, packing.dtype]))
    return packing, np.array(flat, dtype).reshape(n_frames, n)


@settings(max_examples=400, deadline=None)
@given(streams())
def test_bytes_are_the_reference_and_come_back(stream: tuple[Packing, np.ndarray]) -> None:
    packing, x = stream
    packed = packing.pack(x)
    assert packed.shape == (len(x), packing.bytes_per_frame)
    assert packed.dtype == np.uint8
    assert packed.tobytes() == reference_bytes(packing, x.tolist())
    back = packing.unpack(packed)
    assert back.dtype == packing.dtype
    np.testing.assert_array_equal(back, x)
    np.testing.assert_array_equal(packing.unpack(packed.tobytes()), x)


@pytest.mark.parametrize("bits", range(1, 33))
@pytest.mark.parametrize("signed", [False, True])
def test_every_width_at_its_extremes(bits: int, signed: bool) -> None:
    for lanes in (None, 1, max(1, 64 // bits - 1)):
        packing = Packing(67, bits, signed, lanes=lanes)
        rng = np.random.default_rng(bits)
        x = rng.integers(packing.lo, packing.hi, (5, 67), endpoint=True)
        x[0], x[1] = packing.lo, packing.hi
        packed = packing.pack(x)
        assert packed.tobytes() == reference_bytes(packing, x.tolist())
        np.testing.assert_array_equal(packing.unpack(packed), x)


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 12, 16, 21, 32])
def test_unused_bits_are_zero_when_packed_and_ignored_when_unpacked(bits: int) -> None:
    packing = Packing(10, bits, signed=False, lanes=1)
    x = np.full((2, 10), packing.hi)
    packed = packing.pack(x)
    beats = packed.view("<u8")
    assert (beats >> np.uint64(bits) == 0).all()
    beats |= np.uint64(2**64 - 2**bits)
    np.testing.assert_array_equal(packing.unpack(packed), x)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 13, 32])
def test_views_that_are_not_contiguous_pack_alike(bits: int) -> None:
    packing = Packing(20, bits, signed=False)
    x = np.random.default_rng(0).integers(0, packing.hi, (6, 40), endpoint=True)[::2, ::2]
    packed = packing.pack(x)
    np.testing.assert_array_equal(packed, packing.pack(x.copy()))
    wide = np.zeros((3, 2 * packing.bytes_per_frame), np.uint8)
    wide[:, ::2] = packed
    np.testing.assert_array_equal(packing.unpack(wide[:, ::2]), x)


def test_frames_begin_a_fresh_beat() -> None:
    packing = Packing(3, 4, signed=False, beat_bits=8)
    assert (packing.beats_per_frame, packing.bytes_per_frame) == (2, 2)
    packed = packing.pack(np.array([[1, 2, 3], [4, 5, 6]]))
    assert packed.tobytes() == bytes([0x21, 0x03, 0x54, 0x06])


@pytest.mark.parametrize(
    ("packing", "value", "text"),
    [
        (Packing(5, 3, False), 8, "0 to 7"),
        (Packing(5, 3, False), -1, "0 to 7"),
        (Packing(5, 3, True), 4, "-4 to 3"),
        (Packing(5, 1, True), 1, "-1 to 0"),
        (Packing(5, 1, True, bipolar=True), 0, r"-1 or \+1"),
        (Packing(5, 1, True, bipolar=True), 3, r"-1 or \+1"),
        (Packing(5, 32, False), 2**32, "0 to 4294967295"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_place(
    packing: Packing, value: int, text: str
) -> None:
    x = np.full((4, 5), packing.hi, np.int64)
    x[2, 3] = x[3, 0] = value
    with pytest.raises(UserError, match=rf"(?s)frame 2, integer 3.*found: +{value}\n.*{text}"):
        packing.pack(x)


def test_an_unsigned_array_too_wide_for_a_signed_stream_is_refused() -> None:
    with pytest.raises(UserError, match="18446744073709551615"):
        Packing(1, 32, True).pack(np.array([[2**64 - 1]], np.uint64))
    with pytest.raises(UserError, match=r"found: +200"):
        Packing(1, 8, True).pack(np.array([[200]], np.uint8))


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 4), int),
        np.zeros(5, int),
        np.zeros((2, 5)),
        np.zeros((1, 2, 5), int),
        [[0] * 5],
    ],
)
def test_another_shape_or_dtype_is_refused(x: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"an integer array of shape \(N, 5\)"):
        Packing(5, 8, False).pack(x)


def test_a_torn_frame_is_refused() -> None:
    packing = Packing(9, 8, False)
    with pytest.raises(UserError, match="a multiple of 16 bytes per frame"):
        packing.unpack(bytes(24))
    with pytest.raises(UserError, match="32 elements of int64"):
        packing.unpack(np.zeros(32, np.int64))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 0}, "n = 0"),
        ({"bits": 33}, "bits = 33"),
        ({"bits": 0}, "bits = 0"),
        ({"bits": 2, "bipolar": True, "signed": True}, "bipolar with bits = 2"),
        ({"beat_bits": 12}, "beat_bits = 12"),
        ({"bits": 16, "beat_bits": 8}, "beat_bits = 8"),
        ({"lanes": 9}, "lanes = 9"),
        ({"lanes": 0}, "lanes = 0"),
    ],
)
def test_numbers_that_describe_no_stream_are_refused(arguments: dict, text: str) -> None:
    with pytest.raises(UserError, match=text):
        Packing(**{"n": 4, "bits": 8, "signed": False, **arguments})


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_results_never_share_memory_with_what_was_given(bits: int) -> None:
    packing = Packing(8, bits, signed=False)
    x = np.ones((2, 8), packing.dtype)
    packed = packing.pack(x)
    back = packing.unpack(packed)
    packed[:] = 0
    back[:] = 7
    assert (x == 1).all()
    assert packing.unpack(bytes(packed)).flags.writeable


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 12])
@pytest.mark.parametrize("beat_bits", [16, 64])
def test_packing_into_a_buffer_gives_the_same_bytes(bits: int, beat_bits: int) -> None:
    packing = Packing(21, bits, signed=False, beat_bits=beat_bits)
    x = np.random.default_rng(bits).integers(0, 1 << bits, (9, 21)).astype(np.uint16)
    buffer = np.full(9 * packing.bytes_per_frame, 0xAA, np.uint8)
    packed = packing.pack(x, buffer)
    assert np.shares_memory(packed, buffer)
    np.testing.assert_array_equal(buffer, packing.pack(x).reshape(-1))
