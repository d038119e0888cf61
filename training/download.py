"""One file from a public home to a local cache: checked, and never half-written."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.errors import MachineError

_TIMEOUT_SECONDS = 30.0
_BLOCK_BYTES = 1 << 16


def fetch(
    urls: Sequence[str], target: Path, *, sha256: str, say: Callable[[str], None] = print
) -> None:
    """Downloads one file, trying each address in turn, into `target`.

    The bytes are written to `target` + ".part", checked against `sha256` and renamed, so that
    `target` is always whole. A part left over by a broken attempt is gone on with where the server
    can (HTTP ranges), and thrown away where its checksum proves wrong.

    Raises:
        MachineError: no address gave the right bytes; the message holds each one's reason.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    reasons = []
    for url in urls:
        say(f"downloading {url}")
        try:
            _fetch_rest(url, part)
        # ValueError: an address that urllib does not understand.
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, OSError) and error.errno and not _is_of_network(error):
                raise MachineError(
                    "a download can't be written", where=str(part), found=str(error)
                ) from error
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        found = hashlib.sha256(part.read_bytes()).hexdigest()
        if found == sha256:
            os.replace(part, target)
            return
        part.unlink()
        reasons.append(f"{url}: corrupted, sha256 {found}, expected {sha256}")
    raise MachineError(
        f"the download of {target.name} failed",
        where=str(target.parent),
        found="; ".join(reasons),
        expected=f"the file of sha256 {sha256}",
        fix="look at the network and try again, or put the file there yourself",
    )


def _fetch_rest(url: str, part: Path) -> None:
    """Appends to `part` what it lacks; starts anew where the server knows no ranges."""
    n_held = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "narrowgauge"})
    if n_held:
        request.add_header("Range", f"bytes={n_held}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # Nothing lies beyond what is held: whole, or too long.
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file:
        n_expected = response.headers.get("Content-Length")
        n_got = 0
        while block := response.read(_BLOCK_BYTES):
            file.write(block)
            n_got += len(block)
    if n_expected is not None and n_got != int(n_expected):
        raise http.client.IncompleteRead(b"", int(n_expected) - n_got)


def _is_of_network(error: OSError) -> bool:
    return isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError)
