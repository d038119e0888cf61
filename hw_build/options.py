"""What a user can ask of the flow. Light to import, so that `--help` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .boards import Board, board_named

STAGE_NAMES = (
    *("graph", "golden", "folding", "rtl", "simulation", "synthesis", "bitstream"),
    *("bundle", "board", "report"),
)
"""The stages in order, as --until takes them."""

FIFO_CHOICES = ("auto", "minimal")
"""How FIFOs are sized: fast, or to the last beat."""

BACKENDS = ("rtl", "finn")
"""Whose hardware: ours, or FINN's from the same integer graph."""

DEFAULT_TARGET_FPS = 100_000.0
"""Frames a second that the folding is chosen for where nothing is asked."""


@dataclass(frozen=True)
class Options:
    """What a user asked for; see `python -m hw_build.flow run --help`.

    `model` is a QONNX file; `vectors` the exported test vectors beside it, if it is a run's.
    `target_fps` has to be met, by a given `folding` too; where they and `fit` are None,
    DEFAULT_TARGET_FPS is met as far as the network and the board allow. `fit` is a share of the
    board's resources, 0 to 1, to be filled; `oversize` goes on where the estimate exceeds them.
    `fifo` is one of FIFO_CHOICES or the path of a file of depths, `vivado` where Vivado runs,
    `backend` one of BACKENDS. `writable` lets the host replace weights and thresholds at run time;
    `onto` is a run with such hardware, which this network's are written to. `layer_checkpoints` has
    Vivado synthesise each layer by itself and keeps what comes of it.
    """

    model: Path
    vectors: Path | None
    board: Board
    clock_mhz: float
    target_fps: float | None = None
    fit: float | None = None
    inputs: Path | None = None
    folding: Path | None = None
    oversize: bool = False
    fifo: str = "auto"
    output: str = "auto"
    input_type: str | None = None
    seed: int = 0
    trace: bool = False
    vivado: str = "auto"
    layer_checkpoints: bool = False
    backend: str = "rtl"
    writable: bool = False
    onto: Path | None = None

    @property
    def fifo_file(self) -> Path | None:
        """Where the FIFOs' depths are read from, if they are given."""
        return None if self.fifo in FIFO_CHOICES else Path(self.fifo)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON: paths as text, the board by its name."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain = {k: str(v) if isinstance(v, Path) else v for k, v in fields.items()}
        return {**plain, "board": self.board.name}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Options:
        """The inverse of `to_json`."""
        paths = ("model", "vectors", "inputs", "folding", "onto")
        made = {k: Path(v) if k in paths and v is not None else v for k, v in fields.items()}
        return cls(**{**made, "board": board_named(fields["board"])})
