"""A bitstream for an ECP5, built for real; its netlist compared over its UART with the model."""

from __future__ import annotations

import json
import os
import select
import shutil
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from qonnx_zoo import ZOO

import training
from deploy import serial_port
from deploy.errors import GateError, MachineError, UserError
from hw_build import flow, graph_file
from hw_build.bitstream import ecp5_plan
from hw_build.bitstream.ecp5_build import KIND, RESULTS, build_ecp5
from hw_build.bitstream.ecp5_plan import (
    CONFIGURATION,
    LPF,
    MAPPED,
    NETLIST,
    Ecp5Plan,
    make_ecp5_plan,
)
from hw_build.bitstream.ecp5_timing import read_report
from hw_build.bitstream.netlist_gate import N_FRAMES, NAME, check_over_uart, open_netlist
from hw_build.bitstream.uart_line import SimulatedLine
from hw_build.blocks import Block
from hw_build.boards import BOARDS
from hw_build.emit import emit, identity_of
from hw_build.folded import load_blocks
from hw_build.folding import Folding
from hw_build.graph import Graph, MatVec
from hw_build.importer import import_qonnx
from hw_build.lowering import lower
from hw_build.yosys import run_ecpunpack, run_yosys
from training.config import load_config
from training.networks import build_network
from training.qonnx_export import to_qonnx

BOARD = BOARDS["ecp5-85k"]


