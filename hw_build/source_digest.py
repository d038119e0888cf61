"""One hash over everything that a result of the flow follows from, besides its inputs."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from deploy.run_directory import sha256_of


@cache
def source_digest() -> str:
    """sha256 over this package's sources and the packing they share: a changed flow runs again."""
    root = Path(__file__).parent
    files = sorted(
        p
        for p in root.rglob("*")
        if p.suffix in {".py", ".sv", ".v", ".cpp", ".h", ".html", ".css", ".js"}
    )
    files += sorted((root.parent / "deploy").glob("*.py"))
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(root.parent)} {sha256_of(path)}\n".encode())
    return whole.hexdigest()[:12]
