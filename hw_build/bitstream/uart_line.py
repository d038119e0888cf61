"""A UART of a simulated board: `deploy.uart.Port` around RTL or a netlist under Verilator."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.errors import GateError, MachineError

from ..verilator import build_with_harness

TOP = "uart_accelerator"
HARNESS = Path(__file__).with_name("uart_line.cpp")


class SimulatedLine:
    """The host's end. Close it, or use it in a `with`.

    Args:
        sources: of the module `uart_accelerator` and of all below it, or its netlist.
        bit: cycles of the board's clock that the host's bit takes; need not be whole.
        memories: the folder that memory files are read from.
        gaps: the longest random pause between two bytes, in bits.
        patience: cycles without a byte after which nothing more is awaited.
        parameters: of the module, where they are not its defaults.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        bit: float,
        memories: Path,
        *,
        gaps: float = 0.0,
        patience: int = 100_000,
        parameters: Mapping[str, int] | None = None,
    ) -> None:
        self._patience = patience
        self._library = ctypes.CDLL(str(build_with_harness(TOP, sources, HARNESS, parameters)))
        u64, pointer = ctypes.c_uint64, ctypes.c_void_p
        for name, arguments, result in (
            ("open", [ctypes.c_char_p, u64, u64], pointer),
            ("close", [pointer], None),
            ("send", [pointer, ctypes.c_char_p, u64], None),
            ("break", [pointer], None),
            ("receive", [pointer, ctypes.c_char_p, u64, u64], u64),
            ("torn", [pointer], u64),
            ("cycles", [pointer], u64),
        ):
            function = getattr(self._library, f"line_{name}")
            function.argtypes, function.restype = arguments, result
        scaled = round(256 * bit)
        self._handle = self._library.line_open(str(memories).encode(), scaled, round(gaps * scaled))
        if not self._handle:
            raise MachineError("the memory folder can't be entered", where=str(memories))

    def write(self, data: bytes) -> None:
        """See `deploy.uart.Port`; bytes leave while something is read: then time goes on."""
        self._library.line_send(self._handle, data, len(data))

    def read(self, n: int) -> bytes:
        """See `deploy.uart.Port`.

        Raises:
            GateError: a byte without start or stop bit came.
        """
        buffer = ctypes.create_string_buffer(n)
        done = self._library.line_receive(self._handle, buffer, n, self._patience)
        if torn := self._library.line_torn(self._handle):
            raise GateError(
                "the UART sends bytes that are none",
                found=f"{torn} start or stop bits of the wrong level",
                expected=f"the host's baud rate, at cycle {self.cycles}",
            )
        return buffer.raw[:done]

    def send_break(self) -> None:
        """See `deploy.uart.Port`."""
        self._library.line_break(self._handle)

    @property
    def cycles(self) -> int:
        """Of the board's clock, since it was opened."""
        return self._library.line_cycles(self._handle)

    def close(self) -> None:
        """Ends the simulation."""
        if self._handle:
            self._library.line_close(self._handle)
            self._handle = None

    def __enter__(self) -> SimulatedLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
