"""The last gate: golden vectors through the driver, a virtual board and the RTL."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deploy.accelerator import Accelerator
from deploy.bundle import Bundle
from deploy.errors import GateError, MachineError
from deploy.executors import Executor

NAME = "golden model = driver + virtual board + RTL"


def pynq_version() -> str:
    """The installed pynq's version; MachineError if there is none."""
    try:
        return version("pynq")
    except PackageNotFoundError as error:
        raise MachineError("pynq is not installed", fix="make setup") from error


def check_board(bundle_path: Path, board: str, executor: Executor) -> dict[str, Any]:
    """Every golden vector and label of the bundle, as a board would run them.

    Returns:
        `gates`, and the `accuracy` on the labelled vectors (None without labels).

    Raises:
        GateError: an output differs, or the accuracy is another one than the RTL's.
    """
    from deploy.pynq_board import import_pynq  # pynq takes half a second to import

    import_pynq()  # and warns of what it uses unless it is imported so
    from deploy.pynq_virtual import virtual_board

    bundle = Bundle.read(bundle_path)
    vectors, accuracy = bundle.vectors(), None
    with (
        virtual_board(board, bundle.manifest, executor) as hardware,
        Accelerator(bundle, hardware=hardware) as accelerator,
    ):
        n = accelerator.check_golden()
        if vectors.labels is not None:
            labels = vectors.labels
            classes = accelerator.classify(accelerator.run(vectors.inputs[: len(labels)]))
            accuracy = float((classes == labels).mean())
            if accuracy != bundle.manifest.accuracy:
                raise GateError(
                    "the accuracy through the driver is not the simulated one",
                    found=str(accuracy),
                    expected=str(bundle.manifest.accuracy),
                )
    gate = {"name": NAME, "vectors": n, "mismatches": 0}
    return {"gates": [gate], "accuracy": accuracy, "board": board, "source": executor.source}
