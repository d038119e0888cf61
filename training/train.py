"""Command: trains the network of a config into stage 01_train of a run directory."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.answers import EXIT_CODES, HelpFormat, add_json, answer, for_people
from deploy.errors import NarrowgaugeError, UserError
from deploy.run_directory import RunDirectory, write_atomically
from deploy.terminal import complain, run_command, show_figure
from training.config import Config, load_config

if TYPE_CHECKING:
    from training.dataset import Dataset
    from training.loop import Samples
    from training.network import Network

STAGE = "01_train"
WEIGHTS = "weights.safetensors"
LAST = "last.safetensors"
CONFIG = "config.json"
SUMMARY = "summary.json"


def train_run(
    config: Config, run: Path, data_dir: Path | None = None, *, overwrite: bool = True
) -> Path:
    """Trains into `run`/01_train unless it is there already; returns that folder.

    It holds `weights.safetensors` (the best epoch's where there are validation samples, else the
    last's), `last.safetensors` (the last epoch's), the resolved `config.json`, `metrics.jsonl` (a
    line per epoch) and `summary.json` (test accuracy, what it was measured on, and the network's
    size). What lies there of another config is replaced only if `overwrite` says so.

    Raises:
        UserError: data are missing or corrupted, the loss runs away, or `run` holds a whole or
            partial run of another config that is not to be overwritten.
        MachineError: a download failed, or the disk is full.
    """
    from training import processes  # torch and brevitas load after the config is right
    from training.datasets import load_data

    if processes.rank() > 0:
        _train_along(config, data_dir)
        return run / STAGE
    dataset = load_data(config.data, data_dir)
    processes.told("loaded")
    is_needed = False

    def body(folder: Path) -> None:
        nonlocal is_needed
        is_needed = processes.told(True)
        _train_into(folder, config, dataset)

    # How many processes there are decides how sums round and who draws which random numbers.
    shared = {"processes": processes.count()} if processes.count() > 1 else {}
    try:
        return RunDirectory(run).run_stage(
            STAGE,
            config=config.model_dump(mode="json") | shared,
            inputs=dataset.files,
            tools={name: version(name) for name in ("torch", "brevitas", "numpy", "scikit-learn")},
            body=body,
            seed=config.training.seed,
            resumable=True,
            overwrite=overwrite,
        )
    finally:
        if not is_needed:
            processes.told(False)


def _train_along(config: Config, data_dir: Path | None) -> None:
    """What every process but the first does: it takes its share of the work, and writes nothing."""
    from training import loop, processes
    from training.datasets import load_data

    processes.told(None)  # The first has downloaded what was not there.
    dataset = load_data(config.data, data_dir)
    if processes.told(None):
        network, samples, validation = prepared(config, dataset)
        loop.train(network, samples, config.training, None, validation)


def _train_into(folder: Path, config: Config, dataset: Dataset) -> None:
    from safetensors.torch import save

    from training import loop
    from training.network_size import size_of

    network, samples, validation = prepared(config, dataset)
    best = loop.train(network, samples, config.training, folder, validation)
    write_atomically(folder / LAST, save(network.state_dict()))
    if best is not None:
        network.load_state_dict(best)
    network.cpu()
    summary = {
        "test_accuracy": loop.accuracy(network, loop.evaluation_samples(dataset, network)),
        "n_test_samples": len(dataset.test_labels),
        "n_train_samples": len(samples),
        "n_validation_samples": 0 if validation is None else len(validation),
        "data": dataset.name,
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "size": asdict(size_of(network)),
    }
    write_atomically(folder / WEIGHTS, save(network.state_dict()))
    write_atomically(folder / CONFIG, config.model_dump_json(indent=2) + "\n")
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    (folder / loop.CHECKPOINT).unlink()


def prepared(config: Config, dataset: Dataset) -> tuple[Network, Samples, Samples | None]:
    """A new network, on its device, with what it is trained on and, if any, validated on."""
    import torch

    from training import loop, processes
    from training.networks import build_network

    if config.training.batch_size < processes.count():
        raise UserError(
            "every process takes its share of a batch",
            where="training.batch_size",
            found=f"{config.training.batch_size}, and {processes.count()} processes",
            fix="set training.batch_size to as many samples, or start fewer processes",
        )
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that was not written: filling it first is a tenth of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_num_threads(config.training.threads)
    torch.manual_seed(config.training.seed)
    device = _device_of(config)
    network = build_network(config.network, dataset.shape, len(dataset.class_names))
    network.to(device)
    fitted, held = dataset.held_out(config.data.validation_samples)
    samples = loop.train_samples(fitted, network, device, config.data.augmentation)
    validation = loop.evaluation_samples(held, network, device) if len(held.test_labels) else None
    return network, samples, validation


def _device_of(config: Config) -> str:
    """The device of a config, there and made to compute the same every time."""
    import torch

    from training import processes

    if config.training.device == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise UserError(
            "there is no GPU that PyTorch can use",
            where="training.device",
            found="cuda",
            fix='set training.device to "cpu", or install a build of torch for this GPU',
        )
    # cuBLAS sums in the same order every time only with a workspace of a fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return f"cuda:{processes.local_rank()}"


def command_parser() -> argparse.ArgumentParser:
    """Of this command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Trains the network of a config into a run directory. Killed at any moment, "
        "the same command goes on from the last whole epoch, to the identical result.",
        epilog="example:\n  python -m training.train training/configs/digits_w1a1.toml "
        "--out runs/digits"
        f"\n\n{EXIT_CODES}",
        formatter_class=HelpFormat,
    )
    parser.add_argument("config", type=Path, help="TOML file, such as training/configs/*.toml")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="RUN",
        help="run directory; runs/ and the config's name if not given",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what RUN holds of another config"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="D", help="folder that holds mnist/ or fashion_mnist/"
    )
    parser.add_argument("--data", metavar="NAME", help="instead of data.name, as fashion_mnist")
    for part in ("train", "test"):
        parser.add_argument(
            f"--{part}-samples", type=int, metavar="N", help=f"instead of data.{part}_samples"
        )
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of training.epochs")
    parser.add_argument("--seed", type=int, metavar="S", help="instead of training.seed")
    add_json(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error met."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    try:
        config = load_config(
            options.config,
            data=options.data,
            train_samples=options.train_samples,
            test_samples=options.test_samples,
            epochs=options.epochs,
            seed=options.seed,
        )
        run = options.out or Path("runs") / options.config.stem
        from training import processes

        with for_people(options), processes.joined(config.training.device):
            stage = train_run(config, run, options.data_dir, overwrite=options.overwrite)
            if processes.rank() > 0:
                return 0
        summary = json.loads((stage / SUMMARY).read_text())
    except NarrowgaugeError as error:
        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last whole epoch", file=sys.stderr)
        return 130
    with for_people(options):
        accuracy = f"{100 * summary['test_accuracy']:.2f} %"
        samples = f"{summary['n_test_samples']} test samples of {summary['data']}"
        show_figure("accuracy", accuracy, f" ({samples})")
        show_figure("run", str(run))
    answer(options, {"run": str(run), "stage": str(stage), **summary})
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
