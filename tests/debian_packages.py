"""Debian packages unpacked beside .venv, for tests that need a program of theirs: no root, nothing
installed.

apt runs on folders of its own, with the machine's mirror as its only source.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.durable import locked

ROOT = Path(__file__).resolve().parent.parent
RELEASE = "bookworm"


class NoMirror(Exception):  # noqa: N818 (it is not our code that erred)
    """apt, or a mirror that it reaches, is missing: a test says so and is skipped."""


def unpacked(
    name: str, packages: Sequence[str], architecture: str, with_dependencies: bool = True
) -> Path:
    """The folder with these packages' files, made once and kept as .venv-debian-NAME.

    Args:
        architecture: as Debian names it: amd64, armhf.
        with_dependencies: with all that they need, as apt resolves it.

    Raises:
        NoMirror: they can't be had here.
    """
    folder = ROOT / f".venv-debian-{name}"
    stamp, wanted = folder / ".made-from", f"{RELEASE} {architecture} {' '.join(packages)}"
    digest = hashlib.sha256(f"{wanted} {with_dependencies}".encode()).hexdigest()
    with locked(ROOT / f".venv-debian-{name}.lock", wait=True):
        if not stamp.exists() or stamp.read_text() != digest:
            shutil.rmtree(folder, ignore_errors=True)
            _fetch(folder, packages, architecture, with_dependencies)
            stamp.write_text(digest)
    return folder


def _fetch(
    folder: Path, packages: Sequence[str], architecture: str, with_dependencies: bool
) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoMirror("no apt-get and dpkg-deb here")
    apt = folder / "apt"
    for part in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "download"):
        (apt / part).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "etc" / "sources.list").write_text(f"deb {_mirror()} {RELEASE} main\n")
    options = {
        "Dir": apt,
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc": apt / "etc",
        "Dir::Etc::Trusted": "/etc/apt/trusted.gpg",
        "Dir::Etc::TrustedParts": "/etc/apt/trusted.gpg.d",
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": 20,
    }
    command = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    _run([*command, "update"], apt)
    if with_dependencies:
        _run([*command, "-y", "--no-install-recommends", "-d", "install", *packages], apt)
    else:
        _run([*command, "download", *packages], apt / "download")
    archives = sorted(apt.rglob("*.deb"))
    if not archives:
        raise NoMirror(f"apt-get has fetched nothing of {', '.join(packages)}")
    for archive in archives:
        _run(["dpkg-deb", "-x", str(archive), str(folder)], apt)
    shutil.rmtree(apt)


def _mirror() -> str:
    """The first mirror of Debian that this machine's apt is set up for."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(path.read_text(errors="replace") for path in files if path.is_file())
    found = re.search(r"^(?:deb(?:-src)?\s+(?:\[.*?\]\s+)?|URIs:\s*)(\S+)", text, re.MULTILINE)
    if found is None or "debian" not in text:
        raise NoMirror("apt has no mirror of Debian here")
    return found.group(1)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoMirror(f"{command[0]} fails: {done.stderr.strip()[-300:]}")
