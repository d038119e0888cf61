"""A stand-in for `vivado`: checks each script with a real Tcl interpreter, and writes what the
real one would, in the vendor's form. Run by a one-line shell script named `vivado`.

FAKE_VIVADO_RECORD names a file that takes the arguments of each call, one JSON list a line;
FAKE_VIVADO_FAULT what shall go wrong (see fake_vivado.tcl).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VERSION = "2022.2"


def main(arguments: list[str]) -> int:
    if record := os.environ.get("FAKE_VIVADO_RECORD"):
        with open(record, "a", encoding="utf-8") as file:
            file.write(json.dumps(arguments) + "\n")
    if arguments == ["-version"]:
        print(f"Vivado v{VERSION} (64-bit)\nSW Build 0 on a day that never was")
        return 0
    assert arguments[:2] == ["-mode", "batch"], arguments
    flags = {"-nojournal", "-notrace"}
    assert flags <= set(arguments), arguments
    plain = [argument for argument in arguments if argument not in flags]
    options = dict(zip(plain[::2], plain[1::2], strict=True))
    fault = os.environ.get("FAKE_VIVADO_FAULT", "")
    command = ["tclsh", str(HERE / "fake_vivado.tcl"), options["-source"], fault]
    log = Path(options["-log"])
    with open(log, "wb") as file:
        done = subprocess.run([*command, str(HERE / "fake_vivado_forms")], stdout=file, stderr=file)
    sys.stdout.write(log.read_text())
    return done.returncode


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code < 0:  # a signal ended it: so does it end us
        os.kill(os.getpid(), -code)
    sys.exit(code)
