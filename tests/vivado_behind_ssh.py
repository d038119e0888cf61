"""A stand-in for Vivado on a host behind a real ssh server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_hosts import Host, serving
from vivado_builds import HERE, scripts_of

PLACE = "ssh:someone@127.0.0.1"


class There:
    """The host, with a fake Vivado on its PATH alone."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host, self.record, self.vivado = host, folder / "calls", folder / "Vivado/bin/vivado"
        self.vivado.parent.mkdir(parents=True)
        self.vivado.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/fake_vivado.py" "$@"\n')
        self.vivado.chmod(0o755)
        self.profile()

    def profile(self, *lines: str, fault: str = "") -> None:
        """What a login shell there reads; it may say something, as some do."""
        (self.host.home / ".profile").write_text(
            f"echo welcome\nPATH={self.vivado.parent}:$PATH\nexport FAKE_VIVADO_FAULT={fault}\n"
            f"export FAKE_VIVADO_RECORD={self.record}\n" + "\n".join(lines) + "\n"
        )

    def scripts(self) -> list[str]:
        calls = self.record.read_text().splitlines() if self.record.exists() else []
        return scripts_of([json.loads(line) for line in calls])

    def hanging(self) -> str:
        """The process that hangs there, once one does."""
        marks = [folder / "hangs.pid" for folder in self.folders()]
        return "".join(mark.read_text() for mark in marks if mark.is_file())

    def folders(self) -> list[Path]:
        return sorted((self.host.home / "narrowgauge" / "vivado").glob("*"))


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[There]:
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    monkeypatch.setenv("NARROWGAUGE_STORE", str(tmp_path / "store"))
    folder = tmp_path / "host"
    folder.mkdir()
    with serving(folder, os.environ["PATH"]) as host:
        wrapper = tmp_path / "bin" / "ssh"
        wrapper.parent.mkdir()
        options = host.ssh.removeprefix("ssh ")
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {options} "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
        yield There(host, folder)
