"""Command: trains every point of a sweep, on this machine's cores or on a Dask cluster."""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from deploy.answers import EXIT_CODES, HelpFormat, add_json, answer, for_people
from deploy.child import threads
from deploy.errors import NarrowgaugeError, UserError
from deploy.run_directory import RunDirectory, write_atomically
from deploy.terminal import complain, run_command
from training.sweep_cluster import cluster_executor
from training.sweep_config import Point, load_sweep
from training.sweep_point import CONFIG, LOG, Job, train_point
from training.sweep_progress import sweep_progress
from training.table import make_table, show
from training.train import STAGE, SUMMARY

RECORD = "sweep.json"
_STATES = {None: "waiting", "": "whole"}


def run_sweep(
    path: Path,
    out: Path,
    data_dir: Path | None = None,
    *,
    workers: int | None = None,
    dask: str | None = None,
    overwrite: bool = False,
) -> dict[str, str]:
    """Trains the points of the sweep at `path`, each into a run directory in `out`.

    A point that lies there whole, of the same config, is not trained again; of another config it
    is replaced only if `overwrite` says so. `workers` points are trained at once, as many as there
    are cores for if not given; or those that the cluster `dask`, an address or a file, has workers
    for (see `cluster_executor`). `out`/sweep.json holds what is known of every point.

    Returns:
        By the name of every point, why it failed; empty where it is whole.

    Raises:
        UserError: the sweep or one of its configs is wrong, or `out` holds a point of another
            config, whole or partial, that is not to be overwritten; then nothing is trained.
        MachineError: the Dask scheduler does not answer, or there is no SLURM.
    """
    sweep, points = load_sweep(path)
    for point in points if not overwrite else ():
        RunDirectory(out / point.name).refuse_other(STAGE, {"config": _config_of(point)})
    out.mkdir(parents=True, exist_ok=True)
    states: dict[str, str | None] = {
        point.name: "" if _is_whole(out, point) else None for point in points
    }
    left = [point for point in points if states[point.name] is None]
    print(f"{len(points)} points, {len(points) - len(left)} of them whole already", flush=True)
    name = uuid.uuid4().hex
    if dask is not None and left:
        chosen = cluster_executor(dask, min(workers or len(left), len(left)), name)
    else:
        n_threads = max((point.config.training.threads for point in left), default=1)
        chosen = threads(workers or max(1, (os.cpu_count() or 1) // n_threads), name)
    with chosen as executor:
        futures: dict[Future[str], Point] = {}
        for point in left:
            job = _prepare(out, point, data_dir, sweep.retries, overwrite, name)
            futures[executor.submit(train_point, job)] = point
        for future in _as_they_end(futures, out, states):
            point = futures[future]
            error = future.exception()
            states[point.name] = f"{type(error).__name__}: {error}" if error else future.result()
            _record(out, states)
    _record(out, states)
    return {name: state or "" for name, state in states.items()}


def _as_they_end(
    futures: dict[Future[str], Point], out: Path, states: dict[str, str | None]
) -> Iterator[Future[str]]:
    """The futures as they end, while progress is shown; `states` is up to date after each."""
    pending = set(futures)
    with sweep_progress(out, len(states), len(states) - len(pending)) as view:
        while pending:
            ended, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in ended:
                yield future
                name = futures[future].name
                view.ended(name, states[name] or _accuracy(out / name))
            view.running([futures[future] for future in pending])


def _prepare(
    out: Path, point: Point, data_dir: Path | None, retries: int, overwrite: bool, sweep: str
) -> Job:
    run = (out / point.name).absolute()
    run.mkdir(exist_ok=True)
    write_atomically(run / CONFIG, point.config.model_dump_json(indent=2) + "\n")
    return Job(
        run=str(run),
        folder=str(Path.cwd()),
        data_dir=str(data_dir.absolute()) if data_dir else None,
        retries=retries,
        overwrite=overwrite,
        sweep=sweep,
    )


def _is_whole(out: Path, point: Point) -> bool:
    try:
        manifest = RunDirectory(out / point.name).manifest(STAGE)
    except UserError:
        return False
    return manifest["config"] == _config_of(point)


def _config_of(point: Point) -> dict[str, Any]:
    return point.config.model_dump(mode="json")


def _accuracy(run: Path) -> str:
    accuracy = json.loads((run / STAGE / SUMMARY).read_text())["test_accuracy"]
    return f"test accuracy {100 * accuracy:.2f} %"


def _record(out: Path, states: dict[str, str | None]) -> None:
    words = {
        name: {
            "state": "waiting" if why is None else "failed" if why else "whole",
            "why": why or "",
        }
        for name, why in states.items()
    }
    write_atomically(out / RECORD, json.dumps(words, indent=2) + "\n")


def command_parser() -> argparse.ArgumentParser:
    """Of this command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m training.sweep",
        description="Trains every point of a sweep into a run directory of its own. A point that "
        "fails never stops the others. The same command goes on with what is not whole.",
        epilog="example:\n  python -m training.sweep training/sweeps/digits.toml --out runs/ladder"
        f"\n\n{EXIT_CODES}\n  1    a point failed",
        formatter_class=HelpFormat,
    )
    parser.add_argument("sweep", type=Path, metavar="SWEEP.toml", help="configs, changes, seeds")
    parser.add_argument("--out", type=Path, required=True, metavar="D", help="for the runs")
    parser.add_argument("--data-dir", type=Path, metavar="D", help="folder of the data sets")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what D holds of other configs"
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="points at once, all cores' worth if not given; with a FILE.yaml jobs at once, as "
        "many as points if not given",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS|FILE.yaml",
        help="of a Dask scheduler, as tcp://HOST:8786, or dask-jobqueue's configuration for SLURM; "
        "all its machines have this project installed and see D at the same path",
    )
    add_json(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0; 1 where a point failed; or that of the error met."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    if options.workers is not None and options.workers < 1:
        parser.error("--workers is at least 1")
    try:
        with for_people(options):
            states = run_sweep(
                options.sweep,
                options.out,
                options.data_dir,
                workers=options.workers,
                dask=options.dask,
                overwrite=options.overwrite,
            )
            whole = [options.out / name for name, why in states.items() if not why]
            if whole:
                show(make_table(whole))
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on", file=sys.stderr)
        return 130
    failed = {name: why for name, why in states.items() if why}
    for name, why in failed.items():
        log = options.out / name / LOG
        complain(NarrowgaugeError(f"{name} failed", found=why, fix=f"what it printed is in {log}"))
    points = {name: {"run": str(options.out / name), "failed": why} for name, why in states.items()}
    answer(options, {"points": points})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
