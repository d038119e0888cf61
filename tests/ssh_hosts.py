"""A host behind a real ssh server on loopback, and the options of ssh that reach it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pynq_environments import ROOT, ssh_environment


@dataclass(frozen=True)
class Host:
    """A host with the options of ssh that reach it, its home, and the server's process."""

    host: str
    ssh: str
    home: Path
    server: subprocess.Popen[str]


@contextmanager
def serving(folder: Path, path: str, pythonpath: str = "") -> Iterator[Host]:
    """The host, whose commands have this PATH and PYTHONPATH, as long as this is open."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh client here: apt-get install openssh-client")
    for name in ("host", "client"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True)
    home = folder / "home"
    home.mkdir()
    server = subprocess.Popen(
        [
            *(str(ssh_environment()), str(ROOT / "tests" / "ssh_server.py"), str(folder / "host")),
            *(str(folder / "client.pub"), str(home), path, pythonpath),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    options = f"-i {folder / 'client'} -p {port} -o StrictHostKeyChecking=no -o BatchMode=yes"
    options += f" -o UserKnownHostsFile={folder / 'known'} -o LogLevel=ERROR -F none"
    try:
        yield Host("someone@127.0.0.1", f"ssh {options}", home, server)
    finally:
        server.kill()
        server.wait()
