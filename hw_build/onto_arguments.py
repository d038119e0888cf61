"""What a run --onto the hardware of another leaves open, and what that hardware has settled."""

from __future__ import annotations

import argparse
from pathlib import Path

from deploy.errors import UserError
from deploy.run_directory import RunDirectory

from .pipeline.folders import FOLDING, GRAPH


def check_writable(arguments: argparse.Namespace) -> None:
    """UserError if another option asks for what can't be with --writable or --onto."""
    settled = {
        "--writable": arguments.writable,
        "--target-fps": arguments.target_fps is not None,
        "--fit": arguments.fit is not None,
        "--folding": arguments.folding is not None,
        "--fifo": arguments.fifo != "auto",
    }
    given = [option for option, value in settled.items() if value]
    if arguments.onto is not None and given:
        raise UserError(
            "the hardware of --onto is built already",
            found=f"{' and '.join(given)} beside it",
            fix="leave it out, or build hardware of its own without --onto",
        )
    if arguments.backend == "finn" and (arguments.onto is not None or arguments.writable):
        raise UserError(
            "weights are written at run time to our RTL alone",
            found="--backend finn",
            fix="leave out --writable and --onto",
        )


def take_hardware(arguments: argparse.Namespace, out: Path) -> None:
    """Sets the arguments that the hardware of --onto has settled: board, clock, folding, FIFOs.

    What leaves it and what enters it are as there too, unless other arguments say it.

    Raises:
        UserError: RUN has no hardware, is for another board or clock, or is `out` itself.
    """
    from .folded import FIFO_FILE, FOLDING_FILE  # what they need takes its time

    onto: Path = arguments.onto
    if onto.resolve() == out.resolve():
        raise UserError(
            "a run can't take the hardware that it replaces",
            where=f"--onto {onto}",
            found="the run directory that this run writes",
            fix="name another one with --out",
        )
    made_by = f"python -m hw_build.flow run {onto} --writable"
    run = RunDirectory(onto)
    built = run.manifest(FOLDING, made_by=made_by)["config"]
    for name in ("board", "clock_mhz"):
        given, option = getattr(arguments, name), f"--{name.replace('_', '-')}"
        if given not in (None, built[name]):
            raise UserError(
                f"the hardware of --onto is for another {name.split('_')[0]}",
                where=str(onto),
                found=f"{option} {_plain(given)}",
                expected=_plain(built[name]),
                fix=f"leave out {option}, or build hardware of its own without --onto",
            )
        setattr(arguments, name, built[name])
    asked = run.manifest(GRAPH, made_by=made_by)["config"]
    arguments.output = arguments.output or asked["output"]
    arguments.input_type = arguments.input_type or asked["input_type"]
    run.stage(GRAPH, made_by=made_by)
    folder = run.stage(FOLDING, made_by=made_by)
    arguments.folding, arguments.fifo = folder / FOLDING_FILE, str(folder / FIFO_FILE)


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"
