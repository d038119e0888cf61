"""Command: from a trained run or any QONNX file to a simulated accelerator and its report."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.answers import EXIT_CODES, HelpFormat, add_json, answer, for_people
from deploy.boards import BOARDS as FACTS
from deploy.errors import NarrowgaugeError, UserError
from deploy.run_directory import RunDirectory

from . import look
from .bitstream.vivado import PLACES, find_vivado
from .boards import BOARDS, board_named
from .options import BACKENDS, DEFAULT_TARGET_FPS, FIFO_CHOICES, STAGE_NAMES, Options
from .terminal import complain, show_figure, show_table

MODEL, VECTORS = "model.onnx", "vectors.npz"

Answer = dict[str, Any]

RUN_EXAMPLES = """examples:
  python -m hw_build.flow run runs/digits --board pynq_z2 --target-fps 1000000
  python -m hw_build.flow run network.onnx --inputs images.npy --out runs/network
  python -m hw_build.flow run runs/digits --folding runs/digits/05_folding/folding.json

SOURCE is a run directory that was exported (its test set runs through every executor), or any QONNX
file (seeded random inputs, unless --inputs gives an .npy of inputs as the model takes them)."""


STATUS_EXAMPLES = """examples:
  python -m hw_build.flow status runs/digits
  python -m hw_build.flow status runs/digits --json"""

ENDING = f"""example:
  python -m hw_build.flow run runs/digits --board pynq_z2 --target-fps 1000000

{EXIT_CODES} (143: ended by TERM); the same command goes on from the last whole stage

`COMMAND --help` has examples."""


def run(arguments: argparse.Namespace) -> Answer:
    """The whole flow, or up to --until."""
    from .bitstream.ecp5_build import tool_versions as ecp5_tool_versions
    from .board_gate import pynq_version
    from .pipeline.context import Flow
    from .stages import STAGES  # imports numpy, onnx and more: after the options
    from .verilator import tool_versions

    source: Path = arguments.source
    board = board_named(arguments.board)
    clock_mhz = board.clock_mhz if arguments.clock_mhz is None else arguments.clock_mhz
    for option, value in (("--clock-mhz", clock_mhz), ("--target-fps", arguments.target_fps)):
        if value is not None and not 0 < value < float("inf"):
            raise UserError("not a positive number", where=option, found=str(value))
    board.require_clock(clock_mhz)
    _check_fit(arguments)
    if arguments.seed < 0:
        raise UserError("a seed is 0 or more", where="--seed", found=str(arguments.seed))
    fifo_file = None if arguments.fifo in FIFO_CHOICES else Path(arguments.fifo)
    files = {"--inputs": arguments.inputs, "--folding": arguments.folding, "--fifo": fifo_file}
    for option, path in files.items():
        if path is not None and not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise UserError("an option names no file", where=f"{option} {path}", found=found)
    model, vectors = _model_of(source)
    options = Options(
        model=model,
        vectors=vectors,
        board=board,
        clock_mhz=clock_mhz,
        target_fps=arguments.target_fps,
        fit=arguments.fit,
        oversize=arguments.oversize,
        inputs=arguments.inputs,
        folding=arguments.folding,
        fifo=arguments.fifo,
        output=arguments.output,
        input_type=arguments.input_type,
        seed=arguments.seed,
        trace=arguments.trace,
        vivado=_vivado_place(arguments),
        backend=arguments.backend,
    )
    out = arguments.out or (source if source.is_dir() else Path("runs") / source.stem)
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


def _check_fit(arguments: argparse.Namespace) -> None:
    """UserError unless --fit is a share, and the only option that decides on the folding."""
    if arguments.fit is None:
        return
    if not 0 < arguments.fit <= 1:
        raise UserError(
            "not a share of the board", where="--fit", found=str(arguments.fit), expected="0 to 1"
        )
    others = {"--target-fps": arguments.target_fps, "--folding": arguments.folding}
    given = [option for option, value in others.items() if value is not None]
    if given:
        raise UserError(
            "--fit chooses the folding by itself",
            found=f"{' and '.join(given)} beside it",
            fix="give one of them",
        )


def status(arguments: argparse.Namespace) -> Answer:
    """What a run directory holds."""
    stages = RunDirectory(arguments.run).status()
    rows = []
    for stage in stages:
        seconds = "" if stage.seconds is None else f"{stage.seconds:.1f}"
        size = f"{stage.bytes / 1000:.0f}"
        rows.append((stage.name, stage.state, seconds, stage.created or "", size, stage.note))
    show_table(("stage", "state", "seconds", "made", "kB", "note"), rows, str(arguments.run))
    return {"run": str(arguments.run), "stages": [asdict(stage) for stage in stages]}


def finn(arguments: argparse.Namespace) -> Answer:
    """FINN's own conversion, execution and estimates for a run's integer graph."""
    from .pipeline.finn import check_with_finn

    folder = check_with_finn(RunDirectory(arguments.run, arguments.typed))
    figures = json.loads((folder / "finn.json").read_text(encoding="utf-8"))
    return {"run": str(arguments.run), "finn": figures}


def bundle_finn(arguments: argparse.Namespace) -> Answer:
    """A bundle of an accelerator that stock FINN built."""
    from deploy.commands import load_inputs

    from .finn_bundle import write_finn_bundle

    manifest = write_finn_bundle(
        arguments.out,
        arguments.build,
        board=arguments.board,
        inputs=load_inputs(arguments.inputs),
        outputs=load_inputs(arguments.outputs),
        clock_mhz=arguments.clock_mhz,
    )
    print(f"{arguments.out}: python -m deploy run {arguments.out} INPUT.npy --trust")
    return {"bundle": str(arguments.out), "identity": manifest.identity}


def uart(arguments: argparse.Namespace) -> Answer:
    """The run's golden vectors on a real board, over its UART."""
    from .uart_board import check_uart_board

    if arguments.frames is not None and arguments.frames < 1:
        raise UserError("no frames", where="--frames", found=str(arguments.frames))
    passed = check_uart_board(arguments.run, arguments.port, arguments.frames)
    print(f"{passed.name}: {passed.vectors} inputs, {passed.mismatches} mismatches")
    return {"run": str(arguments.run), "gate": asdict(passed)}


