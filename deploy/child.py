"""Commands in processes of their own that are ended together, and with whoever started them.

Whatever happens to such a process (an error, a crash, the kernel's out-of-memory killer) stays
with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

# The processes that run, each with the call that it is of, and the calls that were ended.
_running: dict[subprocess.Popen[bytes], str] = {}
_stopped: set[str] = set()


def run_child(command: Sequence[str], folder: str, log: Path, call: str) -> int:
    """Runs a command in `folder`, what it prints appended to `log`; its exit code, -N of a signal.

    `call` is a name for all that `stop` ends together.
    """
    with open(log, "ab") as out:
        process = subprocess.Popen(
            list(command), cwd=folder, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT
        )
        with process:
            _running[process] = call
            try:
                return process.wait()
            finally:
                del _running[process]


def stop(call: str) -> None:
    """Ends the processes that this one has started for a call."""
    _stopped.add(call)
    for process, its_call in list(_running.items()):
        if its_call == call:
            process.terminate()


def is_stopped(call: str) -> bool:
    """Whether `stop` has ended the call."""
    return call in _stopped


def reason(log: Path, code: int) -> str:
    """Why a process ended with an exit code other than 0, by its log, in one line."""
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    errors = [i for i, line in enumerate(lines) if line.startswith("error: ")]
    said = "; ".join(lines[errors[-1] :]) if errors else "".join(lines[-1:])
    return f"{ending}: {said.removeprefix('error: ')[:500]}"


def end_with_starter() -> None:
    """Ends this process at once when whoever holds standard input's other end is gone.

    The kernel closes that end even where its holder was killed.
    """
    threading.Thread(target=_end_at_eof, daemon=True).start()


def _end_at_eof() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def threads(workers: int, call: str) -> Iterator[Executor]:
    """Waits for processes here; those of `call` are ended where this is left early."""
    executor = ThreadPoolExecutor(workers)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        stop(call)
        raise
    finally:
        executor.shutdown()
