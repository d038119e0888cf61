"""What computes behind a virtual board: passed in from outside, in this process or another one.

An executor takes the bytes of whole frames, as they stand in memory, and gives the bytes that the
accelerator writes. `ProcessExecutor` speaks to one in a process of its own: every message is a
line of JSON, then the bytes that it announces.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np

from deploy.errors import GateError, MachineError, NarrowgaugeError, UserError

RTL, GOLDEN = "rtl-simulation", "golden-model"
BOARD = "board"
"""The `source` of figures: silicon, simulated cycles, or no cycles at all."""


@dataclass(frozen=True, eq=False)
class Execution:
    """One transfer.

    Args:
        data: uint8, the output frames' bytes.
        frame_ends: int64, by frame: the cycle of its last output beat, the first input beat's being
            0; None where nothing has cycles.
        input_stalls, output_stalls: cycles in which a valid beat waited for ready.
    """

    data: np.ndarray
    frame_ends: np.ndarray | None = None
    input_stalls: int = 0
    output_stalls: int = 0


class Executor(Protocol):
    """`source` is RTL or GOLDEN; `identity` the sha256 of the build that it executes."""

    source: str
    identity: str

    def run(self, data: np.ndarray, frames: int) -> Execution:
        """Executes one transfer of `frames` frames, `data` being uint8.

        Raises:
            GateError: it is stuck, as the hardware would be.
        """
        ...

    def write(self, register: int, value: int) -> None:
        """Writes the register at an offset, of those that write memories."""
        ...

    def reset(self) -> None:
        """Forgets whatever it did before, as loading a bitstream does."""
        ...

    def close(self) -> None: ...


class ProcessExecutor:
    """An executor in a process of its own, started by `command` (an argument list).

    Raises:
        MachineError: it does not start, or ends before it should.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise MachineError(
                "the executor does not start", where=" ".join(command), found=str(error)
            ) from error
        hello, _ = self._receive()
        self.source, self.identity = str(hello["source"]), str(hello["identity"])

    def run(self, data: np.ndarray, frames: int) -> Execution:
        """See `Executor`."""
        send(self._stdin, {"frames": frames}, np.ascontiguousarray(data).tobytes())
        head, body = self._receive()
        n_ends = head["n_ends"]
        ends = np.frombuffer(body[: 8 * n_ends], np.int64) if n_ends else None
        return Execution(
            np.frombuffer(body[8 * n_ends :], np.uint8),
            ends,
            head["input_stalls"],
            head["output_stalls"],
        )

    def write(self, register: int, value: int) -> None:
        """See `Executor`. Nothing comes back: there are many, and none can fail."""
        send(self._stdin, {"register": register, "value": value}, b"")

    def reset(self) -> None:
        """See `Executor`."""
        send(self._stdin, {"reset": True}, b"")
        self._receive()

    def close(self) -> None:
        """Ends the process."""
        self._stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _stdin(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise ValueError("stdin is a pipe")
        return self._process.stdin

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        message = receive(self._process.stdout) if self._process.stdout else None
        if message is None:
            raise MachineError(
                "the executor's process ended",
                where=" ".join(self._command),
                found=f"exit code {self._process.wait()}; its own words stand above",
            )
        head, body = message
        if "error" in head:
            raise (UserError if head["user"] else GateError)(**head["error"])
        return head, body


_OF_ERRORS = ("what", "where", "found", "expected", "fix")


def serve(executor: Executor, requests: IO[bytes], replies: IO[bytes]) -> None:
    """The other end of a `ProcessExecutor`: answers until `requests` ends."""
    send(replies, {"source": executor.source, "identity": executor.identity}, b"")
    while (message := receive(requests)) is not None:
        head, body = message
        if "register" in head:
            executor.write(head["register"], head["value"])
            continue
        if head.get("reset"):
            executor.reset()
            send(replies, {}, b"")
            continue
        try:
            done = executor.run(np.frombuffer(body, np.uint8), head["frames"])
        except NarrowgaugeError as error:
            told = {name: getattr(error, name) for name in _OF_ERRORS}
            send(replies, {"error": told, "user": isinstance(error, UserError)}, b"")
            continue
        ends = b"" if done.frame_ends is None else done.frame_ends.astype(np.int64).tobytes()
        answer = {
            "n_ends": len(ends) // 8,
            "input_stalls": done.input_stalls,
            "output_stalls": done.output_stalls,
        }
        send(replies, answer, ends + done.data.tobytes())


def send(pipe: IO[bytes], head: dict[str, Any], body: bytes) -> None:
    """One message: a line of JSON with the number of bytes that follow, and those."""
    pipe.write(json.dumps({**head, "bytes": len(body)}).encode() + b"\n" + body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next message, or None at the end of the pipe."""
    line = pipe.readline()
    if not line:
        return None
    head = json.loads(line)
    return head, pipe.read(head["bytes"])
