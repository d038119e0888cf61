"""What `run` is told on the command line: its arguments, and the Options that they stand for."""

from __future__ import annotations

import argparse
from pathlib import Path

from deploy.answers import add_json
from deploy.errors import UserError
from deploy.sealed import read_manifest

from .bitstream.places import FORMS, require_place
from .boards import BOARDS, Board, board_named
from .onto_arguments import check_writable, take_hardware
from .options import BACKENDS, DEFAULT_TARGET_FPS, FIFO_CHOICES, STAGE_NAMES, Options
from .pipeline.folders import BITSTREAM

MODEL, VECTORS = "model.onnx", "vectors.npz"
DEFAULT_BOARD = "pynq_z2"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds what `run` takes to its parser."""
    add = command.add_argument
    add("source", type=Path, metavar="SOURCE", help="run directory, or QONNX file")
    add("--board", metavar="B", help=f"{', '.join(BOARDS)} ({DEFAULT_BOARD})")
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
    add(
        "--writable",
        action="store_true",
        help="weights and thresholds in memories that the host writes over AXI4-Lite: other "
        "networks of this structure then run on the same bitstream (--onto)",
    )
    add(
        "--onto",
        type=Path,
        metavar="RUN",
        help="build no hardware: write this network's weights to that of RUN, made with "
        "--writable, whose board, clock and folding it takes",
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
        default="auto",
        metavar=FORMS,
        help="where the bitstream is built: here if Vivado is found (auto), here, in docker, "
        "not at all (none), or on another host; for an ECP5, here by nextpnr, or not at all",
    )
    add(
        "--layer-checkpoints",
        action="store_true",
        help="Vivado synthesises each layer with weights by itself and its netlist is kept: after "
        "an edit of one layer, only that one is synthesised again",
    )

    add(
        "--backend",
        choices=BACKENDS,
        default="rtl",
        help="whose hardware: our RTL, or FINN's from the same integer graph (chains of "
        "convolutions, max pools and dense layers), its code without a vendor's tool, its "
        "bitstream where Vivado and Vitis HLS are",
    )


def run_folder(arguments: argparse.Namespace) -> Path:
    """The run directory that is written."""
    source: Path = arguments.source
    return arguments.out or (source if source.is_dir() else Path("runs") / source.stem)


def options_of(arguments: argparse.Namespace) -> Options:
    """The Options that were asked for; UserError names the argument that can't be."""
    source: Path = arguments.source
    check_writable(arguments)
    _check_fit(arguments)
    if arguments.onto is not None:
        take_hardware(arguments, run_folder(arguments))
    board = board_named(arguments.board or DEFAULT_BOARD)
    clock_mhz = board.clock_mhz if arguments.clock_mhz is None else arguments.clock_mhz
    for option, value in (("--clock-mhz", clock_mhz), ("--target-fps", arguments.target_fps)):
        if value is not None and not 0 < value < float("inf"):
            raise UserError("not a positive number", where=option, found=str(value))
    board.require_clock(clock_mhz)
    _check_layer_checkpoints(arguments, board)
    if arguments.seed < 0:
        raise UserError("a seed is 0 or more", where="--seed", found=str(arguments.seed))
    fifo_file = None if arguments.fifo in FIFO_CHOICES else Path(arguments.fifo)
    files = {"--inputs": arguments.inputs, "--folding": arguments.folding, "--fifo": fifo_file}
    for option, path in files.items():
        if path is not None and not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise UserError("an option names no file", where=f"{option} {path}", found=found)
    model, vectors = _model_of(source)
    return Options(
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
        output=arguments.output or "auto",
        input_type=arguments.input_type,
        seed=arguments.seed,
        trace=arguments.trace,
        vivado=_vivado_place(arguments),
        layer_checkpoints=arguments.layer_checkpoints,
        backend=arguments.backend,
        writable=arguments.writable,
        onto=arguments.onto,
    )


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


def _check_layer_checkpoints(arguments: argparse.Namespace, board: Board) -> None:
    """UserError where no Vivado synthesises our RTL, and the option would do nothing."""
    why = {
        "--backend finn": arguments.backend == "finn",
        "--vivado none": arguments.vivado == "none",
        f"--board {board.name}": not board.has_pynq,
    }
    given = [option for option, is_so in why.items() if is_so]
    if arguments.layer_checkpoints and given:
        raise UserError(
            "--layer-checkpoints is for Vivado's synthesis of our RTL",
            found=f"{' and '.join(given)} beside it",
            fix="leave out one of them",
        )


def _vivado_place(arguments: argparse.Namespace) -> str:
    """Where Vivado runs: it has to be found where the bitstream is what was asked for.

    Unless the hardware of --onto has one.
    """
    require_place(arguments.vivado)
    is_built = arguments.onto is not None and read_manifest(arguments.onto / BITSTREAM) is not None
    wanted = arguments.until == "bitstream" and not is_built
    if wanted and arguments.vivado == "none":
        raise UserError(
            "a bitstream was asked for, and none may be built",
            found="--until bitstream and --vivado none",
            fix="leave out one of them",
        )
    return "local" if wanted and arguments.vivado == "auto" else arguments.vivado


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
