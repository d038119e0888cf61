"""Many instances of RTL modules in one Verilator model, every stream with random stalls of its own.

One model costs a few seconds to build, whatever it holds; so a test gathers its cases and runs them
at once. The model is kept in the store, its key being the sources, the parameters and the tools.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deploy.run_directory import sha256_of
from deploy.store import Store
from hw_build import verilator
from hw_build.emit import RTL_FOLDER

HARNESS = Path(__file__).with_name("rtl_bench.cpp")
TOP = "bench"
VERILATOR_FLAGS = (
    *("--cc", "-O3", "--no-assert", "--x-assign", "unique", "--x-initial", "unique"),
    *("--output-split", "0", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", TOP),
    *("--output-split-cfuncs", "500"),  # one long function of thousands of gates takes minutes
)
CXX_FLAGS = (*verilator.CXX_FLAGS, "-O1")
FAULTS = {
    1: "is stuck",
    2: "dropped tvalid without a transfer",
    3: "changed tdata while tvalid waited for tready",
    4: "has a beat too many",
    5: "offers what depends on tready",
    6: "was over before the reset",
}

Beats = Sequence[int] | np.ndarray
"""Python integers, or uint32 words of shape (beats, words of a beat), the low word first."""


class BenchError(AssertionError):
    """A case that got stuck or broke a rule of the streams, by its name."""


class Source(NamedTuple):
    """A stream into an instance: ports PREFIX_tdata, PREFIX_tvalid, PREFIX_tready."""

    prefix: str
    width: int
    beats: Beats


class Sink(NamedTuple):
    """A stream out of an instance, and how many beats must leave on it; one more is a fault."""

    prefix: str
    width: int
    n_beats: int


@dataclass(frozen=True, eq=False)
class Case:
    """One instance of a module, what it is given and how much it gives back.

    Parameters that are strings are names of memory files, or their beginnings; the files are in
    `memories`. Files of different cases may have the same name. `constants` are input ports
    without handshake: width and value. The model depends on everything but the beats and the
    memories' text.
    """

    name: str
    module: str
    parameters: Mapping[str, int | str]
    sources: Sequence[Source]
    sinks: Sequence[Sink]
    memories: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Result:
    """What one case did, by the streams' prefixes.

    `beats` holds what left on each sink, uint32 (beats, words). `cycles` holds the cycle in which
    each beat was transferred, of the sources as well; cycle 0 is the first after the reset.
    """

    beats: dict[str, np.ndarray]
    cycles: dict[str, np.ndarray]


def run_cases(
    cases: Sequence[Case],
    stalls: float,
    seed: int,
    *,
    reset_after: int = 0,
    rtl: Path = RTL_FOLDER,
    patience: int = 5000,
) -> list[Result]:
    """Runs all cases at the same time, none connected to another.

    Args:
        cases: the instances, in any mixture.
        stalls: the share of cycles in which a stream's end holds back, 0 to 1/2: in some
            stretches of 32 cycles hardly ever, in some nearly always. 0: none ever does.
        seed: of the stalls, and of what registers hold before the reset. A case's stalls do not
            depend on the other cases.
        reset_after: if not 0, all cases run for that many cycles, are reset, and begin anew; what
            is returned is the second run. No case may be over before.
        rtl: the folder of the modules' sources, one file a module.
        patience: cycles without a transfer after which a case is stuck.

    Raises:
        BenchError: a case is stuck, a sink broke a rule of AXI4-Stream (tvalid falls, tdata
            changes, tvalid asks for tready), or has more beats than expected.
    """
    library = ctypes.CDLL(str(build_bench(cases, rtl)))
    library.bench_open.restype = ctypes.c_void_p
    library.bench_run.restype = ctypes.c_uint64
    streams, kept = _streams(cases, seed)
    moves = (ctypes.c_uint64 * len(cases))()
    with tempfile.TemporaryDirectory() as folder:
        for i, case in enumerate(cases):
            for name, text in case.memories.items():
                (Path(folder) / _own(i, name)).write_text(text)
        handle = ctypes.c_void_p(library.bench_open(folder.encode(), ctypes.c_int32(seed)))
    try:
        for most in (reset_after, 1 << 62) if reset_after else (1 << 62,):
            cycle = library.bench_run(
                *(handle, streams, moves, ctypes.c_uint32(len(cases))),
                ctypes.c_uint32(round(stalls * 65536)),
                *(ctypes.c_uint64(patience), ctypes.c_uint64(most)),
            )
            if most == reset_after:
                _require_unfinished(cases, streams)
            _raise_faults(cases, streams, cycle)
    finally:
        library.bench_close(handle)
    results = []
    for case, arrays in zip(cases, kept, strict=True):
        sinks = {sink[0] for sink in case.sinks}
        results.append(
            Result(
                {prefix: words for prefix, (words, _) in arrays.items() if prefix in sinks},
                {prefix: cycles for prefix, (_, cycles) in arrays.items()},
            )
        )
    return results


def to_words(beats: Beats, width: int) -> np.ndarray:
    """Beats as uint32 words (beats, words of a beat), low word first; negatives wrap around."""
    n_words = -(-width // 32)
    if isinstance(beats, np.ndarray) and beats.ndim == 2:
        assert beats.dtype == np.uint32
        assert beats.shape[1] == n_words
        return np.ascontiguousarray(beats)
    mask = (1 << width) - 1
    raw = b"".join((int(beat) & mask).to_bytes(4 * n_words, "little") for beat in beats)
    return np.frombuffer(raw, "<u4").reshape(-1, n_words).copy()


def to_ints(words: np.ndarray) -> list[int]:
    """Beats of uint32 words as Python integers, unsigned."""
    return [int.from_bytes(beat.astype("<u4").tobytes(), "little") for beat in words]


class _Stream(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("words", "cycles")),
        *((name, ctypes.c_uint64) for name in ("n_beats", "done", "random_state")),
        *((name, ctypes.c_uint32) for name in ("n_words", "top_mask", "instance")),
        *((name, ctypes.c_uint32) for name in ("share", "active", "waiting")),
        ("fault", ctypes.c_int32),
    ]


Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


def _streams(cases: Sequence[Case], seed: int) -> tuple[ctypes.Array, list[Arrays]]:
    """The harness' streams, and the arrays that they point to: words and cycles, by prefix."""
    made: list[_Stream] = []
    kept: list[Arrays] = []
    for i, case in enumerate(cases):
        arrays: Arrays = {}
        for prefix, width, beats in case.sources:
            words = to_words(beats, width)
            arrays[prefix] = (words, np.zeros(len(words), np.uint64))
        for prefix, width, n_beats in case.sinks:
            words = np.zeros((n_beats, -(-width // 32)), np.uint32)
            arrays[prefix] = (words, np.zeros(n_beats, np.uint64))
        for prefix, width, _ in (*case.sources, *case.sinks):
            words, cycles = arrays[prefix]
            top_mask = (1 << ((width - 1) % 32 + 1)) - 1
            state = zlib.crc32(f"{case.name} {prefix} {seed}".encode()) << 32 | 0x9E3779B9
            pointers = (words.ctypes.data, cycles.ctypes.data)
            made.append(_Stream(*pointers, len(words), 0, state, words.shape[1], top_mask, i))
        kept.append(arrays)
    return (_Stream * len(made))(*made), kept


def _require_unfinished(cases: Sequence[Case], streams: ctypes.Array) -> None:
    left = {s.instance for s in streams if s.done < s.n_beats}
    for stream in streams:
        if stream.instance not in left:
            stream.fault = 6


def _raise_faults(cases: Sequence[Case], streams: ctypes.Array, cycle: int) -> None:
    names = [(c, s[0]) for c in cases for s in (*c.sources, *c.sinks)]
    lines = [
        f"{case.name} ({case.module}): {prefix} {FAULTS[stream.fault]}, "
        f"{stream.done} of {stream.n_beats} beats, cycle {cycle}"
        for (case, prefix), stream in zip(names, streams, strict=True)
        if stream.fault
    ]
    if lines:
        raise BenchError("\n".join(lines))


# --- the model ------------------------------------------------------------------------------------


def _own(i: int, name: str) -> str:
    """The name of a memory file of case `i` among those of all cases."""
    return f"c{i}_{name}"


def _ports(cases: Sequence[Case]) -> list[tuple[str, Source | Sink, bool]]:
    """Every stream's prefix at the top level, the stream, and whether it is a sink."""
    return [
        (f"c{i}_{stream[0]}", stream, is_sink)
        for i, case in enumerate(cases)
        for is_sink, streams in enumerate((case.sources, case.sinks))
        for stream in streams
    ]


def bench_top(cases: Sequence[Case]) -> str:
    """The text of the top level: all instances, every stream a set of ports of its own."""
    ports, body = ["input wire clk", "input wire resetn"], []
    for name, (_, width, _), is_sink in _ports(cases):
        forward, backward = ("output", "input") if is_sink else ("input", "output")
        ports += [f"{forward} wire [{width - 1}:0] {name}_tdata"]
        ports += [f"{forward} wire {name}_tvalid", f"{backward} wire {name}_tready"]
    for i, case in enumerate(cases):
        values = [
            f'.{name}("{_own(i, value)}")' if isinstance(value, str) else f".{name}({value})"
            for name, value in case.parameters.items()
        ]
        pins = [".clk(clk)", ".resetn(resetn)"]
        pins += [f".{port}({width}'d{value})" for port, (width, value) in case.constants.items()]
        for prefix, *_ in (*case.sources, *case.sinks):
            pins += [f".{prefix}_{p}(c{i}_{prefix}_{p})" for p in ("tdata", "tvalid", "tready")]
        body.append(f"  {case.module} #({', '.join(values)}) c{i} ({', '.join(pins)});")
    wires, instances = ",\n  ".join(ports), "\n".join(body)
    return f"module {TOP} (\n  {wires}\n);\n{instances}\nendmodule\n"


def cases_header(cases: Sequence[Case]) -> str:
    """The C macros that list the streams, in the order of `_streams`."""
    ports = list(enumerate(_ports(cases)))
    sources, sinks = (
        " ".join(f"X({i}, {name})" for i, (name, _, is_sink) in ports if is_sink == wanted)
        for wanted in (False, True)
    )
    return (
        f"#define N_STREAMS {len(ports)}\n#define SOURCES(X) {sources}\n#define SINKS(X) {sinks}\n"
    )


def sources_of(modules: Sequence[str], rtl: Path) -> list[Path]:
    """The files of the modules and of all that they name."""
    files = {path.stem: path for path in rtl.glob("*.sv")}
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found[module] = files[module]
            waiting += files.keys() & set(re.findall(r"\w+", files[module].read_text()))
    return [found[name] for name in sorted(found)]


def build_bench(cases: Sequence[Case], rtl: Path = RTL_FOLDER) -> Path:
    """The shared library of a model of all cases, from the store or newly compiled."""
    tool, compiler, store = verilator.find_verilator(), verilator.find_compiler(), Store()
    sources = sources_of([case.module for case in cases], rtl)
    top, header = bench_top(cases), cases_header(cases)
    key = {
        "sources": {path.name: sha256_of(path) for path in sources},
        "harness": sha256_of(HARNESS),
        "top": [top, header],
        "tools": verilator.tool_versions(),
        "flags": [*VERILATOR_FLAGS, *CXX_FLAGS],
        "processor": verilator._processor(),
    }
    runtime = verilator._runtime(tool, compiler, store, False)

    def make(folder: Path) -> None:
        (folder / "cases.h").write_text(header)
        (folder / f"{TOP}.sv").write_text(top)
        model, include = folder / "model", tool.root / "include"
        command = [str(tool.binary), *VERILATOR_FLAGS, "--Mdir", str(model)]
        command += [*map(str, sources), str(folder / f"{TOP}.sv")]
        verilator._run(command, env={"VERILATOR_ROOT": str(tool.root)})
        whole = folder / "whole.cpp"
        parts = [*sorted(model.glob("*.cpp")), HARNESS]
        whole.write_text("".join(f'#include "{part}"\n' for part in parts))
        includes = [f"-I{path}" for path in (folder, model, include, include / "vltstd")]
        command = [compiler, "-shared", *CXX_FLAGS, "-DVM_TRACE=0", *includes, str(whole)]
        verilator._run([*command, *map(str, runtime), "-o", str(folder / "bench.so"), "-pthread"])
        shutil.rmtree(model)
        whole.unlink()

    return store.get_or_make("bench", key, make) / "bench.so"
