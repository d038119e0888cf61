"""Commands: run and measure an accelerator on a board, a virtual one, or one behind ssh."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deploy.accelerator import Accelerator
from deploy.answers import EXIT_CODES, HelpFormat, add_json, answer, for_people
from deploy.bundle import Bundle
from deploy.errors import NarrowgaugeError, UserError
from deploy.executors import ProcessExecutor
from deploy.measurement import BATCHES, LEAST_REPEATS, measure
from deploy.records import append, figures, read_log
from deploy.remote import BUNDLE, INPUT, LOG, OUTPUT, Remote
from deploy.terminal import complain, show_figure
from deploy.trust import require_trust

EXAMPLES = """examples:
  python -m deploy run bundle.zip images.npy --run RUN           on a board, as root
  python -m deploy run bundle.zip images.npy --board virtual:pynq_z2 --rtl RUN
  python -m deploy measure bundle.zip --host xilinx@pynq --run RUN
  python -m deploy report measurements.jsonl"""
EXAMPLE_OF = {
    "run": "bundle.zip images.npy --board virtual:pynq_z2 --rtl runs/digits --run runs/digits",
    "measure": "bundle.zip --host xilinx@pynq --run runs/digits",
    "push": "bundle.zip --host xilinx@pynq --run runs/digits",
    "pull": "bundle.zip --host xilinx@pynq --out results",
    "report": "measurements.jsonl",
}

VIRTUAL = "virtual:"

Answer = dict[str, Any]


def run(options: argparse.Namespace) -> Answer:
    """Inputs through the accelerator: real ones are quantised, integers with --integers go in."""
    x = load_inputs(options.input)
    with opened(options) as accelerator:
        integers = x if options.integers else accelerator.quantise(x)
        out = accelerator.run(integers.reshape(len(integers), -1))
        meaning = accelerator.meaning
        if options.out is not None:
            np.save(options.out, out)
            note = f" ({len(out)} frames, integers of {out.shape[1]} outputs)"
            show_figure("outputs", str(options.out), note)
        best = [meaning.names_of(classes) for classes in meaning.best(out)]
        source = accelerator.source
        show_figure("source", source)
        if meaning.n_pixels > 1:
            show_figure("classes", f"of {meaning.n_pixels} pixels a frame, in --json")
            return {"source": source, "classes": best}
        names = ", ".join(" > ".join(classes) for classes in best[:10])
        show_figure("classes", f"{names}{', ...' if len(best) > 10 else ''}")
    answer = {"source": source, "classes": [classes[0] for classes in best]}
    return {**answer, "best": best} if best and len(best[0]) > 1 else answer


def measure_it(options: argparse.Namespace) -> Answer:
    """Golden vectors, then accuracy, cycles, speed and power, into the log."""
    with opened(options) as accelerator:
        record = measure(accelerator, batches=options.batches, repeats=options.repeats)
    append(options.log, record)
    _show(record)
    show_figure("log", str(options.log))
    return {"record": record}


def report(options: argparse.Namespace) -> Answer:
    """What a log of measurements says."""
    records = read_log(options.log)
    for index, record in enumerate(records):
        if index:
            print()
        _show(record)
    return {"records": records}


def push(options: argparse.Namespace) -> Answer:
    """Puts a trusted bundle and its driver on a board."""
    bundle = trusted(options)
    folder = Remote(options.host, options.ssh).push(bundle)
    print(folder)
    return {"host": options.host, "folder": folder}


def pull(options: argparse.Namespace) -> Answer:
    """Fetches what runs and measurements left on a board."""
    bundle = Bundle.read(options.bundle)
    targets = {name: options.out / name for name in (LOG, OUTPUT)}
    written = Remote(options.host, options.ssh).pull(bundle, targets)
    for path in written:
        print(path)
    return {"host": options.host, "written": [str(path) for path in written]}


def _show(record: Answer) -> None:
    for key, value, note in figures(record):
        show_figure(key, value, note)


def remotely(options: argparse.Namespace) -> int:
    """The same command on the board, after a push; its log or outputs come back where they would
    be at home."""
    bundle = trusted(options)
    remote = Remote(options.host, options.ssh)
    remote.push(bundle)
    code = remote.command(bundle, remote_arguments(options), getattr(options, "input", None))
    target = {LOG: options.log} if options.name == "measure" else {OUTPUT: options.out}
    if code == 0 and None not in target.values():
        for path in remote.pull(bundle, target):
            print(path)
    return code


def remote_arguments(options: argparse.Namespace) -> list[str]:
    """The board's own arguments for these options: no host, the files by their names there.

    What vouched for the bundle here does so there: --run becomes --trust.
    """
    files = {"run": (BUNDLE, INPUT), "measure": (BUNDLE,)}[options.name]
    there = [options.name, *files, "--trust"]
    for name in ("board", "rtl", "model", "python", "timeout_s", "repeats"):
        value = getattr(options, name, None)
        if value is not None:
            there += [f"--{name.replace('_', '-')}", str(value)]
    json = ["--json"] if options.json else []
    if options.name == "measure":
        return [*there, *json, "--batches", ",".join(map(str, options.batches))]
    return [*there, *json, "--out", OUTPUT, *(["--integers"] if options.integers else [])]


def trusted(options: argparse.Namespace) -> Bundle:
    """The bundle, its code and bitstream vouched for by --run or --trust."""
    bundle = Bundle.read(options.bundle)
    require_trust(bundle, options.run, options.trust)
    return bundle


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Accelerator]:
    """The accelerator on the board that the options name."""
    bundle = Bundle.read(options.bundle)
    more = {"run": options.run, "trust": options.trust, "timeout_s": options.timeout_s}
    if options.board is None:
        with Accelerator(bundle, **more) as accelerator:
            yield accelerator
        return
    if not options.board.startswith(VIRTUAL):
        raise UserError(
            "no such board",
            where="--board",
            found=options.board,
            expected=f"{VIRTUAL}pynq_z2 and the like, or nothing on a board itself",
        )
    if (options.rtl is None) == (options.model is None):
        raise UserError(
            "a virtual board needs something that computes",
            where=f"--board {options.board}",
            expected="--rtl RUN (the run's RTL under Verilator) or --model RUN (its golden model)",
        )
    from deploy.pynq_board import import_pynq

    import_pynq()
    from deploy.pynq_virtual import virtual_board

    command = [options.python or sys.executable, "-m", "hw_build.virtual_executor"]
    command += [str(options.rtl)] if options.rtl else [str(options.model), "--golden"]
    name = options.board.removeprefix(VIRTUAL)
    with (
        ProcessExecutor(command) as executor,
        virtual_board(name, bundle.manifest, executor) as hardware,
        Accelerator(bundle, hardware=hardware, **more) as accelerator,
    ):
        yield accelerator


def load_inputs(path: Path) -> np.ndarray:
    """An .npy file of numbers, frames first; UserError for anything else."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError("the inputs can't be read", where=str(path), found=str(error)) from error
    if not isinstance(array, np.ndarray) or array.ndim < 2 or array.dtype.kind not in "biuf":
        raise UserError("the inputs are no batch of numbers", where=str(path))
    return array


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no list of sizes: {text}") from error