@pytest.fixture(scope="module")
def one_seed() -> Iterator[None]:
    """One placement in place of several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ecp5_plan, "SEEDS", (1,))
        yield


@dataclass(frozen=True)
class Run:
    """A run of the flow, and what it was made from."""

    path: Path
    command: list[str]
    graph: Graph
    blocks: tuple[Block, ...]

    @property
    def built(self) -> Path:
        return self.path / "09_bitstream"

    @property
    def plan(self) -> Ecp5Plan:
        return make_ecp5_plan(self.path / "06_rtl", self.blocks, BOARD, 25.0)

    def check(self, netlist: Path, graph: Graph | None = None, n: int = 4) -> None:
        """The gate, on random inputs."""
        kind = self.graph.input.type
        x = np.random.default_rng(0).integers(kind.lo, kind.hi + 1, (n, *self.graph.input.shape))
        identity = identity_of(self.path / "06_rtl")
        with open_netlist(netlist, self.blocks, 25.0) as port:
            check_over_uart(port, graph or self.graph, self.blocks, identity, x)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_seed: None) -> Run:
    folder = tmp_path_factory.mktemp("ecp5")
    network = folder / "network.onnx"
    onnx.save(ZOO["brevitas_w2a2"]().model, network)
    command = ["run", str(network), "--board", "ecp5-85k", "--no-synthesis"]
    command += ["--out", str(folder / "run")]
    assert flow.main(command) == 0
    graph = graph_file.load(folder / "run/03_graph").graph
    return Run(folder / "run", command, graph, load_blocks(folder / "run/05_folding", graph, 64))


def test_the_flow_ends_in_a_bitstream_that_was_checked_over_its_uart(run: Run) -> None:
    assert sorted(path.name for path in run.built.iterdir()) == sorted([*RESULTS, "manifest.json"])
    bits = (run.built / "accelerator.bit").read_bytes()
    assert b"Part: LFE5U-85F-6CABGA381" in bits[:200]
    assert bits.count(b"\xff\xff\xbd\xb3") == 1, "the preamble of an ECP5"
    record = json.loads((run.path / "report.json").read_text())
    assert record["bitstream"]["kind"] == KIND
    assert record["bitstream"]["timing"]["most_mhz"] > 50
    assert record["bitstream"]["whole"]["lut"] > 500
    # a frame is a request of 2 + 8 bytes and the first one of the reply
    assert record["bitstream"]["uart_frames_per_second"] == pytest.approx(1e5 / 11)
    assert {"name": NAME, "vectors": N_FRAMES, "mismatches": 0} in record["gates"]
    assert not any("virtual board" in gate["name"] for gate in record["gates"])
    assert not (run.path / "bundle.zip").exists(), "pynq does not run there"
    page = (run.path / "report.html").read_text()
    assert f"<b>{KIND}</b>" in page
    assert "BRAM18" in page


def test_nothing_is_built_twice(run: Run, tmp_path: Path, capsys) -> None:
    assert flow.main(run.command) == 0
    assert "runs" not in capsys.readouterr().out
    build_ecp5(run.plan, tmp_path, say=lambda line: pytest.fail(line))
    assert (tmp_path / NETLIST).read_bytes() == (run.built / NETLIST).read_bytes()


def test_a_plan_is_pure_and_every_call_counts(run: Run, tmp_path: Path) -> None:
    plan = run.plan
    copy = shutil.copytree(run.path / "06_rtl", tmp_path / "copy")
    assert make_ecp5_plan(copy, run.blocks, BOARD, 25.0).digest == plan.digest
    assert not any(str(run.path).encode() in data for data in plan.files.values())
    other = replace(plan, packing=replace(plan.packing, arguments=("--input", "x")))
    assert other.digest != plan.digest
    assert replace(plan, files={**plan.files, LPF: b""}).digest != plan.digest
    (copy / "mvu.sv").unlink()
    with pytest.raises(UserError, match=r"no mvu\.sv"):
        make_ecp5_plan(copy, run.blocks, BOARD, 25.0)


def test_a_design_too_slow_for_its_clock_names_the_layer(run: Run, tmp_path: Path) -> None:
    fast = replace(run.plan, clock_mhz=500.0)  # what nextpnr was told, and did, stays the same
    with pytest.raises(UserError, match="too slow for its clock") as caught:
        build_ecp5(fast, tmp_path)
    assert "500 MHz" in caught.value.expected
    assert "levels of logic" in caught.value.where
    known = {block.name for block in run.blocks} | {*ecp5_plan.BESIDE.values(), "the UART bridge"}
    assert any(caught.value.where.startswith(name) for name in known)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(MachineError, match="nextpnr's report can't be read"):
        read_report(tmp_path / "report.json", {}, "core")


def test_the_gate_sees_one_wrong_weight(run: Run) -> None:
    """The same netlist against a model with one weight changed."""
    run.check(run.built / NETLIST)
    layers = list(run.graph.layers)
    place, layer = next((i, x) for i, x in enumerate(layers) if isinstance(x, MatVec))
    weights = layer.weights.copy()
    weights[:, 0] = -weights[:, 0]
    layers[place] = replace(layer, weights=weights)
    with pytest.raises(GateError, match="golden model = ECP5 netlist"):
        run.check(run.built / NETLIST, Graph(tuple(layers)))


def test_what_the_board_does_not_have(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flow.main([*run.command, "--clock-mhz", "50"]) == 2
    assert "25 MHz, the oscillator of ecp5-85k" in capsys.readouterr().err
    assert flow.main(["ip", str(run.path), "--out", str(tmp_path / "ip")]) == 2
    assert "Vivado, which knows no such part" in capsys.readouterr().err
    assert flow.main(["finn", str(run.path)]) == 2
    assert "FINN knows no such device" in capsys.readouterr().err


@contextmanager
def plugged_in(run: Run) -> Iterator[str]:
    """The netlist at the other end of a serial port; the port's name."""
    master, slave = os.openpty()
    tty.setraw(master)
    unplugged = threading.Event()

    def carry() -> None:
        sources = [run.built / NETLIST]
        with SimulatedLine(sources, 25.0, run.built, patience=2_000) as line:
            while not unplugged.is_set():
                if select.select([master], [], [], 0.001)[0]:
                    line.write(os.read(master, 4096))
                os.write(master, line.read(64))

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        unplugged.set()
        thread.join()
        os.close(master)
        os.close(slave)


def test_a_board_is_checked_over_its_serial_port(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_port, "SECONDS", 20.0)  # simulated time is slow
    command = ["uart", str(run.path), "--frames", "5", "--port"]
    with plugged_in(run) as port:
        assert flow.main([*command, port]) == 0
        assert "board over its UART: 5 inputs, 0 mismatches" in capsys.readouterr().out
    assert flow.main([*command, "/dev/no_such_tty"]) == 3
    assert "the serial port can't be opened" in capsys.readouterr().err
    monkeypatch.setattr(serial_port, "SECONDS", 0.1)
    _, silent = os.openpty()
    assert flow.main([*command, os.ttyname(silent)]) == 3
    assert "the board does not answer" in capsys.readouterr().err


