"""Command: the bitstreams of several runs side by side; one that fails never loses the others."""

from __future__ import annotations

import argparse
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.answers import HelpFormat, add_json
from deploy.child import threads
from deploy.errors import NarrowgaugeError, UserError
from deploy.run_directory import RunDirectory
from deploy.terminal import complain

from .bitstream.places import SSH, find_vivado, require_place
from .build_cluster import cluster
from .build_run import LOG, Job, build_run, options_of, step_of
from .pipeline.folders import BITSTREAM
from .terminal import show_table

SUMMARY = "bitstream.json"
CORES_A_BUILD = 8
"""As many threads Vivado starts."""

EXAMPLES = """examples:
  python -m hw_build.flow build runs/digits runs/tfc_w1a1 --workers 2
  python -m hw_build.flow build runs/* --vivado ssh:me@builder --workers 4
  python -m hw_build.flow build runs/* --dask tcp://scheduler:8786

Exit code 1: a run failed; the same command goes on with what is not whole."""


class View(Protocol):
    def ended(self, run: Path, why: str) -> None:
        """A run's build has ended: whole, or for this reason."""

    def running(self, runs: Iterable[Path]) -> None:
        """Called about once a second with the runs that have not ended."""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `build` to the flow's commands."""
    command = commands.add_parser(
        "build",
        help="the bitstreams of several runs side by side, here or on a Dask cluster",
        description="Builds the bitstream of every run, then its bundle and report anew, each in "
        "a process of its own. A run must have gone to its report before. Not yet run on Vivado "
        "by this project.",
        epilog=EXAMPLES,
        formatter_class=HelpFormat,
    )
    command.set_defaults(command=build_all)
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    command.add_argument(
        "--vivado",
        default="local",
        metavar=f"local|docker|{SSH}USER@HOST",
        help="where Vivado is (local); on a cluster, as its workers see it",
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"builds at once, one for every {CORES_A_BUILD} cores of this machine if not given; "
        "with a FILE.yaml jobs at once, as many as runs if not given",
    )
    command.add_argument(
        "--dask",
        metavar="ADDRESS|FILE.yaml",
        help="of a Dask scheduler, as tcp://HOST:8786, or dask-jobqueue's configuration for SLURM; "
        "all its machines have this project installed and share a file system: they see the runs "
        "and this folder at the same paths",
    )
    add_json(command)


def build_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every run's bitstream, and a table of them; sets the exit code 1 where one failed."""
    require_place(arguments.vivado)
    if arguments.workers is not None and arguments.workers < 1:
        raise UserError("no workers", where="--workers", found=str(arguments.workers))
    if arguments.vivado in ("auto", "none"):
        raise UserError(
            "a build needs a Vivado", where="--vivado", found=arguments.vivado, fix="--vivado local"
        )
    reasons, boards = dict.fromkeys(arguments.runs, ""), {}
    for run in reasons:
        try:
            boards[run] = options_of(RunDirectory(run)).board
        except UserError as error:
            reasons[run] = "; ".join(map(str.strip, str(error).splitlines()))
    if arguments.dask is None and any(board.has_pynq for board in boards.values()):
        find_vivado(arguments.vivado)
    if boards:
        reasons |= _build(list(boards), arguments.vivado, arguments.workers, arguments.dask)
    for run, why in reasons.items():
        if why:
            arguments.exit_code = 1
            fix = f"what it printed is in {run / LOG}" if run in boards else ""
            complain(NarrowgaugeError(f"{run} failed", found=why, fix=fix))
    summaries = {run: _summary(run) for run, why in reasons.items() if not why}
    _show(reasons, summaries)
    answers = [
        {"run": str(run), "failed": why, "bitstream": summaries.get(run)}
        for run, why in reasons.items()
    ]
    return {"builds": answers}


def _build(runs: list[Path], place: str, workers: int | None, dask: str | None) -> dict[Path, str]:
    """By run why it failed; empty where it is whole."""
    call, reasons = uuid.uuid4().hex, dict.fromkeys(runs, "")
    if dask is not None:
        chosen = cluster(dask, min(workers or len(runs), len(runs)), call)
    else:
        chosen = threads(workers or max(1, (os.cpu_count() or 1) // CORES_A_BUILD), call)
    with chosen as executor, _progress(len(runs)) as view:
        futures: dict[Future[str], Path] = {}
        for run in runs:
            (run / LOG).unlink(missing_ok=True)
            job = Job(str(run.absolute()), place, str(Path.cwd()), call)
            futures[executor.submit(build_run, job)] = run
        pending = set(futures)
        while pending:
            ended, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in ended:
                run, error = futures[future], future.exception()
                reasons[run] = f"{type(error).__name__}: {error}" if error else future.result()
                view.ended(run, reasons[run])
            view.running([futures[future] for future in pending])
    return reasons


def _summary(run: Path) -> dict[str, Any]:
    return json.loads((run / BITSTREAM / SUMMARY).read_text(encoding="utf-8"))


def _show(reasons: dict[Path, str], summaries: dict[Path, dict[str, Any]]) -> None:
    rows = []
    for run, why in reasons.items():
        if why:
            rows.append((str(run), "failed", "", "", "", why.split(";")[0]))
            continue
        made = summaries[run]
        figures = (f"{made['clock_mhz']:g}", f"{made['timing']['most_mhz']}")
        rows.append((str(run), "whole", *figures, f"{made['whole']['lut']:,}", made["kind"]))
    header = ("run", "bitstream", "clock MHz", "most MHz", "LUT", "kind, or why not")
    show_table(header, rows, "bitstreams")


@contextmanager
def _progress(n_runs: int, console: Console | None = None) -> Iterator[View]:
    """Bars on a terminal, else a line for every step and every end."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(n_runs, console)
        return
    columns = (
        *(TextColumn("{task.description}"), BarColumn()),
        *(MofNCompleteColumn(), TimeElapsedColumn()),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(bars, n_runs)


class _Lines:
    def __init__(self, n_runs: int, console: Console) -> None:
        self._n_runs, self._n_done, self._console = n_runs, 0, console
        self._steps: dict[Path, tuple[int, int, str]] = {}

    def ended(self, run: Path, why: str) -> None:
        self._n_done += 1
        self._print(f"{self._n_done}/{self._n_runs}  {run}  {why or 'whole'}")

    def running(self, runs: Iterable[Path]) -> None:
        for run in runs:
            step = step_of(run / LOG)
            if step is not None and step != self._steps.get(run):
                self._steps[run] = step
                self._print(f"{run}  step {step[0]} of {step[1]}, {step[2]}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)


class _Bars:
    """A bar for all runs, and one for the steps of each that is being built."""

    def __init__(self, bars: Progress, n_runs: int) -> None:
        self._bars, self._whole = bars, bars.add_task("runs", total=n_runs)
        self._tasks: dict[Path, Any] = {}

    def ended(self, run: Path, why: str) -> None:
        self._bars.console.print(f"{run}  {why or 'whole'}", highlight=False, markup=False)
        self._bars.advance(self._whole)
        if run in self._tasks:
            self._bars.remove_task(self._tasks.pop(run))

    def running(self, runs: Iterable[Path]) -> None:
        for run in runs:
            step = step_of(run / LOG)
            if step is None:
                continue
            number, n_steps, title = step
            now: Any = {"completed": number - 1, "description": f"{run}: {title}"}
            if run in self._tasks:
                self._bars.update(self._tasks[run], **now)
            else:
                self._tasks[run] = self._bars.add_task(total=n_steps, **now)
