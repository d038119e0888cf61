"""Cycle-accurate simulation of an accelerator: a batch of integers in, integers and cycles out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deploy.errors import GateError, MachineError
from deploy.registers import CLEAR_COUNTERS, MOST, OFFSETS

from .blocks import Block, Stream, inner_streams, memories_of, ports
from .graph import Graph
from .lower_streams import flat

_POINTER = ctypes.c_void_p
_STATUS = {
    2: "no beat moved at either end: the pipeline is stuck",
    3: "tlast does not mark the last beat of the transfer, and only that",
    4: "tvalid fell without a transfer",
    5: "tdata changed while tvalid waited for tready",
    6: "more beats left the accelerator than the batch has",
}
_CYCLES_PER_CALL = 500_000


class _Job(ctypes.Structure):
    _fields_ = [
        *((name, _POINTER) for name in ("input", "output", "output_cycles")),
        *((name, _POINTER) for name in ("recorded", "recorded_cycles")),
        *((name, _POINTER) for name in ("recorded_beats", "capacities")),
        *((name, ctypes.c_uint64) for name in ("n_input", "n_output", "input_done")),
        *((name, ctypes.c_uint64) for name in ("output_done", "cycle", "first_offer_cycle")),
        *((name, ctypes.c_uint64) for name in ("idle", "patience", "random_state")),
        *((name, ctypes.c_uint32) for name in ("stall_input", "stall_output")),
        *((name, ctypes.c_uint32) for name in ("check_protocol", "input_offered")),
        ("output_wanted", ctypes.c_uint32),
        ("started", ctypes.c_uint32),
        ("fault_stream", ctypes.c_int32),
        ("input_stalls", ctypes.c_uint64),
        ("output_stalls", ctypes.c_uint64),
        ("first_taken_cycle", ctypes.c_uint64),
    ]


@dataclass(frozen=True)
class Stalls:
    """Random back-pressure: the share of cycles in which each end holds back, by a seed."""

    input: float = 0.0
    output: float = 0.0
    seed: int = 1

    @property
    def state(self) -> int:
        """What the generator of random numbers starts from."""
        return (self.seed * 2 + 1) * 0x9E3779B97F4A7C15 % 2**64


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """`layers` holds the integers (N, C) of each recorded stream, the output included; `beats`
    the recorded streams as they passed on the wires, uint32 (N * beats a frame, words a beat);
    `frame_ends` the cycle at which each frame's last beat left, counted from the cycle that
    offered the first input beat; `cycles` all of them; `beat_cycles`, if asked for, when the
    beats of recorded streams passed, counted from the first cycle of the batch."""

    layers: dict[str, np.ndarray]
    beats: dict[str, np.ndarray]
    frame_ends: np.ndarray
    cycles: int
    beat_cycles: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def latency(self) -> int:
        """Cycles of the first frame, its first and its last one both counted."""
        return int(self.frame_ends[0]) + 1

    @property
    def interval(self) -> float:
        """Mean cycles from frame to frame over the second half of the batch."""
        half = len(self.frame_ends) // 2
        if len(self.frame_ends) < 2:
            return float(self.latency)
        span = int(self.frame_ends[-1]) - int(self.frame_ends[half - 1 if half else 0])
        return span / max(1, len(self.frame_ends) - max(half, 1))


@dataclass(frozen=True, eq=False)
class BeatsResult:
    """Output beats (uint64), the cycle of each frame's last one, counted from the cycle that took
    the first input beat, and the cycles in which a valid beat waited for ready at each end."""

    beats: np.ndarray
    frame_ends: np.ndarray
    input_stalls: int
    output_stalls: int


class Simulator:
    """An open model. Its state lives on between batches; `reset` clears it.

    Args:
        library: what `verilator.build_model` returned.
        blocks: the accelerator's blocks.
        graph: the integer graph behind them.
        memories: the folder with the memory files.
        trace: FST file to write; the library must be built with `trace`.
    """

    def __init__(
        self,
        library: Path,
        blocks: tuple[Block, ...],
        graph: Graph,
        memories: Path,
        trace: Path | None = None,
        port_bits: int = 64,
    ) -> None:
        self._blocks, self._graph, self._port_bits = blocks, graph, port_bits
        self._shapes = {name: info.shape for name, info in graph.infer().items()}
        self._ports, self._streams = ports(blocks), inner_streams(blocks)
        for memory in (memory for block in blocks for memory in block.memories):
            if not (memories / memory.file).exists():
                raise MachineError("a memory file is missing", where=str(memories / memory.file))
        self._library = ctypes.CDLL(str(library))
        self._library.sim_open.restype = _POINTER
        self._library.sim_open.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        for name, arguments in (
            ("sim_advance", [_POINTER, ctypes.POINTER(_Job), ctypes.c_uint64]),
            ("sim_stream_words", [_POINTER, ctypes.c_int32]),
            ("sim_stream_state", [_POINTER, ctypes.c_int32]),
            ("sim_write_register", [_POINTER, ctypes.c_uint32, ctypes.c_uint32]),
            ("sim_read_register", [_POINTER, ctypes.c_uint32]),
            ("sim_reset", [_POINTER]),
            ("sim_close", [_POINTER]),
        ):
            getattr(self._library, name).argtypes = arguments
        self._library.sim_read_register.restype = ctypes.c_uint32
        self._handle = self._library.sim_open(str(memories).encode(), str(trace or "").encode())
        if not self._handle:
            raise MachineError("the memory folder can't be entered", where=str(memories))

    def close(self) -> None:
        """Ends the simulation and its trace."""
        if self._handle:
            self._library.sim_close(self._handle)
            self._handle = None

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reset(self) -> None:
        """Holds the accelerator's reset for four cycles."""
        self._library.sim_reset(self._handle)

    def run(
        self,
        batch: np.ndarray,
        *,
        record: Collection[str] = (),
        record_cycles: bool = False,
        stalls: Stalls | None = None,
        check_protocol: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> SimulationResult:
        """Streams `batch`, integers (N, C), as one transfer of N frames.

        Args:
            record: names of the streams that are kept besides the output. A layer's stream has
                the layer's name; converters have streams of their own.
            record_cycles: keeps the cycles of their beats as well.
            stalls: random back-pressure at both ends.
            check_protocol: checks the AXI4-Stream rules on every stream in every cycle.
            progress: called with frames done and frames in all.

        Raises:
            GateError: the pipeline is stuck, or a stream breaks the protocol (it names the
                streams that wait), or a recorded one carries anything in its padding lanes.
        """
        source, sink = self._ports
        n = len(batch)
        ahead = streams_ahead(self._blocks)
        if ahead:
            self.reset()  # what has already come of the next frame belongs to this batch
        beats_in = flat(source).packing(self._port_bits).pack(batch.reshape(n, -1))
        output = np.zeros(n * sink.beats, np.uint64)
        cycles = np.zeros(n * sink.beats, np.uint64)
        n_streams = len(self._streams)
        recorded, recorded_cycles = (_POINTER * n_streams)(), (_POINTER * n_streams)()
        beats = (ctypes.c_uint64 * n_streams)()
        capacities = (ctypes.c_uint64 * n_streams)()
        kept: dict[str, tuple[Stream, np.ndarray, int]] = {}
        beat_cycles: dict[str, np.ndarray] = {}
        for i, stream in enumerate(self._streams):
            if stream.name in record:
                words = self._library.sim_stream_words(self._handle, i)
                array = np.zeros((n * stream.beats, words), np.uint32)
                kept[stream.name] = (stream, array, i)
                recorded[i], capacities[i] = array.ctypes.data, len(array)
                if record_cycles:
                    beat_cycles[stream.name] = np.zeros(len(array), np.uint64)
                    recorded_cycles[i] = beat_cycles[stream.name].ctypes.data
        stalls = stalls or Stalls()
        job = _Job(
            input=beats_in.ctypes.data,
            output=output.ctypes.data,
            output_cycles=cycles.ctypes.data,
            recorded=ctypes.addressof(recorded),
            recorded_cycles=ctypes.addressof(recorded_cycles),
            recorded_beats=ctypes.addressof(beats),
            capacities=ctypes.addressof(capacities),
            n_input=n * source.beats,
            n_output=len(output),
            patience=10_000 + 20 * sum(block.cycles for block in self._blocks),
            random_state=stalls.state,
            stall_input=round(stalls.input * 256),
            stall_output=round(stalls.output * 256),
            check_protocol=check_protocol,
            fault_stream=-1,
        )
        self._begin_transfer(n)
        while True:
            status = self._library.sim_advance(self._handle, job, _CYCLES_PER_CALL)
            if progress is not None:
                progress(job.output_done // sink.beats, n)
            if status != 1:
                break
        if status != 0:
            self._raise(status, job, sink)
        self._check_counters(job, cycles[sink.beats - 1 :: sink.beats])
        layers = {
            name: self._integers(stream, array, 32 * array.shape[1], n)
            for name, (stream, array, _) in kept.items()
        }
        zero_padded = zero_padded_streams(self._blocks)
        for name, (stream, array, i) in kept.items():
            if beats[i] != n * stream.beats and (name not in ahead or beats[i] < n * stream.beats):
                raise GateError(
                    "a stream carried another number of beats than the batch has",
                    where=name,
                    found=str(beats[i]),
                    expected=str(n * stream.beats),
                )
            if name in zero_padded:
                _check_padding(stream, array)
        layers[self._graph.output.name] = self._integers(sink, output, self._port_bits, n)
        ends = cycles[sink.beats - 1 :: sink.beats].astype(np.int64) - job.first_offer_cycle
        beats_of = {name: array for name, (_, array, _) in kept.items()}
        passed = {name: array.astype(np.int64) for name, array in beat_cycles.items()}
        return SimulationResult(layers, beats_of, ends, int(job.cycle), passed)

    def _integers(
        self, stream: Stream, beats: np.ndarray, beat_bits: int, n_frames: int
    ) -> np.ndarray:
        """Beats to integers in the shape of the layer whose they are: (frames, *shape)."""
        shape = self._shapes.get(stream.layer, (-1,))
        return stream.unpack(beats, beat_bits, n_frames).reshape(n_frames, *shape)

    def run_beats(self, beats: np.ndarray, frames: int) -> BeatsResult:
        """Streams the host's beats as they are, as one transfer of `frames` frames.

        Args:
            beats: uint64, the beats of all frames back to back.

        Raises:
            GateError: the pipeline is stuck or tlast is wrong, as `run`.
        """
        _, sink = self._ports
        output = np.zeros(frames * sink.beats, np.uint64)
        cycles = np.zeros(len(output), np.uint64)
        recorded, counted, capacities = (np.zeros(len(self._streams), np.uint64) for _ in range(3))
        job = _Job(
            input=beats.ctypes.data,
            output=output.ctypes.data,
            output_cycles=cycles.ctypes.data,
            recorded=recorded.ctypes.data,
            recorded_beats=counted.ctypes.data,
            capacities=capacities.ctypes.data,
            n_input=len(beats),
            n_output=len(output),
            patience=10_000 + 20 * sum(block.cycles for block in self._blocks),
            random_state=1,
            fault_stream=-1,
        )
        self._begin_transfer(frames)
        status = 1
        while status == 1:
            status = self._library.sim_advance(self._handle, job, _CYCLES_PER_CALL)
        if status != 0:
            self._raise(status, job, sink)
        self._check_counters(job, cycles[sink.beats - 1 :: sink.beats])
        ends = cycles[sink.beats - 1 :: sink.beats].astype(np.int64) - job.first_taken_cycle
        return BeatsResult(output, ends, int(job.input_stalls), int(job.output_stalls))

    def read_register(self, name: str) -> int:
        """A register of the accelerator, by its name in `deploy.registers`."""
        return self._library.sim_read_register(self._handle, OFFSETS[name])

    def write_register(self, offset: int, value: int) -> None:
        """Writes a register of the accelerator, at an offset of `deploy.registers`."""
        self._library.sim_write_register(self._handle, offset, value)

    def write_memories(self) -> None:
        """Writes what the blocks' writable memories hold, as a driver does."""
        memories_of(self._blocks).write(
            lambda name, value: self.write_register(OFFSETS[name], value)
        )

    def _begin_transfer(self, frames: int) -> None:
        """What the driver does before it starts the DMA."""
        self.write_register(OFFSETS["FRAMES"], frames)
        self.write_register(OFFSETS["CONTROL"], CLEAR_COUNTERS)

    def _check_counters(self, job: _Job, ends: np.ndarray) -> None:
        """GateError if a counter of the accelerator is not what was seen from outside."""
        seen = [int(end) - int(job.first_taken_cycle) + 1 for end in (ends[0], ends[-1])]
        expected = {
            "FRAMES_DONE": len(ends),
            "LATENCY": seen[0],
            "CYCLES": seen[1],
            "INPUT_STALLS": int(job.input_stalls),
            "OUTPUT_STALLS": int(job.output_stalls),
        }
        if len(ends) > 1:
            expected["INTERVAL"] = int(ends[-1]) - int(ends[-2])
        for name, count in expected.items():
            if (got := self.read_register(name)) != min(count, MOST):
                raise GateError(
                    "a counter of the accelerator is wrong",
                    where=f"register {name}",
                    found=str(got),
                    expected=str(count),
                )

    def _raise(self, status: int, job: _Job, sink: Stream) -> None:
        states = []
        for i, stream in enumerate(self._streams):
            state = self._library.sim_stream_state(self._handle, i)
            states.append(f"{stream.name}: valid={state & 1} ready={state >> 1}")
        where = f"cycle {job.cycle}, frame {job.output_done // sink.beats}"
        if job.fault_stream >= 0:
            where += f", stream {self._streams[job.fault_stream].name}"
        raise GateError(
            f"simulation stopped: {_STATUS[status]}", where=where, found="; ".join(states)
        )


def streams_ahead(blocks: tuple[Block, ...]) -> set[str]:
    """Names of the streams that may carry beats of a frame before any of it has come in.

    A Pad begins the next frame by itself, and what follows it goes on from there.
    """
    ahead: set[str] = set()
    for block in blocks:
        if block.module == "pad" or any(stream.name in ahead for stream in block.sources):
            ahead |= {stream.name for stream in block.sinks}
    return ahead


def zero_padded_streams(blocks: tuple[Block, ...]) -> set[str]:
    """Names of the streams whose padding lanes are zero: those that arithmetic may read.

    Not so the scores of binary weights. They know no zero, so the rows that pad such a layer put
    something out, for nobody: an arg max and the host read the real lanes alone.
    """
    unclean: set[str] = set()
    for block in blocks:
        if block.module == "mvu":
            dirty = not (block.parameters["WEIGHT_KIND"] or block.parameters["LEVEL_BITS"])
        else:
            dirty = any(stream.name in unclean for stream in block.sources)
        if dirty:
            unclean |= {stream.name for stream in block.sinks}
    return {stream.name for stream in inner_streams(blocks)} - unclean


def _check_padding(stream: Stream, beats: np.ndarray) -> None:
    """GateError if a lane beyond a vector's last integer is not zero; `beats` as recorded.

    Such lanes reach the next layer's arithmetic, and unpacking doesn't look at them.
    """
    if not stream.padding or stream.positions > 1:
        return
    used = (stream.lanes - stream.padding) * stream.type.bits
    bits = np.unpackbits(
        beats[stream.vector_beats - 1 :: stream.vector_beats].view(np.uint8),
        axis=1,
        bitorder="little",
    )
    if bits[:, used:].any():
        vector = int(np.argmax(bits[:, used:].any(axis=1)))
        frame = vector // stream.vectors
        raise GateError(
            "padding lanes of a stream are not zero",
            where=f"{stream.name}, frame {frame}",
            found=f"{int(bits[vector, used:].sum())} bits set beyond the {stream.n} integers",
            expected="0",
        )
