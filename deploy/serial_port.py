"""A serial port of this machine at `deploy.uart.BAUD`, as `deploy.uart.Port`."""

from __future__ import annotations

import os
import select
import termios
import time
import tty

from deploy.errors import MachineError
from deploy.uart import BAUD

SECONDS = 2.0
"""Without a byte, after which nothing more is awaited."""

SECONDS_AFTER_BREAK = 0.05
_SPEED = getattr(termios, f"B{BAUD}", None)


class SerialPort:
    """The tty at `path`, such as /dev/ttyUSB0. Close it, or use it in a `with`.

    Raises:
        MachineError: it can't be opened, or has no such speed.
    """

    def __init__(self, path: str) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            raise MachineError(
                "the serial port can't be opened",
                where=path,
                found=str(error),
                fix="its name is one of /dev/ttyUSB*; its group, often dialout, has to be yours",
            ) from error
        try:
            tty.setraw(self._file)
            settings = termios.tcgetattr(self._file)
            settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
            settings[4] = settings[5] = _SPEED
            termios.tcsetattr(self._file, termios.TCSAFLUSH, settings)
        except (termios.error, TypeError) as error:
            self.close()
            raise MachineError(
                "the serial port can't be set up", where=path, found=str(error)
            ) from error

    def write(self, data: bytes) -> None:
        """See `deploy.uart.Port`."""
        while data:
            data = data[os.write(self._file, data) :]

    def read(self, n: int) -> bytes:
        """See `deploy.uart.Port`."""
        data = b""
        while len(data) < n and select.select([self._file], [], [], SECONDS)[0]:
            part = os.read(self._file, n - len(data))
            if not part:  # the line is gone
                break
            data += part
        return data

    def send_break(self) -> None:
        """See `deploy.uart.Port`."""
        termios.tcsendbreak(self._file, 0)
        time.sleep(SECONDS_AFTER_BREAK)
        termios.tcflush(self._file, termios.TCIFLUSH)

    def close(self) -> None:
        """Gives the port back."""
        os.close(self._file)

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
