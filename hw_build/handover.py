"""Commands that meet other tools and boards: an IP for Vivado, FINN, a board's UART."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.answers import HelpFormat, add_json
from deploy.boards import BOARDS
from deploy.errors import UserError
from deploy.run_directory import RunDirectory

Answer = dict[str, Any]


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `ip`, `bundle-finn`, `uart` and `finn` to the flow's commands."""
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

    known = ", ".join(BOARDS)
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
    command.add_argument("--board", required=True, metavar="B", choices=sorted(BOARDS), help=known)
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
        "on up to 100 inputs. FINN's own front end gets the QONNX file as well: where it differs "
        "from the exact executor, a rounding tie explains it, or the command stops. The figures "
        "join the report.",
        epilog="example:\n  python -m hw_build.flow finn runs/digits",
        formatter_class=HelpFormat,
    )
    add_json(command)
    command.set_defaults(command=finn)
    command.add_argument("run", type=Path, metavar="RUN")


def ip(arguments: argparse.Namespace) -> Answer:
    """The accelerator alone: sources, file list, template, and the script that packages it."""
    from .bitstream.ip_folder import write_ip

    write_ip(arguments.run, arguments.out)
    print(f"{arguments.out / 'README.txt'} says what is there")
    files = sorted(path for path in arguments.out.rglob("*") if path.is_file())
    return {"folder": str(arguments.out), "files": [str(path) for path in files]}


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


def finn(arguments: argparse.Namespace) -> Answer:
    """FINN's own conversion, execution and estimates for a run's integer graph."""
    from .pipeline.finn import check_with_finn

    folder = check_with_finn(RunDirectory(arguments.run, arguments.typed))
    figures = json.loads((folder / "finn.json").read_text(encoding="utf-8"))
    return {"run": str(arguments.run), "finn": figures}
