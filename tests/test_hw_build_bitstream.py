"""Plans for Vivado, carried out by a stand-in that checks the Tcl with a real interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from vivado_builds import (
    HERE,
    docker_beside,
    explained,
    fake_vivado,
    lint,
    make_accelerator,
    needs_tcl,
    run,
    scripts_of,
    write_network,
)

from deploy.boards import facts_of
from deploy.bundle import Bundle
from deploy.errors import MachineError, UserError
from deploy.handoff import blocks_of
from deploy.registers import identity_words
from hw_build import flow
from hw_build.bitstream import scripts, tcl
from hw_build.bitstream.ip_wrapper import instantiation
from hw_build.bitstream.local_folder import run_script, sole_builder
from hw_build.bitstream.places import find_vivado
from hw_build.bitstream.plan import RESULTS, STEPS, Plan, make_plan
from hw_build.blocks import Block
from hw_build.boards import BOARDS
from hw_build.emit import IDENTITY

GOLDEN = HERE / "golden_tcl"
PYNQ = [name for name, board in BOARDS.items() if board.has_pynq]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_network(tmp_path)


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Block, ...]]:
    return make_accelerator(tmp_path_factory.mktemp("rtl"))


@pytest.fixture
def plan(accelerator: tuple[Path, tuple[Block, ...]]) -> Plan:
    return make_plan(*accelerator, BOARDS["pynq_z2"], 100.0)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return fake_vivado(tmp_path, monkeypatch)


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return docker_beside(tmp_path, monkeypatch)


SCRIPTS = {
    "1_package": scripts.package_ip("xc7z020clg400-1", ["a.sv", "b.v"], ["a weight.mem"]),
    **{name: scripts.block_design(BOARDS[name], BOARDS[name].clock_mhz) for name in PYNQ},
    "3_synthesis": scripts.synthesis("xc7z020clg400-1"),
    "3_synthesis_layers": scripts.synthesis(
        "xc7z020clg400-1", {"layer_fc0": "layers/fc0.dcp", "layer_fc1": "layers/fc1.dcp"}
    ),
    "layer": scripts.layer_synthesis(
        "xc7z020clg400-1", ["mvu.sv", "layer_fc0.v"], ["fc0_weight.mem"], "layer_fc0"
    ),
    "4_placement": scripts.placement(),
    "5_routing": scripts.routing(),
    "6_bitstream": scripts.bitstream(),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_has_its_golden_tcl(name: str) -> None:
    """To accept a change: delete the file, run the test twice, read the difference."""
    text, path = SCRIPTS[name], GOLDEN / f"{name}.tcl"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"wrote {path.name}: read it, and run again")
    assert text == path.read_text()


@pytest.mark.parametrize("board", PYNQ)
def test_the_design_has_the_addresses_that_the_virtual_board_has(board: str) -> None:
    text = scripts.block_design(BOARDS[board], 100.0)
    for block in blocks_of("axi_dma", facts_of(board)):
        assert f"-offset {block.base:#010x} -range {block.size:#x} " in text
        for name, value in block.parameters.items():
            assert f"    CONFIG.{name} {value} " in text
    assert BOARDS[board].part in text


@needs_tcl
@pytest.mark.parametrize("board", PYNQ)
def test_a_build_runs_every_script_and_keeps_the_results(
    board: str, accelerator: tuple[Path, tuple[Block, ...]], tmp_path: Path, fake
) -> None:
    plan = make_plan(*accelerator, BOARDS[board], 100.0)
    said: list[str] = []
    built = run(plan, tmp_path / "work", said)
    assert sorted(p.name for p in built.iterdir()) == sorted(
        [*RESULTS, "bitstream.json", "manifest.json"]
    )
    summary = json.loads((built / "bitstream.json").read_text())
    assert summary["accelerator"] == {"lut": 9712, "ff": 11034, "bram36": 6.5, "dsp": 0}
    assert summary["timing"]["slack_ns"] == 0.521
    assert summary["timing"]["most_mhz"] == 105.5
    calls = [call for call in fake() if call != ["-version"]]
    assert scripts_of(calls) == [f"{step.name}.tcl" for step in STEPS]
    assert all(call[:2] == ["-mode", "batch"] for call in calls)
    assert [f"step {n} of 6" in line for n, line in enumerate(said, 1)] == [True] * 6


@needs_tcl
@pytest.mark.parametrize(
    ("step", "old", "new", "complaint"),
    [
        ("1_package", b"rtl/identity.mem", b"rtl/identitx.mem", "missing file: rtl/identitx.mem"),
        ("2_design", b"validate_bd_design", b"validate_design", "invalid command name"),
        ("2_design", b"control/S00_AXI", b"contro/S00_AXI", "no cell 'contro'"),
        ("2_design", b"-offset", b"-ofset", "Unknown option '-ofset'"),
        ("2_design", b"control/M01_AXI", b"$wire", "can't read"),
        ("2_design", b"reset/slowest_sync_clk", b"control/aclk", "has a driver already"),
        (
            "2_design",
            b"c_sg_length_width",
            b"c_sg_length_widht",
            "no parameter 'c_sg_length_widht'",
        ),
        ("2_design", b"ps/FCLK_CLK0", b"ps/FCLK_CLK9", "no pin 'FCLK_CLK9' of 'ps'"),
        ("2_design", b"PCW_USE_S_AXI_HP0 1", b"PCW_USE_S_AXI_HP0 0", "needs PCW_USE_S_AXI_HP0"),
        ("2_design", b"NUM_MI 2", b"NUM_MI 1", "'control/M01_AXI' needs NUM_MI above 1"),
        ("2_design", b"HP0_DDR_LOWOCM", b"HP0_DDR_LOW", "no segment 'S_AXI_HP0/HP0_DDR_LOW'"),
        ("2_design", b"ip:axi_dma ", b"ip:axi_dmas ", "this Vivado lacks a block of the design"),
        ("2_design", b"    accelerator_0/clk \\\n", b"", "'accelerator_0/clk' is not connected"),
        (
            "2_design",
            b"get_bd_intf_pins accelerator_0/s_axis]",
            b"get_bd_intf_pins control/S00_AXI]",
            "is axis, 'control/S00_AXI' aximm",
        ),
        ("3_synthesis", b"write_checkpoint -force synth", b"# ", "it made no synthesised.dcp"),
        ("4_placement", b"synthesised.dcp", b"synthesized.dcp", "does not exist"),
        ("5_routing", b"get_cells system_i", b"get_cells {system_i", "missing close-bra"),
    ],
)
def test_a_planted_fault_of_a_script_is_caught(
    step: str, old: bytes, new: bytes, complaint: str, plan: Plan, tmp_path: Path, fake
) -> None:
    text = plan.files[f"{step}.tcl"]
    assert old in text
    files = {**plan.files, f"{step}.tcl": text.replace(old, new, 1)}
    broken = Plan(plan.board, plan.clock_mhz, files, plan.instances)
    assert complaint in str(explained(broken, tmp_path / "work"))


def test_a_plan_is_pure_and_names_no_place(
    accelerator: tuple[Path, tuple[Block, ...]], plan: Plan, tmp_path: Path
) -> None:
    rtl, blocks = accelerator
    copy = tmp_path / "copy"
    shutil.copytree(rtl, copy)
    assert make_plan(copy, blocks, BOARDS["pynq_z2"], 100.0).digest == plan.digest
    assert not any(str(rtl).encode() in data for data in plan.files.values())
    assert make_plan(rtl, blocks, BOARDS["pynq_z2"], 90.0).digest != plan.digest
    (copy / "identity.mem").write_text("0\n")
    assert make_plan(copy, blocks, BOARDS["pynq_z2"], 100.0).digest != plan.digest
    (copy / "mvu.sv").unlink()
    with pytest.raises(UserError, match=r"no mvu\.sv"):
        make_plan(copy, blocks, BOARDS["pynq_z2"], 100.0)


@needs_tcl
def test_words_come_out_of_tcl_as_they_went_in(tmp_path: Path) -> None:
    texts = ["plain", "", "two words", "$x [y]", "{", "}{", "a\\", 'say "hi"; #', "a\nb\t{c", "é"]
    lines = [f"puts -nonewline {tcl.word(text)}; puts -nonewline \\0" for text in texts]
    script = tmp_path / "words.tcl"
    script.write_text("fconfigure stdout -encoding utf-8 -translation lf\n" + "\n".join(lines))
    command = ["tclsh", "-encoding", "utf-8", str(script)]
    out = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert out == "".join(f"{text}\0" for text in texts)


def test_missing_vivado_is_one_clear_message(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("XILINX_VIVADO", raising=False)
    assert find_vivado("auto") is None
    assert find_vivado("none") is None
    for place in ("local", "docker"):
        with pytest.raises(MachineError, match="Vivado is not found") as caught:
            find_vivado(place)
        assert "--vivado none" in caught.value.fix


def test_docker_gets_the_users_id_and_vivado_read_only(
    tmp_path: Path, fake, fake_docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    licence = tmp_path / "my.lic"
    licence.touch()
    monkeypatch.setenv("XILINXD_LICENSE_FILE", f"2100@server:{licence}")
    monkeypatch.setenv("XILINX_VITIS", "/tools/Vitis")
    found = find_vivado("docker")
    assert found is not None
    assert found.version == "2022.2"
    command = found.command("a.tcl", "a.log", tmp_path)
    assert command[:4] == ["docker", "run", "--rm", "--init"]
    text = " ".join(command)
    assert "--cidfile a.log.container " in text
    assert f"--volume {tmp_path}/Vivado:{tmp_path}/Vivado:ro" in text
    assert "--volume /tools/Vitis:/tools/Vitis:ro --env XILINX_VITIS=/tools/Vitis" in text
    assert f"--volume {licence}:{licence}:ro" in text
    assert f"--volume {tmp_path}:/build --workdir /build narrowgauge:build" in text
    assert f"--env XILINXD_LICENSE_FILE=2100@server:{licence}" in text
    assert f"--user {os.getuid()}:{os.getgid()}" in " ".join(fake_docker()[0])


@needs_tcl
def test_the_flow_builds_bundles_and_reports_a_bitstream(
    network: Path, tmp_path: Path, fake, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    base = ["run", str(network), "--out", str(out), "--no-synthesis", "--target-fps", "5000000"]
    assert flow.main([*base, "--until", "report", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (out / "09_bitstream" / "accelerator.bit").is_file()
    assert not (out / "09_bitstream" / "work").exists()
    bundle = Bundle.read(out / "bundle.zip")
    assert bundle.files["hardware/accelerator.bit"] == b"a bitstream of no board\n"
    record = json.loads((out / "report.json").read_text())
    assert record["bitstream"]["accelerator"]["lut"] == 9712
    assert told["report"] == record
    assert scripts_of(fake()) == [f"{step.name}.tcl" for step in STEPS]

    # what the registers will read is what the bundle's manifest says
    words = [int(word, 16) for word in (out / "06_rtl" / IDENTITY).read_text().split()]
    assert tuple(words) == identity_words(bundle.manifest.identity)

    # the accelerator alone: Vivado packages it, Verilator reads it
    folder = tmp_path / "ip"
    assert flow.main(["ip", str(out), "--out", str(folder), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert str(folder / "README.txt") in files
    assert all(Path(file).is_file() for file in files)
    found = find_vivado("local")
    assert found is not None
    with sole_builder(folder) as lock:
        assert run_script(found, "package_ip.tcl", "package.log", folder, lock) == 0
    assert (folder / "ip" / "component.xml").is_file()
    assert bundle.manifest.identity in (folder / "README.txt").read_text()
    lint(["-f", "files.f", "--top-module", "accelerator"], folder)
    assert (folder / "instance.v").read_text() == instantiation(64)
    assert flow.main(["ip", str(out), "--out", str(folder)]) == 2
    assert "not empty" in capsys.readouterr().err

    # at another clock this is not the accelerator's bitstream any more
    folding = ["--folding", str(out / "05_folding" / "folding.json"), "--clock-mhz", "50"]
    folding += ["--target-fps", "2500000"]
    assert flow.main([*base, *folding, "--vivado", "none", "--until", "bundle"]) == 0
    assert not Bundle.read(out / "bundle.zip").has_bitstream
