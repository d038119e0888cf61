"""The inputs that the gates run on, and what is known of them: labels, PyTorch's own results."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from deploy.errors import UserError

from .graph import BIPOLAR, IntType
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


def exported_vectors(path: Path, shape: tuple[int, ...] | None = None) -> Vectors:
    """The test set that `training.export` wrote, extra inputs appended to a small one.

    Args:
        path: vectors.npz of a run.
        shape: of the network's input without the batch, to be held against the vectors'.

    Raises:
        UserError: the file can't be read, or belongs to another network.
    """
    file = _read(path)
    try:
        own, labels = file["inputs"], file["labels"]
        class_names = tuple(file["class_names"].tolist())
        float32_differs = int(file["n_float32_class_differs"])
    except KeyError as error:
        raise UserError(
            "not a file of test vectors",
            where=str(path),
            found=f"keys {', '.join(file) or 'none'}",
            expected="inputs, labels and more, as training.export writes them",
        ) from error
    fits = shape is None or own.shape[1:] == tuple(shape)
    if not fits or len(labels) != len(own) or not len(own):
        raise UserError(
            "the test vectors belong to another network",
            where=str(path),
            found=f"inputs {own.shape}, labels {labels.shape}",
            expected=f"inputs (N, {', '.join(map(str, shape or own.shape[1:]))}), labels (N,)",
            fix="export the run again: python -m training.export RUN",
        )
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
        for key in file
        if key.startswith(prefix) and not key.endswith("/scale")
    }
    return Vectors(
        inputs=joined["inputs"],
        n_own=len(own),
        origin="test set",
        labels=labels,
        class_names=class_names,
        activations=activations,
        torch_integers=joined.get("outputs_integer"),
        torch_inputs=joined.get("inputs_integer"),
        float32_differs=float32_differs,
    )


def given_vectors(path: Path | None, quantiser: InputQuantiser, seed: int) -> Vectors:
    """The user's inputs from an .npy file, random ones for what is missing, or only those."""
    if path is None:
        own = np.empty((0, *quantiser.shape), np.float32)
        origin = f"seeded random inputs (seed {seed})"
    else:
        own = _load_array(path)
        try:
            quantiser(own)  # whatever is wrong with them is said with the file's name
        except UserError as error:
            raise UserError(
                error.what,
                where=", ".join(filter(None, (str(path), error.where))),
                found=error.found,
                expected=error.expected,
                fix=error.fix,
            ) from error
        own = own.reshape(len(own), *quantiser.shape)
        origin = path.name
    n_random = max(0, N_GATE_INPUTS - len(own))
    extra = quantiser.random_inputs(n_random, seed) if n_random else own[:0]
    # In a type that holds both: random reals are not to be cut down to a file of integers.
    inputs = np.concatenate([own, extra]) if n_random else own
    return Vectors(inputs=inputs, n_own=len(own) or len(inputs), origin=origin)


def integers_of(path: Path) -> str | None:
    """The QONNX name of the type of an .npy file's values, None where they are no integers.

    An array of an integer dtype is taken at its word; of reals that are all integers, the
    narrowest type that holds them.
    """
    array = _load_array(path)
    if array.dtype.kind not in "iuf" or (array != np.rint(array)).any():
        return None
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        return ("INT" if array.dtype.kind == "i" else "UINT") + str(8 * array.dtype.itemsize)
    lo, hi = array.min(), array.max()
    if lo < -(2.0**15) or hi >= 2.0**16:
        return None
    if (np.abs(array) == 1).all() and lo < 0:
        return str(BIPOLAR)
    return str(IntType.holding(int(lo), int(hi)))


def _load_array(path: Path) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            "the inputs can't be read",
            where=str(path),
            found=getattr(error, "strerror", None) or str(error).splitlines()[0],
            expected="an .npy file of numbers, (N, ...) as the QONNX model takes them",
        ) from error
    if array.ndim < 2 or not array.size:
        raise UserError(
            "the inputs are no batch",
            where=str(path),
            found=f"shape {array.shape}",
            expected="an .npy array of shape (N, ...), N at least 1",
        )
    return np.asarray(array)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile, zlib.error) as error:
        raise UserError(
            "the test vectors can't be read",
            where=str(path),
            found=str(error),
            fix="export the run again: python -m training.export RUN",
        ) from error
