"""What stands above every figure: the command, the commit, the machine."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from deploy.run_directory import project_commit


def print_header(kind: str) -> None:
    """Prints the command that runs, the commit, the processor, and the kind of the figures."""
    module = Path(sys.argv[0]).stem
    arguments = " ".join(sys.argv[1:])
    print(f"command  python -m benchmarks.{module} {arguments}".rstrip())
    print(f"commit   {project_commit() or 'unknown'}")
    print(f"machine  {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"kind     {kind}")


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