def ip(arguments: argparse.Namespace) -> Answer:
    """The accelerator alone: sources, file list, template, and the script that packages it."""
    from .bitstream.ip_folder import write_ip

    write_ip(arguments.run, arguments.out)
    print(f"{arguments.out / 'README.txt'} says what is there")
    files = sorted(path for path in arguments.out.rglob("*") if path.is_file())
    return {"folder": str(arguments.out), "files": [str(path) for path in files]}


def _vivado_place(arguments: argparse.Namespace) -> str:
    """Where Vivado runs: it has to be found where the bitstream is what was asked for."""
    wanted = arguments.until == "bitstream" and arguments.vivado == "auto"
    return "local" if wanted else arguments.vivado


def _model_of(source: Path) -> tuple[Path, Path | None]:
    """The QONNX file of SOURCE, and its test vectors if it is a run directory."""
    if source.is_dir():
        model, vectors = source / MODEL, source / VECTORS
        for path in (model, vectors):
            if not path.exists():
                raise UserError(
                    "the run directory has no exported network",
                    where=str(path),
                    found="no such file",
                    fix=f"python -m training.export {source}",
                )
        return model, vectors
    if not source.exists():
        raise UserError(
            "no such run directory or QONNX file",
            where=str(source),
            expected="a run directory with model.onnx and vectors.npz, or an .onnx file",
        )
    return source, None


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
    print()
    for key, value, note in (
        ("bit-exact", f"{len(data['gates'])} gates passed", f", up to {vectors} inputs each"),
        ("accuracy", shown, "" if accuracy is None else " (simulated RTL, test set)"),
        ("speed", speed, f" (simulated cycles at {data['clock_mhz']:g} MHz)"),
        ("size", f"{lut['lut']:,.0f} LUT", f" ({kind})"),
        ("report", str(out / "report.html"), f"   [{seconds:.0f} s]"),
    ):
        show_figure(key, value, note)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error met: 2 user, 3 machine, 4 a failed gate."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    # called from Python, the process's own arguments are another program's
    options.typed = sys.argv if arguments is None else [__file__, *arguments]
    try:
        with _signals_as_exceptions(), for_people(options):
            result = options.command(options)
        answer(options, result)
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has seen enough
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last whole stage", file=sys.stderr)
        return 130
    return 0


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
    add = command.add_argument
    add("source", type=Path, metavar="SOURCE", help="run directory, or QONNX file")
    add("--board", default="pynq_z2", metavar="B", help=f"{', '.join(BOARDS)} (pynq_z2)")
    add("--clock-mhz", type=float, metavar="M", help="clock in MHz (the board's default)")
    add(
        "--target-fps",
        type=float,
        metavar="N",
        help="frames a second that the folding must reach (without a wish, up to "
        f"{DEFAULT_TARGET_FPS:,.0f}, as far as the network and the board allow)",
    )
    add(
        "--fit",
        type=float,
        metavar="SHARE",
        help="instead of --target-fps: as fast as fits this share of the board (0.7)",
    )
    add(
        "--oversize",
        action="store_true",
        help="go on where the estimate exceeds the board: to simulate what won't fit",
    )
    add(
        "--fifo",
        default="auto",
        metavar="auto|minimal|FILE",
        help="FIFO depths: sized for full speed (auto), to the last beat (minimal, slower), or by "
        "stream, as a run wrote them",
    )
    add("--folding", type=Path, metavar="FILE", help="PE and SIMD by layer, as a run wrote them")
    add(
        "--inputs", type=Path, metavar="X.npy", help="inputs for the gates, as the model takes them"
    )
    add(
        "--input-type",
        metavar="TYPE",
        help="integers that the model's input takes, where the file doesn't say: BIPOLAR, TERNARY, "
        "INT4, UINT8, FIXED<16,6> ...",
    )
    add(
        "--output",
        default="auto",
        metavar="auto|scores|class|topK",
        help="what leaves: score accumulators, the class (arg max in hardware, where that is "
        "exact), the best K classes (top5), or what the QONNX graph ends in (auto)",
    )
    add(
        "--until",
        choices=STAGE_NAMES,
        default="report",
        metavar="STAGE",
        help=f"last stage: {', '.join(STAGE_NAMES)}",
    )
    add("--out", type=Path, metavar="RUN", help="run directory (SOURCE's, or runs/FILE)")
    add("--seed", type=int, default=0, metavar="S", help="of random inputs and stalls (0)")
    add(
        "--trace",
        action="store_true",
        help="write an FST waveform (needs liblz4-dev and zlib1g-dev)",
    )
    add(
        "--synthesis",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="synthesise every block with Yosys (default: yes)",
    )
    add_json(command)

    add(
        "--vivado",
        choices=PLACES,
        default="auto",
        help="where the bitstream is built: here if Vivado is found (auto), here, in docker, "
        "or not at all (none); for an ECP5, here by nextpnr, or not at all",
    )

    add(
        "--backend",
        choices=BACKENDS,
        default="rtl",
        help="whose hardware: our RTL, or FINN's from the same integer graph (fully connected "
        "networks), its code without a vendor's tool, its bitstream where Vivado and Vitis HLS are",
    )

    command = commands.add_parser(
        "status",
        help="what a run directory holds",
        description="Which stages of a run are whole, and what each took.",
        epilog=STATUS_EXAMPLES,
        formatter_class=HelpFormat,
    )
    command.set_defaults(command=status)
    command.add_argument("run", type=Path, metavar="RUN")
    add_json(command)

    look.add_commands(commands)

    command = commands.add_parser(
        "ip",
        help="the accelerator alone, for a design of your own",
        description="Writes the RTL of a run with its memory files, a file list, an instantiation "
        "template and the script that packages it as a Vivado IP with AXI4-Stream and AXI4-Lite "
        "ports.",
        epilog="example:\n  python -m hw_build.flow ip runs/digits --out digits_ip",
        formatter_class=HelpFormat,
    )
    add_json(command)
    command.set_defaults(command=ip)
    command.add_argument("run", type=Path, metavar="RUN")
    command.add_argument("--out", type=Path, metavar="FOLDER", required=True)

    known = ", ".join(FACTS)
    command = commands.add_parser(
        "bundle-finn",
        help="a bundle for our driver of an accelerator that stock FINN built",
        description="Reads bitstream, driver settings and estimates from the output folder of "
        "FINN's builder, and golden vectors from two .npy files: integers as the accelerator takes "
        "them, and what FINN's execution gives.",
        epilog="example:\n  python -m hw_build.flow bundle-finn finn_output --board pynq_z2 "
        "--inputs inputs.npy --outputs outputs.npy --out bundle.zip",
        formatter_class=HelpFormat,
    )
    add_json(command)
    command.set_defaults(command=bundle_finn)
    command.add_argument("build", type=Path, metavar="FINN_OUTPUT")
    command.add_argument("--board", required=True, metavar="B", choices=sorted(FACTS), help=known)
    command.add_argument("--inputs", type=Path, metavar="NPY", required=True)
    command.add_argument("--outputs", type=Path, metavar="NPY", required=True)
    command.add_argument("--clock-mhz", type=float, metavar="MHZ")
    command.add_argument("--out", type=Path, metavar="BUNDLE", default=Path("bundle.zip"))

    command = commands.add_parser(
        "uart",
        help="a run's golden vectors on an ECP5 board, over its UART",
        description="Sends the run's inputs to the board that its bitstream was loaded onto, and "
        "compares every output with the golden model's.",
        epilog="example:\n  python -m hw_build.flow uart runs/digits --port /dev/ttyUSB0",
        formatter_class=HelpFormat,
    )
    add_json(command)
    command.set_defaults(command=uart)
    command.add_argument("run", type=Path, metavar="RUN")
    command.add_argument("--port", metavar="TTY", required=True, help="the board's serial port")
    command.add_argument("--frames", type=int, metavar="N", help="how many inputs (all)")

    command = commands.add_parser(
        "finn",
        help="FINN's conversion, execution and estimates of the same graph",
        description="Hands the integer graph to FINN+ in its own dialect, runs its conversion to "
        "hardware layers, folding and estimates, and compares its execution with the golden model "
        "on 100 inputs. The figures join the report.",
        epilog="example:\n  python -m hw_build.flow finn runs/digits",
        formatter_class=HelpFormat,
    )
    add_json(command)
    command.set_defaults(command=finn)
    command.add_argument("run", type=Path, metavar="RUN")
    return parser


if __name__ == "__main__":
    sys.exit(main())
