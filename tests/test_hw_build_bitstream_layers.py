"""Layers that Vivado synthesises by themselves: kept, taken again, and the same accelerator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import accelerators
import pytest
from random_networks import random_case
from vivado_behind_ssh import PLACE, There, there
from vivado_builds import (
    explained,
    fake_vivado,
    lint,
    make_accelerator,
    needs_tcl,
    run,
    scripts_of,
    write_network,
)

from hw_build import flow
from hw_build.bitstream.execute import build
from hw_build.bitstream.ip_wrapper import WRAPPER
from hw_build.bitstream.layer_modules import layers_of, module_of, whole
from hw_build.bitstream.places import find_vivado
from hw_build.bitstream.plan import STEPS, Plan, make_plan
from hw_build.blocks import Block
from hw_build.boards import BOARDS
from hw_build.emit import emit, top_level
from hw_build.lowering import lower

BOARD = BOARDS["pynq_z2"]
NAMES = [step.script for step in STEPS]
assert there  # the fixture


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Block, ...]]:
    return make_accelerator(tmp_path_factory.mktemp("rtl"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return fake_vivado(tmp_path, monkeypatch)


@pytest.fixture
def plan(accelerator: tuple[Path, tuple[Block, ...]]) -> Plan:
    return make_plan(*accelerator, BOARD, 100.0, layers_apart=True)


@needs_tcl
def test_after_an_edit_of_one_layer_only_that_one_is_synthesised(
    accelerator: tuple[Path, tuple[Block, ...]], plan: Plan, tmp_path: Path, fake
) -> None:
    said: list[str] = []
    built = run(plan, tmp_path / "work", said)
    n = len(layers_of(accelerator[1]))
    assert n >= 2
    assert scripts_of(fake()) == ["layer.tcl"] * n + NAMES
    assert sum("synthesis by itself" in line for line in said) == n
    assert run(plan, tmp_path / "work") == built
    assert len(scripts_of(fake())) == n + len(NAMES)

    name = next(iter(plan.layers))
    changed = make_plan(*edited(accelerator[1], name, tmp_path), BOARD, 100.0, layers_apart=True)
    said.clear()
    assert run(changed, tmp_path / "work", said) != built
    assert scripts_of(fake())[n + len(NAMES) :] == ["layer.tcl", *NAMES]
    assert [line for line in said if "by itself" in line] == [
        f"  Vivado 2022.2, layer 1 of {n}, {name}: synthesis by itself"
    ]


def edited(blocks: tuple[Block, ...], name: str, folder: Path) -> tuple[Path, tuple[Block, ...]]:
    """The accelerator with another first weight word in one block."""

    def change(block: Block) -> Block:
        if block.name != name:
            return block
        memory = block.memories[0]
        memory = replace(memory, words=(memory.words[0] ^ 3, *memory.words[1:]))
        return replace(block, memories=(memory, *block.memories[1:]))

    changed = tuple(change(block) for block in blocks)
    rtl = folder / "edited"
    rtl.mkdir()
    emit(changed, rtl)
    return rtl, changed


@needs_tcl
def test_a_killed_build_takes_the_layers_that_are_whole(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, work = len(plan.layers), tmp_path / "work"
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "killed")  # in the placement
    explained(plan, work)
    monkeypatch.delenv("FAKE_VIVADO_FAULT")
    run(plan, work)
    assert scripts_of(fake()) == ["layer.tcl"] * n + NAMES[:4] + NAMES[3:]


@needs_tcl
def test_the_flow_hands_the_option_on_or_says_why_it_can_not(
    tmp_path: Path, fake, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(write_network(tmp_path))
    command = ["run", source, "--out", str(tmp_path / "run"), "--layer-checkpoints"]
    for more in (["--backend", "finn"], ["--vivado", "none"], ["--board", "ecp5-85k"]):
        assert flow.main([*command, *more]) == 2
        assert f"{' '.join(more)} beside it" in capsys.readouterr().err
    assert flow.main([*command, "--no-synthesis", "--until", "bitstream"]) == 0
    scripts = scripts_of(fake())
    assert scripts.count("layer.tcl") == len(scripts) - len(NAMES) > 1
    assert (tmp_path / "run" / "09_bitstream" / "accelerator.bit").is_file()


@needs_tcl
def test_behind_ssh_the_netlists_come_here_and_go_there(plan: Plan, tmp_path: Path, there: There):
    found = find_vivado(PLACE)
    assert found is not None
    build(plan, found, tmp_path / "work", say=[].append)
    assert there.scripts() == ["layer.tcl"] * len(plan.layers) + NAMES
    assert len(there.folders()) == 1  # the whole design's, which its caller removes


@needs_tcl
def test_a_failure_names_the_layer(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "memory")
    error = explained(plan, tmp_path / "work")
    assert error.where == f"Vivado, synthesis of {next(iter(plan.layers))}"
    assert scripts_of(fake()) == ["layer.tcl"]


@needs_tcl
@pytest.mark.parametrize(
    ("path", "old", "new", "complaint"),
    [
        ("3_synthesis.tcl", "read_checkpoint -cell", "# ", "no netlist for system_i/accelerator_0"),
        ("3_synthesis.tcl", "REF_NAME == $module", "REF_NAME == layer", "0 instances of layer_"),
        ("3_synthesis.tcl", "layers/", "layer/", "does not exist"),
        ("rtl/layer_stubs.v", "(* black_box *) module layer", "module layer", "0 instances of"),
    ],
)
def test_a_planted_fault_is_caught(
    path: str, old: str, new: str, complaint: str, plan: Plan, tmp_path: Path, fake
) -> None:
    text = plan.files[path].decode()
    assert old in text
    broken = replace(plan, files={**plan.files, path: text.replace(old, new).encode()})
    assert complaint in str(explained(broken, tmp_path / "work"))


@needs_tcl
def test_a_layer_without_its_module_or_memory_is_caught(plan: Plan, tmp_path: Path, fake) -> None:
    name, layer = next(iter(plan.layers.items()))
    script = layer.files["layer.tcl"]
    for old, new, complaint in (
        (f"    rtl/{module_of(name)}.v \\\n", "", f"module '{module_of(name)}' not found"),
        ("_weight.mem", "_wight.mem", "does not exist"),
    ):
        text = script.decode()
        assert old in text
        files = {**layer.files, "layer.tcl": text.replace(old, new).encode()}
        layers = {**plan.layers, name: replace(layer, files=files)}
        assert complaint in str(explained(replace(plan, layers=layers), tmp_path / "work"))


def test_the_design_of_ports_alone_is_read_by_verilator(plan: Plan, tmp_path: Path) -> None:
    plan.write(tmp_path, {})
    modules = [path for path in plan.files if path.endswith((".v", ".sv"))]
    lint([*modules, "--top-module", WRAPPER], tmp_path)
    for name, layer in plan.layers.items():
        folder = tmp_path / name
        layer.write(folder, {})
        modules = [path for path in layer.files if path.endswith((".v", ".sv"))]
        lint([*modules, "--top-module", module_of(name)], folder)


def test_layers_as_modules_of_their_own_are_the_same_accelerator(tmp_path: Path) -> None:
    """Simulated with the top level of such a plan, and each layer's module in its place."""
    case = random_case(7, most=7)
    blocks = lower(case.graph, case.folding)
    layers = layers_of(blocks)

    def put_apart(folder: Path) -> None:
        top = top_level(blocks, 64, {name: module_of(name) for name in layers})
        modules = [whole(block) for block in layers.values()]
        (folder / "accelerator.sv").write_text("".join([*modules, top]))

    made = accelerators.build(case, tmp_path, change=put_apart)
    with made.open() as model:
        made.gate.check(model)
