"""An accelerator behind a UART: requests and replies, one at a time (contract: docs/ecp5.md).

A UART has no flow control, and the accelerator may have to wait: so a request carries no more than
the board has room for, and the next one is sent when the reply is there. Output beats come whenever
there are any.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from deploy.errors import GateError, MachineError
from deploy.registers import MAGIC, OFFSETS, VERSION, identity_words

BAUD = 1_000_000
BEAT_BYTES = 8
BEATS = 16
"""The most that a request carries."""


def most_frames_per_second(input_beats: int, output_beats: int) -> float:
    """What the line carries at best, of frames of so many beats: ten bits a byte, each way."""
    requests = -(-input_beats // BEATS)
    there = BEAT_BYTES * input_beats + 2 * requests
    back = (BEAT_BYTES + 1) * output_beats
    return BAUD / 10 / max(there + requests, back + requests)


class Port(Protocol):
    """A serial line of `BAUD`, eight data bits, no parity, one stop bit."""

    def write(self, data: bytes) -> None: ...

    def read(self, n: int) -> bytes:
        """The next `n` bytes, or fewer if none came for longer than the board may take."""
        ...

    def send_break(self) -> None:
        """Holds the line low for longer than a byte, and forgets what was received."""
        ...


class UartAccelerator:
    """The accelerator at the other end of `port`, reset."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._beats = bytearray()  # of the output, that nobody has asked for yet
        port.send_break()

    def require(self, identity: str) -> None:
        """GateError unless the build behind the line is `identity`, a sha256 in hex."""
        names = ("MAGIC", "VERSION", "IDENTITY0", "IDENTITY1", "IDENTITY2", "IDENTITY3")
        wanted = (MAGIC, VERSION, *identity_words(identity))
        found = tuple(map(self.read_register, names))
        if found != wanted:
            raise GateError(
                "another accelerator is behind the UART",
                found=" ".join(f"{word:08x}" for word in found),
                expected=" ".join(f"{word:08x}" for word in wanted),
            )

    def read_register(self, name: str) -> int:
        """A register by its name in `deploy.registers`."""
        self._port.write(b"R" + bytes([OFFSETS[name]]))
        self._await(b"r")
        return int.from_bytes(self._read(4), "little")

    def write_register(self, name: str, value: int) -> None:
        """Writes 32 bits."""
        self._port.write(b"W" + bytes([OFFSETS[name]]) + value.to_bytes(4, "little"))
        self._await(b"w")

    def send(self, data: np.ndarray) -> None:
        """Sends whole beats, uint8; returns when the accelerator has taken them all.

        Raises:
            MachineError: the board does not answer.
        """
        content, most = data.tobytes(), BEATS * BEAT_BYTES
        for start in range(0, len(content), most):
            part = content[start : start + most]
            self._port.write(b"D" + bytes([len(part) // BEAT_BYTES]) + part)
            self._await(b"d")

    def receive(self, n_beats: int) -> np.ndarray:
        """The next `n_beats` output beats as uint8.

        Raises:
            MachineError: they don't come.
        """
        wanted = n_beats * BEAT_BYTES
        while len(self._beats) < wanted:
            self._take(self._read(1), expected=b"o")
        taken = bytes(self._beats[:wanted])
        del self._beats[:wanted]
        return np.frombuffer(taken, np.uint8)

    def _await(self, reply: bytes) -> None:
        while (code := self._read(1)) != reply:
            self._take(code, expected=reply)

    def _take(self, code: bytes, expected: bytes) -> None:
        """An output beat, whose code was read; anything else is none of the protocol."""
        if code != b"o":
            raise MachineError(
                "the board answers what it was not asked",
                found=repr(code),
                expected=f"{expected!r}, or b'o' and an output beat",
                fix="another program has the line open, or another bitstream is loaded",
            )
        self._beats += self._read(BEAT_BYTES)

    def _read(self, n: int) -> bytes:
        data = self._port.read(n)
        if len(data) < n:
            raise MachineError(
                "the board does not answer",
                found=f"{len(data)} of {n} bytes",
                fix=f"load its bitstream, and use the line that leads to it, at {BAUD} baud",
            )
        return data