def command_parser() -> argparse.ArgumentParser:
    """Of all commands' options."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy",
        allow_abbrev=False,
        description=__doc__,
        epilog=f"{EXAMPLES}\n\n{EXIT_CODES}",
        formatter_class=HelpFormat,
    )
    parser.set_defaults(json=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")

    def add(name: str, function, *, runs: bool, needs_host: bool = False):
        about = function.__doc__.splitlines()[0]
        command = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=f"example:\n  python -m deploy {name} {EXAMPLE_OF[name]}",
            formatter_class=HelpFormat,
            allow_abbrev=False,
        )
        command.set_defaults(command=function)
        option = command.add_argument
        option("bundle", type=Path, metavar="BUNDLE", help="bundle.zip of a run")
        option("--run", type=Path, metavar="RUN", help="the run that vouches for the bundle")
        option("--trust", action="store_true", help="run the bundle's code and bitstream anyway")
        option("--host", metavar="USER@BOARD", required=needs_host, help="over ssh")
        option("--ssh", default="ssh", metavar="COMMAND", help="another ssh, with its options")
        if runs:
            option("--board", metavar="virtual:NAME", help="a virtual board (this one's own)")
            option("--rtl", type=Path, metavar="RUN", help="virtual: the run's RTL computes")
            option("--model", type=Path, metavar="RUN", help="virtual: its golden model does")
            option("--python", metavar="P", help="for --rtl and --model, if not this one")
            option("--timeout-s", type=float, metavar="S", help="of a transfer")
        add_json(command)
        return command

    command = add("run", run, runs=True)
    command.add_argument("input", type=Path, metavar="INPUT.npy")
    command.add_argument("--integers", action="store_true", help="the inputs are quantised")
    command.add_argument("--out", type=Path, metavar="OUT.npy", help="the output's integers")
    command = add("measure", measure_it, runs=True)
    more = {"type": Path, "default": Path(LOG), "metavar": "L", "help": f"appended to ({LOG})"}
    command.add_argument("--log", **more)
    command.add_argument("--batches", type=_sizes, default=BATCHES, metavar="N,N")
    command.add_argument("--repeats", type=int, default=LEAST_REPEATS, metavar="N")
    add("push", push, runs=False, needs_host=True)
    command = add("pull", pull, runs=False, needs_host=True)
    command.add_argument("--out", type=Path, default=Path("."), metavar="FOLDER")
    command = commands.add_parser(
        "report",
        help=report.__doc__,
        description=report.__doc__,
        epilog=f"example:\n  python -m deploy report {EXAMPLE_OF['report']}",
        formatter_class=HelpFormat,
    )
    add_json(command)
    command.set_defaults(command=report, host=None)
    command.add_argument("log", type=Path, metavar="LOG")
    return parser


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a command; no name of one may be cut short."""
    return command_parser().parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error met: 2 user, 3 machine, 4 a failed gate."""
    warnings.simplefilter("ignore")  # pynq's: the driver checks what they warn of
    options = parsed(arguments)
    try:
        with for_people(options):
            if options.host is not None and options.name in ("run", "measure"):
                return remotely(options)
            result = options.command(options)
        answer(options, result)
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return 0
