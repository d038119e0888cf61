"""What nextpnr's report says: the clock it reaches, the worst path and its layer, cells used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import MachineError

from .vivado_reports import layer_of

_CELLS = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram18": "DP16KD", "dsp": "MULT18X18D"}


@dataclass(frozen=True)
class Routed:
    """A routed design: the clock in MHz, the worst path between two registers, and its cells.

    `layers` are those at both ends of the path. `lut` counts LUTs of four inputs, those of carry
    chains and of memories in LUTs included.
    """

    most_mhz: float
    source: str
    destination: str
    layers: tuple[str, str]
    levels: int
    used: dict[str, int]
    available: dict[str, int]

    @property
    def between(self) -> str:
        """The layers, each once."""
        return " to ".join(dict.fromkeys(self.layers))

    def timing(self, clock_mhz: float) -> dict[str, Any]:
        """As `bitstream.json` has it."""
        return {
            "slack_ns": round(1000 / clock_mhz - 1000 / self.most_mhz, 3),
            "most_mhz": round(self.most_mhz, 1),
            "layer": self.layers[1],
            "path": {
                "source": self.source,
                "destination": self.destination,
                "levels": self.levels,
            },
        }


def read_report(file: Path, instances: Mapping[str, str], core: str) -> Routed:
    """nextpnr's JSON report of a design with one clock.

    Args:
        instances: the layer or block of each instance in the accelerator.
        core: the accelerator's instance in the design.

    Raises:
        MachineError: it has another form.
    """
    try:
        report = json.loads(file.read_text())
        (clock,) = report["fmax"].values()
        worst = next(p for p in report["critical_paths"] if p["from"] == p["to"])["path"]
        ends = worst[0]["from"]["cell"], worst[-1]["to"]["cell"]
        cells = {name: report["utilization"][cell] for name, cell in _CELLS.items()}
        return Routed(
            most_mhz=clock["achieved"],
            source=ends[0],
            destination=ends[1],
            layers=(_layer(ends[0], instances, core), _layer(ends[1], instances, core)),
            levels=sum(part["type"] == "logic" for part in worst),
            used={name: cell["used"] for name, cell in cells.items()},
            available={name: cell["available"] for name, cell in cells.items()},
        )
    except (ValueError, KeyError, StopIteration) as error:
        raise MachineError(
            "nextpnr's report can't be read",
            where=str(file),
            found=f"{type(error).__name__}: {error}",
            expected="one clock, and a path between registers",
        ) from error


def _layer(cell: str, instances: Mapping[str, str], core: str) -> str:
    """A cell's name is that of its instances, joined by dots, then what it drives."""
    outer, _, inner = cell.partition(".")
    return layer_of(inner.replace(".", "/"), instances) if outer == core else "the UART bridge"
