"""Fault injection: does a fault change what the accelerator's streams carry, and do gates see it?

The two questions are answered apart. Whether a stream changes is seen by comparing what passed on
its wires, beat by beat, with what passed on those of the accelerator without the fault: every
stream, converters and padding lanes included, nothing unpacked. (Left out are only the padding
lanes that no arithmetic reads, see `zero_padded_streams`.) Whether the gate sees it is asked
of the gate itself: the golden model's integers against the simulated ones.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.errors import GateError
from hw_build.blocks import Block, Stream, inner_streams, ports
from hw_build.emit import emit
from hw_build.graph import Graph
from hw_build.rtl_gate import RtlGate
from hw_build.simulator import SimulationResult, Simulator, Stalls, zero_padded_streams
from hw_build.vectors import N_GATE_INPUTS
from hw_build.verilator import build_model

from .branch_mutants import BRANCH_MUTANTS
from .image_mutants import IMAGE_MUTANTS
from .memory_faults import MemoryFault
from .memory_mutants import MEMORY_MUTANTS
from .mutants import Mutant
from .register_mutants import REGISTER_MUTANTS
from .stream_mutants import STREAM_MUTANTS
from .unit_mutants import UNIT_MUTANTS

MUTANTS = (
    *STREAM_MUTANTS,
    *UNIT_MUTANTS,
    *IMAGE_MUTANTS,
    *BRANCH_MUTANTS,
    *REGISTER_MUTANTS,
    *MEMORY_MUTANTS,
)

GATE_SIZES = (100, N_GATE_INPUTS)
"""Numbers of inputs, besides all of them, for which it is asked whether the gate sees a fault."""

STALLS = Stalls(0.5, 0.5, seed=1)


@dataclass(frozen=True)
class Verdict:
    """What became of one fault.

    Attributes:
        kind, name: the fault's.
        changed: some stream carries other beats over all inputs.
        stopped: the simulator's first line where it refused to go on, else empty.
        output_changed: the last stream carries other beats: what comparing results alone sees.
        late: no beat differs, but some leave in another cycle.
        caught: by number of inputs, whether the gate run on the first so many fails.
        dead_because: why the fault can't matter, where that is known.
    """

    kind: str
    name: str
    changed: bool
    stopped: str
    output_changed: bool
    late: bool
    caught: dict[int, bool]
    dead_because: str = ""

    @property
    def shows(self) -> bool:
        """Whether the fault changes anything on any stream, or stops it."""
        return self.changed or bool(self.stopped)


class Bench:
    """A network as an accelerator in `folder`, with the inputs that faults are tried on.

    `blocks` come from `graph`, with FIFOs where it branches. With `compress`, the body of the
    dot products that is synthesised is simulated.
    """

    def __init__(
        self,
        graph: Graph,
        blocks: tuple[Block, ...],
        inputs: np.ndarray,
        folder: Path,
        *,
        compress: bool = False,
    ) -> None:
        self.inputs, self.compress = inputs, compress
        self._graph, self.blocks, self.folder = graph, blocks, folder
        emit(self.blocks, folder)
        self._library = build_model(folder, self.blocks, compress=compress)
        self.gate = RtlGate.of(graph, self.blocks, inputs)
        self._streams = {stream.name: stream for stream in inner_streams(self.blocks)}
        self._zero_padded = zero_padded_streams(self.blocks)
        with self.open() as model:
            self._reference = self._observe(model)
            self._reference_stalled = self._observe_stalled(model)
        if self.gate_fails(self.open, len(inputs), stalled=True):
            raise ValueError("the gate fails without any fault")

    def open(self, library: Path | None = None) -> Simulator:
        """A fresh simulation of the memories as they lie in the folder now."""
        return Simulator(library or self._library, self.blocks, self._graph, self.folder)

    def gate_fails(self, opened: Callable[[], Simulator], n: int, *, stalled: bool) -> bool:
        """Whether the flow's gate (golden model = RTL) fails on the first `n` inputs."""
        try:
            with opened() as model:
                self.gate.check(model, n)
                if stalled:
                    self.gate.check(model, min(n, N_GATE_INPUTS), STALLS)
        except GateError:
            return True
        return False

    def _observe(self, model: Simulator) -> SimulationResult:
        """Every stream over all inputs."""
        return model.run(self.inputs, record=self._streams)

    def _observe_stalled(self, model: Simulator) -> SimulationResult:
        """Every stream over the first inputs, under stalls and with the protocol checked."""
        few = self.inputs[:N_GATE_INPUTS]
        return model.run(few, record=self._streams, stalls=STALLS, check_protocol=True)

    def judge(
        self,
        kind: str,
        name: str,
        opened: Callable[[], Simulator],
        *,
        stalled: bool,
        dead_because: str = "",
    ) -> Verdict:
        """What the fault in the simulations that `opened` makes does; `stalled` tries stalls too.

        A fault of a memory shows the same with and without them, one of the logic may not.
        """
        differing: list[str] = []
        stopped, late = "", False
        try:
            with opened() as model:
                seen = self._observe(model)
                differing += self._differing(self._reference, seen)
                late = not np.array_equal(self._reference.frame_ends, seen.frame_ends)
                if stalled:
                    differing += self._differing(
                        self._reference_stalled, self._observe_stalled(model)
                    )
        except GateError as error:
            stopped = str(error).splitlines()[0]
        sizes = sorted({min(n, len(self.inputs)) for n in (*GATE_SIZES, len(self.inputs))})
        caught = {n: self.gate_fails(opened, n, stalled=stalled) for n in sizes}
        return Verdict(
            kind=kind,
            name=name,
            changed=bool(differing),
            stopped=stopped,
            output_changed=ports(self.blocks)[1].name in differing,
            late=late and not differing and not stopped,
            caught=caught,
            dead_because=dead_because,
        )

    def _differing(self, reference: SimulationResult, seen: SimulationResult) -> list[str]:
        """Streams whose beats are not those of the accelerator without a fault."""
        return [
            name
            for name, stream in self._streams.items()
            if not np.array_equal(
                self._read_lanes(stream, reference.beats[name]),
                self._read_lanes(stream, seen.beats[name]),
            )
        ]

    def _read_lanes(self, stream: Stream, beats: np.ndarray) -> np.ndarray:
        """Beats as they were recorded, but for padding lanes that nobody reads: those as zero."""
        if stream.name in self._zero_padded or not stream.padding:
            return beats
        used = np.zeros(32 * beats.shape[1], np.uint8)
        used[: (stream.lanes - stream.padding) * stream.type.bits] = 1
        kept = beats.copy()
        kept[stream.vector_beats - 1 :: stream.vector_beats] &= np.packbits(
            used, bitorder="little"
        ).view(np.uint32)
        return kept

    def try_memory_fault(self, fault: MemoryFault) -> Verdict:
        """Plants one bit."""
        with fault.planted(self.folder):
            return self.judge(
                fault.kind, fault.name, self.open, stalled=False, dead_because=fault.dead_because
            )

    def try_mutant(self, mutant: Mutant) -> Verdict:
        """Plants one change of the RTL in a copy of the sources, and builds that."""
        changed = self.folder / "mutant"
        shutil.rmtree(changed, ignore_errors=True)
        changed.mkdir()
        for path in self.folder.glob("*.sv"):
            shutil.copy(path, changed)
        mutant.plant(changed)
        library = build_model(changed, self.blocks, compress=self.compress)
        name = f"{mutant.module}.sv: {mutant.name}"
        return self.judge(mutant.kind, name, lambda: self.open(library), stalled=True)

    def applicable(self, of: Iterable[Mutant]) -> list[Mutant]:
        """Those whose line this accelerator elaborates and simulates.

        With the compressed body, those of its modules alone; otherwise all but those.
        """
        return [m for m in of if m.compressed == self.compress and m.applies_to(self.blocks)]


def escaped(verdicts: list[Verdict]) -> list[Verdict]:
    """Faults that show on some stream, over all inputs, and that the gate on all inputs misses."""
    return [v for v in verdicts if v.shows and not v.caught[max(v.caught)]]


def silent_reasons(verdicts: list[Verdict]) -> Counter[tuple[str, str]]:
    """Silent faults by kind and reason."""
    return Counter(
        (v.kind, v.dead_because or ("other cycles only" if v.late else "no input shows it"))
        for v in verdicts
        if not v.shows
    )
