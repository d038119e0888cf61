"""Commands that look at runs and change none: what is there, its picture, runs side by side."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.answers import HelpFormat, add_json
from deploy.errors import UserError
from deploy.run_directory import RunDirectory, sha256_of
from deploy.terminal import warn

from .pipeline.folders import FINN, FOLDING, GRAPH
from .terminal import show_table

STATUS_EXAMPLES = """examples:
  python -m hw_build.flow status runs/digits
  python -m hw_build.flow status runs/digits --json"""

SHOW_EXAMPLES = """examples:
  python -m hw_build.flow show runs/digits
  python -m hw_build.flow show runs/digits --out dataflow.svg
  python -m hw_build.flow show runs/digits --netron
  python -m hw_build.flow show runs/digits --netron finn"""

NETRON = ("qonnx", "finn")
"""What Netron shows of a run: the file it was compiled from, or FINN's graph of its hardware."""

COMPARE_EXAMPLES = """examples:
  python -m hw_build.flow compare runs/* --out compare.html
  python -m hw_build.flow compare runs/digits runs/tfc_w1a1 --json"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds `status`, `show` and `compare` to the flow's commands."""
    form = HelpFormat
    command = commands.add_parser(
        "status",
        help="what a run directory holds",
        description="Which stages of a run are whole, and what each took.",
        epilog=STATUS_EXAMPLES,
        formatter_class=form,
    )
    command.set_defaults(command=status)
    command.add_argument("run", type=Path, metavar="RUN")
    add_json(command)

    command = commands.add_parser(
        "show",
        help="a picture of the dataflow, or its QONNX in Netron",
        description="Draws the accelerator's blocks and streams, with folding, widths and FIFOs, "
        "from a run that was folded (its stage 05_folding).",
        epilog=SHOW_EXAMPLES,
        formatter_class=form,
    )
    command.set_defaults(command=show)
    command.add_argument("run", type=Path, metavar="RUN")
    command.add_argument("--out", type=Path, metavar="X.svg", help="the picture (RUN/graph.svg)")
    command.add_argument(
        "--netron",
        nargs="?",
        const="qonnx",
        choices=NETRON,
        help="open a stage in Netron in the browser instead, until Ctrl-C: the QONNX file that the "
        "run was compiled from (qonnx), or FINN's graph of the same network (finn)",
    )
    add_json(command)

    command = commands.add_parser(
        "compare",
        help="a page that compares runs, and the same figures as CSV and JSON",
        description="Writes a page with a table to sort and filter and with Pareto plots, whole in "
        "one file, and the same figures as .csv and .json beside it. A folder without a report is "
        "left out with a warning.",
        epilog=COMPARE_EXAMPLES,
        formatter_class=form,
    )
    command.set_defaults(command=compare)
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("compare.html"),
        metavar="X.html",
        help="the page (compare.html)",
    )
    command.add_argument(
        "--json", action="store_true", help="print the figures as JSON instead, and write no file"
    )


def status(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a run directory holds."""
    stages = RunDirectory(arguments.run).status()
    rows = []
    for stage in stages:
        seconds = "" if stage.seconds is None else f"{stage.seconds:.1f}"
        size = f"{stage.bytes / 1000:.0f}"
        rows.append((stage.name, stage.state, seconds, stage.created or "", size, stage.note))
    show_table(("stage", "state", "seconds", "made", "kB", "note"), rows, str(arguments.run))
    return {"run": str(arguments.run), "stages": [asdict(stage) for stage in stages]}


def show(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the picture of a run's dataflow, or opens its network in Netron."""
    run = RunDirectory(arguments.run)
    if arguments.netron:
        model = _finn_graph(run) if arguments.netron == "finn" else _source_of(run)
        _open_in_netron(model)
        return {"model": str(model)}
    out = arguments.out or run.path / "graph.svg"
    picture = _dataflow(run)
    try:
        out.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise UserError("the picture can't be written", where=str(out), found=str(error)) from error
    print(out)
    return {"picture": str(out)}


def _dataflow(run: RunDirectory) -> str:
    """The SVG of the blocks that the run's folding decided on."""
    from . import graph_file  # imports numpy and more: after the options
    from .boards import board_named
    from .folded import load_blocks
    from .pipeline_picture import pipeline_svg

    made_by = f"python -m hw_build.flow run {run.path} --until folding"
    graph = graph_file.load(run.stage(GRAPH, made_by=made_by)).graph
    folding = run.stage(FOLDING, made_by=made_by)
    board = board_named(run.manifest(FOLDING, made_by=made_by)["config"]["board"])
    prediction = json.loads((folding / "prediction.json").read_text(encoding="utf-8"))
    blocks = load_blocks(folding, graph, board.dma_bits)
    return pipeline_svg(blocks, prediction["cycles"]["interval"], board.dma_bits, styled=True)


def _source_of(run: RunDirectory) -> Path:
    """The QONNX file that the run was compiled from; before that, the one it has exported."""
    model = run.path / "model.onnx"
    known = None
    if (run.path / GRAPH).exists():
        known = run.manifest(GRAPH, made_by=f"python -m hw_build.flow run {run.path}")
        path = Path(known["inputs"]["model"]["path"])
        model = run.path / path if (run.path / path).exists() else path
    if not model.is_file():
        raise UserError("the run's QONNX file is not there", where=str(model), found="no such file")
    if known is not None and sha256_of(model) != known["inputs"]["model"]["sha256"]:
        raise UserError(
            "the QONNX file has changed since the run was made from it",
            where=str(model),
            fix=f"python -m hw_build.flow run {model} --out {run.path}",
        )
    return model


def _finn_graph(run: RunDirectory) -> Path:
    """The last graph that FINN made of the run's network."""
    return run.stage(FINN, made_by=f"python -m hw_build.flow finn {run.path}") / "final.onnx"


def _open_in_netron(model: Path) -> None:
    """Serves the file to the browser on this machine until it is interrupted."""
    import netron

    netron.start(str(model))
    netron.wait()


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the page and its figures, or prints the figures as JSON."""
    from . import comparison

    if arguments.json:
        return comparison.compare(arguments.runs, warn)
    paths = comparison.write_comparison(arguments.runs, arguments.out, warn)
    for path in paths:
        print(path)
    return {"written": [str(path) for path in paths]}
