"""Builds of a small accelerator by stand-ins for Vivado and docker."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from qonnx_zoo import ZOO

from deploy.errors import NarrowgaugeError
from hw_build.bitstream.execute import build
from hw_build.bitstream.places import find_vivado
from hw_build.bitstream.plan import Plan
from hw_build.blocks import Block
from hw_build.emit import emit
from hw_build.folding import Folding
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.verilator import find_verilator

HERE = Path(__file__).resolve().parent
needs_tcl = pytest.mark.skipif(shutil.which("tclsh") is None, reason="no tclsh on the PATH")


def write_network(folder: Path) -> Path:
    """A small network's QONNX file."""
    path = folder / "network.onnx"
    onnx.save(ZOO["brevitas_w2a2"]().model, path)
    return path


def make_accelerator(folder: Path) -> tuple[Path, tuple[Block, ...]]:
    """The RTL of that network, in a folder in `folder`, and its blocks."""
    graph = import_qonnx(write_network(folder), "auto").graph
    folding = {layer.name: Folding(1, 1) for layer in graph.layers if hasattr(layer, "weights")}
    blocks = lower(graph, folding, 64)
    rtl = folder / "rtl"
    rtl.mkdir()
    emit(blocks, rtl)
    return rtl, blocks


def fake_vivado(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """Puts a fake Vivado on the PATH; returns what gives the arguments of its calls so far."""
    program = folder / "Vivado" / "bin" / "vivado"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/fake_vivado.py" "$@"\n')
    program.chmod(0o755)
    record = folder / "calls"
    record.touch()
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_VIVADO_RECORD", str(record))
    monkeypatch.setenv("NARROWGAUGE_STORE", str(folder / "store"))
    return lambda: [json.loads(line) for line in record.read_text().splitlines()]


def docker_beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """Puts a fake docker beside the fake Vivado; returns the same of it."""
    program = folder / "Vivado" / "bin" / "docker"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/fake_docker.py" "$@"\n')
    program.chmod(0o755)
    record = folder / "docker-calls"
    record.touch()
    monkeypatch.setenv("FAKE_DOCKER_RECORD", str(record))
    return lambda: [json.loads(line) for line in record.read_text().splitlines()]


def scripts_of(calls: list[list[str]]) -> list[str]:
    return [call[call.index("-source") + 1] for call in calls if "-source" in call]


def run(plan: Plan, work: Path, said: list[str] | None = None) -> Path:
    found = find_vivado("local")
    assert found is not None
    return build(plan, found, work, say=(said if said is not None else []).append)


def lint(arguments: list[str], folder: Path) -> None:
    """Verilator reads and elaborates it."""
    verilator = find_verilator()
    command = [str(verilator.binary), "--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
    environment = {"VERILATOR_ROOT": str(verilator.root)}
    done = subprocess.run(
        [*command, *arguments], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def explained(plan: Plan, work: Path) -> NarrowgaugeError:
    with pytest.raises(NarrowgaugeError) as caught:
        run(plan, work)
    return caught.value
