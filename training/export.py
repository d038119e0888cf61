"""Command: exports a trained run to QONNX and test vectors, in stage 02_export."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from deploy.answers import EXIT_CODES, HelpFormat, add_json, answer, for_people
from deploy.errors import NarrowgaugeError
from deploy.run_directory import RunDirectory, write_atomically
from deploy.terminal import complain, run_command, show_figure
from training.train import CONFIG, WEIGHTS
from training.train import STAGE as TRAIN_STAGE
from training.trained_run import TrainedRun

STAGE = "02_export"
MODEL = "model.onnx"
VECTORS = "vectors.npz"
TOOLS = ("torch", "brevitas", "onnx", "onnxoptimizer", "numpy", "scikit-learn")


def export_run(run: Path, data_dir: Path | None = None) -> Path:
    """Writes `model.onnx` and `vectors.npz` into `run`/02_export and publishes both in `run`.

    The data set is read again from where training read it, or from `data_dir`. The keys of the
    vectors are described in `training/vectors.py`.

    Raises:
        UserError: the run is not trained, its data are gone, its outputs do not vary, or its
            weights are TTQ's.
    """
    trained = TrainedRun.read(run)
    directory = RunDirectory(run)
    with directory.lock():
        stage = directory.run_stage(
            STAGE,
            config={},
            inputs={name: run / TRAIN_STAGE / name for name in (WEIGHTS, CONFIG)},
            tools={name: version(name) for name in TOOLS},
            body=lambda folder: _export_into(folder, trained, data_dir),
        )
        for name in (MODEL, VECTORS):
            directory.publish(Path(STAGE) / name)
    return stage


def _export_into(folder: Path, trained: TrainedRun, data_dir: Path | None) -> None:
    import numpy as np

    from training.qonnx_export import to_qonnx
    from training.vectors import make_vectors

    network, dataset = trained.load(data_dir)
    vectors = make_vectors(network, dataset)
    model = to_qonnx(network)
    write_atomically(folder / MODEL, model.SerializeToString(deterministic=True))
    np.savez_compressed(folder / VECTORS, **vectors)


def command_parser() -> argparse.ArgumentParser:
    """Of this command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description="Exports a trained run: model.onnx (QONNX) and vectors.npz, both in RUN.",
        epilog=f"example:\n  python -m training.export runs/digits\n\n{EXIT_CODES}",
        formatter_class=HelpFormat,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory of training.train")
    parser.add_argument(
        "--data-dir", type=Path, metavar="D", help="where the data set is, if it has moved"
    )
    add_json(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error met."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    try:
        with for_people(options):
            stage = export_run(options.run, options.data_dir)
        found = _accuracy_of(stage / VECTORS)
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    model, vectors = options.run / MODEL, options.run / VECTORS
    with for_people(options):
        accuracy = f"{100 * found['test_accuracy']:.2f} %"
        samples = f"{found['n_test_samples']} test samples, evaluated exactly"
        show_figure("accuracy", accuracy, f" ({samples})")
        classes = f"differs in {found['n_float32_class_differs']} classes"
        samples = f"{found['n_float32_activation_differs']} samples"
        show_figure("float32", classes, f", and in some activation of {samples}")
        show_figure("model", str(model))
        show_figure("vectors", str(vectors))
    answer(options, {"model": str(model), "vectors": str(vectors), **found})
    return 0


def _accuracy_of(path: Path) -> dict[str, float | int]:
    import numpy as np

    with np.load(path) as vectors:
        return {
            "test_accuracy": float((vectors["outputs"].argmax(1) == vectors["labels"]).mean()),
            "n_test_samples": len(vectors["labels"]),
            "n_float32_class_differs": int(vectors["n_float32_class_differs"]),
            "n_float32_activation_differs": int(vectors["n_float32_activation_differs"]),
        }


if __name__ == "__main__":
    sys.exit(run_command(main))
