"""What a report is made from: the JSON files that the stages of one run left behind."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.run_directory import RunDirectory, sha256_of
from deploy.sealed import read_manifest

from .pipeline.folders import (
    BITSTREAM,
    BOARD,
    FINN,
    FOLDING,
    GOLDEN,
    GRAPH,
    RTL,
    SIMULATION,
    SYNTHESIS,
    TRAINING,
)

KERNELS = ("ipykernel_launcher", "colab_kernel_launcher")
"""Programs that run a notebook's cells."""

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class StageResults:
    """One run's results. None stands for a stage that was not run, or not for this accelerator.

    `made` holds the manifests of all stages used, in order; `notes` what was left out, and why.
    """

    golden: Json
    folding: Json
    prediction: Json
    simulation: Json
    synthesis: Json | None
    bitstream: Json | None
    finn: Json | None
    board: Json | None
    training: Json | None
    made: tuple[Json, ...]
    notes: tuple[str, ...]


def read_stages(run: Path, config: Mapping[str, Any]) -> StageResults:
    """Everything that the report of `run` needs; `config` are the flow's options as JSON.

    A synthesis or a FINN run of an earlier accelerator, recognised by the sha256 of its inputs,
    is left out with a note. Training is the run's own only if its model was compiled.

    Raises:
        UserError: a stage that every report needs is missing or damaged; names the command.
    """
    directory = RunDirectory(run)
    made_by = f"python -m hw_build.flow run {shlex.quote(str(config['model']))}"
    made_by += f" --out {shlex.quote(str(run))}"
    for name in (GOLDEN, FOLDING, SIMULATION):
        directory.stage(name, made_by=made_by)
    notes: list[str] = []
    optional: dict[str, Json | None] = {}
    for name, file, fix in (
        (SYNTHESIS, "synthesis.json", made_by),
        (FINN, "finn.json", f"python -m hw_build.flow finn {shlex.quote(str(run))}"),
        (BITSTREAM, "bitstream.json", made_by),
        (BOARD, "board.json", made_by),
    ):
        optional[name] = None
        if (run / name).exists():
            if _is_current(run, directory.manifest(name, made_by=fix), config["board"]):
                optional[name] = _read(run / name / file)
            else:
                notes.append(
                    f"{name} was made from an earlier version of this accelerator, or for another "
                    f"board, and is left out; `{fix}` makes it again."
                )
    own_model = Path(config["model"]).resolve().parent == run.resolve()
    training = None
    if own_model and (run / TRAINING).exists():
        folder = directory.stage(TRAINING, made_by="python -m training.train CONFIG --out RUN")
        training = {
            **_read(folder / "summary.json"),
            "config": _read(folder / "config.json"),
        }
    left_out = {name for name, content in optional.items() if content is None}
    left_out |= set() if own_model else {TRAINING, "02_export"}
    return StageResults(
        golden=_read(run / GOLDEN / "gates.json"),
        folding=_read(run / FOLDING / "folding.json"),
        prediction=_read(run / FOLDING / "prediction.json"),
        simulation=_read(run / SIMULATION / "simulation.json"),
        synthesis=optional[SYNTHESIS],
        bitstream=optional[BITSTREAM],
        finn=optional[FINN],
        board=optional[BOARD],
        training=training,
        made=_manifests(run, left_out),
        notes=tuple(notes),
    )


def commands_of(made: tuple[Json, ...]) -> list[str]:
    """The command lines that made the stages, each once, in order, as one would type them.

    For a stage that a notebook made by calling a function there is a comment.
    """
    commands = []
    for manifest in made:
        argv = manifest["command"]
        in_notebook = bool(argv) and Path(argv[0]).stem in KERNELS
        command = f"# {manifest['name']}: made in a notebook" if in_notebook else _as_typed(argv)
        if command and command not in commands:
            commands.append(command)
    return commands


def commands_of_hardware(run: Path) -> list[str]:
    """Those that made the hardware that a run's weights are written to (`--onto`), in order.

    The run that built it may have been built onto another one's. Where it is gone, or was made anew
    since, there is a comment. Empty for a run with hardware of its own.
    """
    manifest = read_manifest(run / GRAPH) or {"inputs": {}}
    taken = manifest["inputs"].get("onto")
    if taken is None:
        return []
    graph = (run / taken["path"]).resolve()
    if not graph.exists() or sha256_of(graph) != taken["sha256"]:
        return [f"# {graph.parent}, which built the hardware, is gone or was made anew"]
    built = tuple(each for each in _manifests(graph.parent, set()) if each["name"] <= RTL)
    return [*commands_of_hardware(graph.parent), *commands_of(built)]


def tools_of(made: tuple[Json, ...]) -> dict[str, str]:
    """Versions by tool; two versions of one tool, met in different stages, are both given."""
    versions: dict[str, list[str]] = {}
    for manifest in made:
        for tool, version in manifest["tools"].items():
            known = versions.setdefault(tool, [])
            if version not in known:
                known.append(version)
    return {tool: ", ".join(known) for tool, known in sorted(versions.items())}


def _manifests(run: Path, left_out: set[str]) -> tuple[Json, ...]:
    """Manifests of all stages before the report, but for those left out."""
    names = sorted(path.name for path in run.glob("[0-9][0-9]_*") if path.is_dir())
    used = [name for name in names if name not in left_out and not name.endswith("_report")]
    found = (read_manifest(run / name) for name in used)
    return tuple(manifest for manifest in found if manifest is not None)


def _is_current(run: Path, manifest: Json, board: str) -> bool:
    """Whether a stage was made for the board, and the run's files that it read are the same."""
    if manifest["config"].get("board", board) != board:
        return False
    for entry in manifest["inputs"].values():
        path = run / entry["path"]
        if not path.exists() or sha256_of(path) != entry["sha256"]:
            return False
    return True


def _as_typed(argv: list[str]) -> str:
    """`sys.argv` of a module run by `python -m` as its command line; empty for code from stdin."""
    if not argv or not argv[0].endswith(".py"):
        return ""
    program, room = Path(argv[0]), Path(argv[0]).parent.name
    if room in ("training", "hw_build"):
        return shlex.join(["python", "-m", f"{room}.{program.stem}", *argv[1:]])
    return shlex.join(["python", *argv])


def _read(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8"))
