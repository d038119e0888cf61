"""A stand-in for `docker`: `run` starts the program on this machine, yet no child of the caller's
group, as a container is none; `kill` ends one. Anything unknown is an error. Run by a one-line
shell script named `docker`. FAKE_DOCKER_RECORD names a file that takes the arguments of each call.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

VALUED = {"--user", "--volume", "--env", "--network", "--workdir", "--cidfile"}
FLAGS = {"--rm", "--init"}


def main(arguments: list[str]) -> int:
    if record := os.environ.get("FAKE_DOCKER_RECORD"):
        with open(record, "a", encoding="utf-8") as file:
            file.write(json.dumps(arguments) + "\n")
    verb, *rest = arguments
    if verb == "kill":
        os.killpg(int(rest[0]), signal.SIGKILL)
        return 0
    assert verb == "run", arguments
    options: dict[str, list[str]] = {}
    while rest[0].startswith("--"):
        name = rest.pop(0)
        assert name in VALUED | FLAGS, name
        options.setdefault(name, []).append(rest.pop(0) if name in VALUED else "")
    _image, *program = rest
    mounted = dict(volume.split(":")[1::-1] for volume in options["--volume"])
    folder = mounted.get(*options.get("--workdir", ["/"]))
    environment = dict(pair.split("=", 1) for pair in options["--env"])
    container = subprocess.Popen(
        program, cwd=folder, env={**os.environ, **environment}, start_new_session=True
    )
    if "--cidfile" in options:
        with open(Path(*options["--cidfile"]), "x") as file:  # docker refuses one that is there
            file.write(str(container.pid))
    code = container.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
