"""What a run of FINN yields: its layers with FINN's own estimates, as a record and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

KIND = "estimated by FINN"
EXECUTED = "FINN's final graph (folded, bit widths minimised), by FINN's Python model of each layer"


@dataclass(frozen=True)
class FinnLayer:
    """One hardware layer of FINN's final graph, with FINN's estimates for it.

    `layers` are the layers of the integer graph that it computes; `implementation` is 'hls' or
    'rtl'; `cycles` are per frame; `bram18` counts blocks of 18 kbit. Types are QONNX's names, None
    where a layer has no such thing.
    """

    node: str
    layers: list[str]
    op_type: str
    implementation: str
    pe: int | None
    simd: int | None
    input_type: str | None
    weight_type: str | None
    accumulator_type: str | None
    output_type: str | None
    cycles: int
    lut: int
    bram18: int
    uram: int
    dsp: int


@dataclass(frozen=True)
class FrontEnd:
    """What FINN's own front end makes of the QONNX file: `hw_build.finn.front_end`.

    `not_compared` says why nothing was, where FINN does not take the file. `quantisers` is how many
    were compared, on `frames` inputs; `left` names those that FINN leaves as they are, above 8
    bits. By quantiser, and only where there are any: `ties`, values on a tie that FINN rounds the
    other way, and `float32`, values beside one that float32 has on its other side.
    `frames_touched` have one of either. `class_changes` are the frames whose class is another one
    in FINN's execution, None where the scores are no vector.
    """

    not_compared: str | None = None
    frames: int = 0
    quantisers: int = 0
    left: tuple[str, ...] = ()
    ties: dict[str, int] = field(default_factory=dict)
    float32: dict[str, int] = field(default_factory=dict)
    frames_touched: int = 0
    class_changes: int | None = None

    @property
    def summary(self) -> str:
        """One line, for people."""
        if self.not_compared is not None:
            return self.not_compared
        counts = [
            f"{sum(counted.values())} {what} ({', '.join(counted)})"
            for counted, what in ((self.ties, "rounding ties"), (self.float32, "float32 roundings"))
            if counted
        ]
        line = f"{self.quantisers} quantisers compared on {self.frames} inputs, "
        line += f"all differences explained: {' and '.join(counts)}" if counts else "0 differences"
        if self.frames_touched:
            line += f", in {self.frames_touched} inputs"
        return f"{line}; {self.class_changes} of another class" if self.class_changes else line


@dataclass(frozen=True)
class FinnResult:
    """What FINN made of a graph. Estimates are of the layers alone: no FIFO, no width converter.

    `cycles_per_frame` is the slowest layer's; `latency_cycles` is the sum over all layers, FINN's
    pessimistic figure. `folding` is 'given' or 'FINN'. `compared` names the layers whose integers
    were found equal on `vectors` inputs. `repairs` are the types that FINN chose too narrow
    (`hw_build.finn.repair`). `seconds` are per step; `whole_process` has FINN's imports in it.
    `front_end` is None where the file itself was not given to FINN.
    """

    kind: str
    part: str
    clock_mhz: float
    target_fps: int | None
    standalone_thresholds: bool
    folding: str
    folding_reason: str
    layers: list[FinnLayer]
    total: dict[str, int]
    cycles_per_frame: int
    latency_cycles: int
    frames_per_second: float
    latency_us: float
    executed: str
    vectors: int
    compared: list[str]
    repairs: list[str]
    seconds: dict[str, float]
    versions: dict[str, str]
    front_end: FrontEnd | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def build_result(
    job: dict[str, Any], report: dict[str, Any], folding_reason: str, compared: list[str], n: int
) -> FinnResult:
    """The record of a run from its `job.json` and `worker.json`; `n` inputs were compared."""
    layers = [
        FinnLayer(
            **node,
            cycles=int(report["cycles"][node["node"]]),
            **_resources(report["resources"][node["node"]]),
        )
        for node in report["nodes"]
    ]
    performance = report["performance"]
    return FinnResult(
        kind=KIND,
        part=job["part"],
        clock_mhz=job["clock_mhz"],
        target_fps=job["target_fps"],
        standalone_thresholds=job["standalone_thresholds"],
        folding="FINN" if job["folding"] is None else "given",
        folding_reason=folding_reason,
        layers=layers,
        total=_resources(report["resources"]["total"]),
        cycles_per_frame=performance["max_cycles"],
        latency_cycles=performance["critical_path_cycles"],
        frames_per_second=performance["estimated_throughput_fps"],
        latency_us=performance["estimated_latency_ns"] / 1000,
        executed=EXECUTED,
        vectors=n,
        compared=compared,
        repairs=report["repairs"],
        seconds=report["seconds"],
        versions=report["versions"],
    )


def _resources(estimate: dict[str, float]) -> dict[str, int]:
    names = {"lut": "LUT", "bram18": "BRAM_18K", "uram": "URAM", "dsp": "DSP"}
    return {ours: int(estimate[theirs]) for ours, theirs in names.items()}
