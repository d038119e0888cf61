"""The model as a shared library: compiled once, kept in the store."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from deploy.run_directory import sha256_of
from deploy.store import Store

from ..verilator import CXX_FLAGS, FAST, _processor, _run, find_compiler

FOLDER = Path(__file__).parent
POINTER = ctypes.c_void_p


class Job(ctypes.Structure):
    """The struct of the same name in cycle_model.cpp."""

    _fields_ = [
        *((name, POINTER) for name in ("frame_ends", "recorded", "offered")),
        *((name, POINTER) for name in ("recorded_beats", "capacities")),
        *((name, ctypes.c_uint64) for name in ("n_frames", "input_beats", "output_beats")),
        *((name, ctypes.c_uint64) for name in ("pace_cycles", "pace_frames")),
        *((name, ctypes.c_uint64) for name in ("random_state", "cycle", "frames_done", "period")),
        *((name, ctypes.c_int32) for name in ("input", "output")),
        *((name, ctypes.c_uint32) for name in ("stall_input", "stall_output")),
        ("stop_if_periodic", ctypes.c_uint32),
    ]


@cache
def load_library(folder: Path = FOLDER) -> ctypes.CDLL:
    """The library of the sources in `folder`, from the store or newly compiled."""
    library = ctypes.CDLL(str(_build(folder)))
    library.model_open.restype = POINTER
    library.model_open.argtypes = [ctypes.c_char_p]
    library.model_close.argtypes = [POINTER]
    library.model_run.argtypes = [POINTER, ctypes.POINTER(Job)]
    library.model_stream_state.argtypes = [POINTER, ctypes.c_int32]
    library.model_most_held.argtypes = [POINTER, ctypes.c_int32]
    library.model_most_held.restype = ctypes.c_int64
    return library


def _build(folder: Path) -> Path:
    compiler = find_compiler()
    sources = sorted(path for path in folder.iterdir() if path.suffix in {".cpp", ".h"})
    key = {
        "sources": {path.name: sha256_of(path) for path in sources},
        "compiler": _run([compiler, "--version"]).splitlines()[0],
        "flags": [*CXX_FLAGS, *FAST],
        "processor": _processor(),
    }

    def make(entry: Path) -> None:
        command = [compiler, "-shared", *CXX_FLAGS, *FAST, str(folder / "cycle_model.cpp")]
        _run([*command, "-o", str(entry / "cycle_model.so")])

    return Store().get_or_make("cycle_model", key, make) / "cycle_model.so"
