"""Command: from a trained run or any QONNX file to a simulated accelerator and its report."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.answers import EXIT_CODES, HelpFormat, answer, for_people
from deploy.errors import NarrowgaugeError, UserError
from deploy.run_directory import RunDirectory
from deploy.terminal import complain, run_command, show_figure

from . import builds, handover, look, run_arguments
from .bitstream.places import find_vivado
from .options import STAGE_NAMES, Options

Answer = dict[str, Any]

RUN_EXAMPLES = """examples:
  python -m hw_build.flow run runs/digits --board pynq_z2 --target-fps 1000000
  python -m hw_build.flow run network.onnx --inputs images.npy --out runs/network
  python -m hw_build.flow run runs/digits --folding runs/digits/05_folding/folding.json

SOURCE is a run directory that was exported (its test set runs through every executor), or any QONNX
file (seeded random inputs, unless --inputs gives an .npy of inputs as the model takes them)."""

ENDING = f"""example:
  python -m hw_build.flow run runs/digits --board pynq_z2 --target-fps 1000000

{EXIT_CODES} (143: ended by TERM); the same command goes on from the last whole stage

`COMMAND --help` has examples."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0; 1 where one of several builds failed; or that of the error met: 2 user,
    3 machine, 4 a failed gate."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    options.exit_code = 0
    # called from Python, the process's own arguments are another program's
    options.typed = sys.argv if arguments is None else [__file__, *arguments]
    try:
        with _signals_as_exceptions(), for_people(options):
            result = options.command(options)
        answer(options, result)
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last whole stage", file=sys.stderr)
        return 130
    return options.exit_code


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """TERM, and HUP of a closed terminal, end us as Ctrl-C does: what we started is ended too."""

    def end(number: int, frame: object) -> None:
        print("\nended by a signal; the same command goes on from there", file=sys.stderr)
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def command_parser() -> argparse.ArgumentParser:
    """Of all commands' options."""
    parser = argparse.ArgumentParser(
        prog="python -m hw_build.flow",
        description=__doc__,
        epilog=ENDING,
        formatter_class=HelpFormat,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "run",
        help="compile, fold, emit, simulate, report",
        description="QONNX -> integer graph -> folding -> RTL -> simulation -> report. "
        "Every executor is compared with the others, integer by integer; a mismatch stops the "
        "flow. Stages that nothing has changed for are skipped.",
        epilog=RUN_EXAMPLES,
        formatter_class=HelpFormat,
    )
    command.set_defaults(command=run)
    run_arguments.add_arguments(command)
    builds.add_commands(commands)
    look.add_commands(commands)
    handover.add_commands(commands)
    return parser


def run(arguments: argparse.Namespace) -> Answer:
    """The whole flow, or up to --until."""
    from .bitstream.ecp5_build import tool_versions as ecp5_tool_versions
    from .board_gate import pynq_version
    from .pipeline.context import Flow
    from .stages import STAGES  # imports numpy, onnx and more: after the options
    from .verilator import tool_versions

    options = run_arguments.options_of(arguments)
    board, out = options.board, run_arguments.run_folder(arguments)
    _require_place(out)
    if arguments.backend == "finn":
        _run_finn_backend(options, RunDirectory(out, arguments.typed), arguments.until)
        return {"run": str(out), "until": arguments.until, "report": None}
    if STAGE_NAMES.index(arguments.until) >= STAGE_NAMES.index("simulation"):
        tool_versions()  # what a later stage lacks is said before the first one runs
    if board.has_pynq and STAGE_NAMES.index(arguments.until) >= STAGE_NAMES.index("board"):
        pynq_version()
    if STAGE_NAMES.index(arguments.until) >= STAGE_NAMES.index("bitstream"):
        if board.has_pynq:
            find_vivado(options.vivado)
        elif options.vivado != "none":
            ecp5_tool_versions()
    directory = RunDirectory(out, arguments.typed)
    started = time.monotonic()
    with directory.lock():
        try:
            flow = Flow(options, directory)
            for name, stage in STAGES.items():
                if name != "synthesis" or arguments.synthesis:
                    stage(flow)
                if name == arguments.until:
                    break
        finally:
            _remove_if_empty(out)
    data = None
    if arguments.until == "report":
        data = json.loads((out / "report.json").read_text())
        _print_summary(out, data, time.monotonic() - started)
    return {"run": str(out), "until": arguments.until, "report": data}


def _run_finn_backend(options: Options, directory: RunDirectory, until: str) -> None:
    """Graph, golden model and folding, and then FINN's hardware in place of ours."""
    from .pipeline.context import Flow
    from .pipeline.finn import build_with_finn
    from .stages import STAGES

    with directory.lock():
        try:
            flow = Flow(options, directory)
            for name in STAGE_NAMES[: STAGE_NAMES.index("rtl")]:
                STAGES[name](flow)
                if name == until:
                    return
            build_with_finn(flow)
        finally:
            _remove_if_empty(directory.path)


def _require_place(out: Path) -> None:
    """UserError where a file stands in the way of the run directory."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(
            "a run directory is a folder", where=str(out), found=f"{there} is a file", fix="--out"
        )


def _remove_if_empty(out: Path) -> None:
    """A run that never had a stage leaves no folder behind. The caller holds its lock."""
    if [path.name for path in out.iterdir()] == [".lock"]:
        (out / ".lock").unlink()
        out.rmdir()


def _print_summary(out: Path, data: Answer, seconds: float) -> None:
    """The report's path and the numbers that matter, each with its kind."""
    accuracy = data["accuracy"]
    vectors = max(gate["vectors"] for gate in data["gates"])
    lut = data["resources"]["synthesised"] or data["resources"]["estimated"]
    kind = "synthesised, not placed" if data["resources"]["synthesised"] else "estimated"
    shown = "not known: no labels" if accuracy is None else f"{100 * accuracy:.2f} %"
    speed = f"{data['frames_per_second']:,.0f} frames/s"
    onto, writable = data["config"]["onto"], data["config"]["writable"]
    written = [("weights", "written at run time", f" to the hardware of {onto}")] if onto else []
    if writable:
        written = [("weights", "writable", f": another network runs --onto {out}")]
    print()
    for key, value, note in (
        ("bit-exact", f"{len(data['gates'])} gates passed", f", up to {vectors:,} inputs each"),
        ("accuracy", shown, "" if accuracy is None else " (simulated RTL, test set)"),
        ("speed", speed, f" (simulated cycles at {data['clock_mhz']:g} MHz)"),
        ("size", f"{lut['lut']:,.0f} LUT", f" ({kind})"),
        *written,
        ("report", str(out / "report.html"), f"   [{seconds:.0f} s]"),
    ):
        show_figure(key, value, note)


if __name__ == "__main__":
    sys.exit(run_command(main))