@pytest.mark.nightly
def test_the_gate_sees_one_inverted_lut(run: Run, tmp_path: Path) -> None:
    """In the netlist, as a fault of synthesis or of a bitstream could have it."""
    plan, mapped = run.plan, tmp_path / MAPPED
    for name, data in plan.files.items():
        (tmp_path / name).write_bytes(data)
    run_yosys(plan.synthesis.arguments[0], tmp_path)
    design = json.loads(mapped.read_text())
    cells = design["modules"][ecp5_plan.TOP]["cells"]
    lut = next(c for name, c in cells.items() if "fc2_mvu" in name and c["type"] == "LUT4")
    lut["parameters"]["INIT"] = lut["parameters"]["INIT"].translate(str.maketrans("01", "10"))
    mapped.write_text(json.dumps(design))
    run_yosys(plan.netlist.arguments[0], tmp_path)
    with pytest.raises((GateError, MachineError)):
        run.check(tmp_path / NETLIST, n=N_FRAMES)


def contents_of(configuration: Path) -> set[tuple[str, str]]:
    """Tile and content of every LUT, of initial values alike; but for constants, LUTs not used."""
    found, tile = set(), ""
    for line in configuration.read_text().splitlines():
        if line.startswith(".tile"):
            tile = line
        elif line.startswith("word: ") and len(set(line.split()[2])) == 2:
            found.add((tile, line))
    return found


@pytest.mark.nightly
def test_the_bitstream_holds_what_was_routed(run: Run, tmp_path: Path) -> None:
    """Unpacked again, it has every LUT's content where nextpnr put it."""
    shutil.copy(run.built / "accelerator.bit", tmp_path)
    run_ecpunpack(["accelerator.bit", "unpacked.config"], tmp_path)
    contents = contents_of(run.built / CONFIGURATION)
    assert len(contents) > 500
    assert contents_of(tmp_path / "unpacked.config") == contents


TOO_MANY = """
module uart_accelerator (input clk, rx, output tx);
  wire [208:0] out;
  assign tx = ^out;
  DP16KD memory[208:0] (
      .CLKA(clk), .CLKB(clk), .CEA(1'b1), .CEB(1'b1), .WEA(1'b1), .DIA0(rx), .ADB4(rx), .DOB0(out)
  );
endmodule
"""


@pytest.mark.nightly
def test_more_block_rams_than_there_are_do_not_fit(run: Run, tmp_path: Path) -> None:
    plan, top = run.plan, ecp5_plan.TOP
    script = f"read_verilog top.v\nsynth_ecp5 -top {top}\nwrite_json {MAPPED}\n"
    large = replace(
        plan,
        files={**plan.files, "top.v": TOO_MANY.encode()},
        synthesis=replace(plan.synthesis, arguments=(script,), takes=("top.v",)),
    )
    with pytest.raises(UserError, match="the design does not fit the part") as caught:
        build_ecp5(large, tmp_path)
    assert "DP16KD" in caught.value.found


@pytest.mark.nightly
def test_block_rams_are_simulated_too(tmp_path: Path, one_seed: None) -> None:
    model = tmp_path / "network.onnx"
    onnx.save(ZOO["brevitas_w4a4_bias"]().model, model)
    graph = import_qonnx(model, "auto").graph
    folding = {x.name: Folding(1, 1, "block") for x in graph.layers if hasattr(x, "weights")}
    blocks = lower(graph, folding, 64)
    rtl = tmp_path / "06_rtl"
    rtl.mkdir()
    emit(blocks, rtl)
    summary = build_ecp5(make_ecp5_plan(rtl, blocks, BOARD, 25.0), tmp_path)
    assert summary["whole"]["bram18"] > 0
    Run(tmp_path, [], graph, blocks).check(tmp_path / NETLIST, n=N_FRAMES)


@pytest.mark.nightly
def test_digits_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's network, untrained, with two seeds, and the report with its synthesis."""
    monkeypatch.setattr(ecp5_plan, "SEEDS", (1, 2))
    config = load_config(Path(training.__file__).parent / "configs" / "digits_w1a1.toml")
    torch.manual_seed(1)
    model, out = tmp_path / "digits.onnx", tmp_path / "run"
    onnx.save(to_qonnx(build_network(config.network, (8, 8, 1), 10)), model)
    command = ["run", str(model), "--board", "ecp5-85k", "--out", str(out), "--output", "class"]
    assert flow.main(command) == 0
    record = json.loads((out / "report.json").read_text())["bitstream"]
    assert set(record["timing"]["seeds"]) == {"1", "2"}
    assert record["timing"]["most_mhz"] == max(record["timing"]["seeds"].values())
    assert record["gates"][0]["vectors"] == N_FRAMES
