"""The Dockerfile and what calls it, read as text: no Docker is needed, and none is tried."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
from pathlib import Path

import pytest

from hw_build.bitstream.vivado import IMAGE

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("train", "build", "ci")
KNOWN = {"ARG", "FROM", "RUN", "WORKDIR", "ENV", "COPY", "USER", "CMD", "ENTRYPOINT"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and arguments, without comments, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """By name, each stage's instructions after those of the stage that it is made from."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for name, rest in instructions(text):
        assert name in KNOWN, f"unknown instruction: {name} {rest}"
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            assert stage, f"a stage without a name: {rest}"
            current = list(found.get(base, []))
            found[stage] = current
        current.append((name, rest))
    return found


def complaints(text: str) -> list[str]:
    """What is wrong with a Dockerfile by the rules of this project."""
    wrong = []
    for stage, lines in stages(text).items():
        users = [rest for name, rest in lines if name == "USER"]
        if stage in TARGETS and (not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])):
            wrong.append(f"{stage} runs as root")
        for name, rest in lines:
            if name == "RUN" and "apt-get install" in rest and "rm -rf /var/lib/apt" not in rest:
                wrong.append(f"{stage} keeps apt's lists")
            if name == "RUN" and re.search(r"\bpip install\b", rest):
                wrong.append(f"{stage} installs Python packages past the lock")
            if name != "COPY":
                continue
            *sources, _ = (part for part in rest.split() if not part.startswith("--"))
            wrong += [f"{stage} copies {s}, which is not there" for s in sources if gone(s)]
    return wrong


def gone(source: str) -> bool:
    """Whether the context has no such file: absent, or ignored."""
    ignored = (ROOT / ".dockerignore").read_text().split()
    is_ignored = any(fnmatch.fnmatch(source, pattern) for pattern in ignored)
    return is_ignored or not (ROOT / source).exists()


def test_the_dockerfile_keeps_the_rules() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert set(TARGETS) <= set(stages(text))
    day = re.fullmatch(r"BASE_IMAGE=debian:bookworm-(\d{8})-slim", instructions(text)[0][1])
    assert day, "the base is pinned by the day of its tag"
    assert ("ARG", f"SNAPSHOT={day[1]}T000000Z") in instructions(text)
    assert complaints(text) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("USER 1000:1000", "USER root", "train runs as root"),
        ("COPY training training", "COPY trainings training", "train copies trainings, which"),
        ("COPY training training", "COPY runs training", "train copies runs, which"),
        (" bash setup.sh", " pip install torch && bash setup.sh", "past the lock"),
        ("rm -rf /var/lib/apt/lists/*", "true", "keeps apt's lists"),
    ],
)
def test_a_planted_fault_is_found(old: str, new: str, complaint: str) -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert old in text
    assert any(complaint in line for line in complaints(text.replace(old, new)))


def test_in_ci_no_page_goes_untested() -> None:
    lines = stages((ROOT / "Dockerfile").read_text())["ci"]
    assert ("ENV", "NARROWGAUGE_REQUIRE_BROWSER=1") in lines
    assert any(name == "RUN" and re.search(r"apt-get install .* chromium ", r) for name, r in lines)
    assert ("RUN", "make .venv/.docs") in [(name, r.split(" && ")[0].strip()) for name, r in lines]


def make(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make` with a docker that prints its arguments, one call a line."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "docker $*"\n')
    docker.chmod(0o755)
    kept = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    command = ["make", "--silent", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True
    )


def test_make_builds_the_image_and_runs_as_the_user(tmp_path: Path) -> None:
    licences = [tmp_path / "x.lic", tmp_path / "y.lic"]
    for licence in licences:
        licence.touch()
    done = make(
        tmp_path,
        *("docker-build", "MODEL=runs/digits", "BOARD=kv260", "FLOW=--clock-mhz 150"),
        XILINX_VIVADO="/tools/Vivado/2022.2",
        XILINX_VITIS="/tools/Vitis/2022.2",
        XILINXD_LICENSE_FILE=f"{licences[0]}:2100@server",
        LM_LICENSE_FILE=str(licences[1]),
        PIP_INDEX_URL="https://packages.example/simple",
    )
    assert done.returncode == 0, done.stderr
    image, run = (" ".join(line.split()) for line in done.stdout.splitlines())
    assert image.startswith("docker build --target build ")
    assert "--build-arg PIP_INDEX_URL=https://packages.example/simple " in image
    assert "SNAPSHOT" not in image
    assert image.endswith(f"--tag {IMAGE} .")
    assert f"--user {os.getuid()}:{os.getgid()} " in run
    assert "--volume /tools/Vivado/2022.2:/tools/Vivado/2022.2:ro --env XILINX_VIVADO" in run
    assert "--volume /tools/Vitis/2022.2:/tools/Vitis/2022.2:ro --env XILINX_VITIS" in run
    assert "--env XILINXD_LICENSE_FILE --env LM_LICENSE_FILE --network host" in run
    for licence in licences:
        assert run.count(f"--volume {licence}:{licence}:ro") == 1
    store = tmp_path / ".cache" / "narrowgauge-docker"
    assert f"--volume {store}:/store --env NARROWGAUGE_STORE=/store" in run
    assert store.is_dir()
    assert run.endswith(
        f"{IMAGE} python -m hw_build.flow run runs/digits --board kv260 --clock-mhz 150"
    )
    bare = make(tmp_path, "docker-build", "MODEL=runs/digits", "SNAPSHOT=").stdout
    assert "--build-arg SNAPSHOT= " in bare
    assert "XILINX" not in bare
    assert "--network" not in bare


def test_a_model_outside_runs_is_refused(tmp_path: Path) -> None:
    for model in ("", "MODEL=other/digits"):
        done = make(tmp_path, "docker-build", *filter(None, [model]))
        assert done.returncode != 0
        assert "MODEL is a run or an .onnx file below runs/" in done.stderr
