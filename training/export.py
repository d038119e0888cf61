"""Command: exports a trained run to QONNX and test vectors, in stage 02_export."""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from deploy.errors import NarrowgaugeError
from deploy.run_directory import RunDirectory, write_atomically
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


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error met."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description="Exports a trained run: model.onnx (QONNX) and vectors.npz, both in RUN.",
        epilog="example: python -m training.export runs/digits",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory of training.train")
    parser.add_argument(
        "--data-dir", type=Path, metavar="D", help="where the data set is, if it has moved"
    )
    options = parser.parse_args(arguments)
    try:
        stage = export_run(options.run, options.data_dir)
        summary = _summary_of(stage / VECTORS)
    except NarrowgaugeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    print(summary)
    print(f"{options.run / MODEL}\n{options.run / VECTORS}")
    return 0


def _summary_of(path: Path) -> str:
    import numpy as np

    with np.load(path) as vectors:
        accuracy = (vectors["outputs"].argmax(1) == vectors["labels"]).mean()
        return (
            f"test accuracy {100 * accuracy:.2f} % on {len(vectors['labels'])} samples, evaluated "
            f"exactly; plain float32 differs in the class of {vectors['n_float32_class_differs']} "
            f"and in some activation of {vectors['n_float32_activation_differs']}"
        )


if __name__ == "__main__":
    sys.exit(main())
