"""Runs a command that ends when whoever started it does, however that ended.

    python leash.py COMMAND ...             with a pipe as standard input

The kernel closes the pipe's other end even where its holder was killed; then the command and all
that it started are ended, and a container with them, whose id docker wrote into a file (--cidfile).
Leads a process group of its own. Standard library alone, Python 3.7 or later: it is run as a file,
behind ssh too, which closes the pipe there when it is closed here or the connection is lost.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

SECONDS_TO_END = 10.0
CID_OPTION = "--cidfile"


def main(command: list[str]) -> int:
    """The command's exit code; 128 and the signal's number where one ended it."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    # What ends the group must not end us first. A handler, as an ignored signal would be inherited.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # Inherited files stay open in it: one of them is the lock on its folder.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)
    alone = threading.Event()
    watch = threading.Thread(target=_end_at_eof, args=(process, command, alone), daemon=True)
    watch.start()
    code = process.wait()
    if alone.is_set():
        watch.join()  # which ends us
    return code if code >= 0 else 128 - code


def _end_at_eof(
    process: subprocess.Popen[bytes], command: list[str], alone: threading.Event
) -> None:
    """Asks the group to end once nobody holds the pipe any more, then makes it; ends us as well."""
    os.read(sys.stdin.fileno(), 1)
    alone.set()
    os.killpg(0, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_END)
    if CID_OPTION in command:
        end_container(Path(command[command.index(CID_OPTION) + 1]))
    os.killpg(0, signal.SIGKILL)


def end_container(id_file: Path) -> None:
    """Ends the container that the file names, if it still runs, and forgets it."""
    if id_file.is_file():
        subprocess.run(["docker", "kill", id_file.read_text().strip()], capture_output=True)
        id_file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
