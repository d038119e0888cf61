"""The inputs that the gates run on, and what is known of them: labels, PyTorch's own results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deploy.errors import UserError

from .input_quantiser import InputQuantiser

N_GATE_INPUTS = 1_000
"""Every gate sees at least so many inputs; fewer are filled up with seeded random ones."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Inputs as the QONNX model takes them, (N, ...), the first `n_own` of them the user's.

    Attributes:
        origin: where they come from, for the report.
        labels: classes of the first len(labels) inputs, or None.
        class_names: by class, or None.
        activations: PyTorch's integers of quantised tensors, for the first inputs, by tensor name.
        torch_integers: PyTorch's output accumulators, for the first inputs, or None.
        torch_inputs: PyTorch's quantised inputs, for the first inputs, or None.
        float32_differs: inputs whose class plain float32 PyTorch sees otherwise, or None.
    """

    inputs: np.ndarray
    n_own: int
    origin: str
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    activations: Mapping[str, np.ndarray] = field(default_factory=dict)
    torch_integers: np.ndarray | None = None
    torch_inputs: np.ndarray | None = None
    float32_differs: int | None = None


def exported_vectors(path: Path) -> Vectors:
    """The test set that `training.export` wrote, extra inputs appended to a small one."""
    with _open(path) as file:
        try:
            own, labels = file["inputs"], file["labels"]
        except KeyError as error:
            raise UserError(
                "not a file of test vectors",
                where=str(path),
                found=f"keys {', '.join(file.files)}",
                expected="inputs, labels and more, as training.export writes them",
            ) from error
        n_own = len(own)
        joined = {
            key: np.concatenate([file[key], file[f"extra_{key}"]])
            if f"extra_{key}" in file
            else file[key]
            for key in ("inputs", "inputs_integer", "outputs_integer")
            if key in file
        }
        prefix = "activations/"
        activations = {
            key.removeprefix(prefix): file[key]
            for key in file.files
            if key.startswith(prefix) and not key.endswith("/scale")
        }
        return Vectors(
            inputs=joined["inputs"],
            n_own=n_own,
            origin="test set",
            labels=labels,
            class_names=tuple(file["class_names"].tolist()),
            activations=activations,
            torch_integers=joined.get("outputs_integer"),
            torch_inputs=joined.get("inputs_integer"),
            float32_differs=int(file["n_float32_class_differs"]),
        )


def given_vectors(path: Path | None, quantiser: InputQuantiser, seed: int) -> Vectors:
    """The user's inputs from an .npy file, random ones for what is missing, or only those."""
    if path is None:
        own = np.empty((0, *quantiser.shape), np.float32)
        origin = f"seeded random inputs (seed {seed})"
    else:
        own = _load_array(path)
        quantiser(own[:1])  # the shape is checked before anything is computed
        own = own.reshape(len(own), *quantiser.shape)
        origin = path.name
    n_random = max(0, N_GATE_INPUTS - len(own))
    extra = quantiser.random_inputs(n_random, seed) if n_random else own[:0]
    inputs = np.concatenate([own, extra.astype(own.dtype)]) if n_random else own
    return Vectors(inputs=inputs, n_own=len(own) or len(inputs), origin=origin)


def _load_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            "the inputs can't be read",
            where=str(path),
            found=str(error),
            expected="an .npy file of numbers, (N, ...) as the QONNX model takes them",
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim < 2 or not len(array):
        raise UserError(
            "the inputs are no batch",
            where=str(path),
            found=f"shape {getattr(array, 'shape', 'of several arrays')}",
            expected="an .npy array of shape (N, ...), N at least 1",
        )
    return array


def _open(path: Path) -> np.lib.npyio.NpzFile:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            "the test vectors can't be read",
            where=str(path),
            found=str(error),
            fix="export the run again: python -m training.export RUN",
        ) from error
