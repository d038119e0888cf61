"""The bitstream: by Vivado for a board with pynq, by nextpnr for an ECP5."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from deploy.run_directory import sha256_of
from deploy.sealed import read_manifest
from deploy.uart import most_frames_per_second

from ..bitstream.ecp5_build import build_ecp5
from ..bitstream.ecp5_build import tool_versions as ecp5_tool_versions
from ..bitstream.ecp5_plan import NETLIST, make_ecp5_plan
from ..bitstream.execute import SUMMARY, build
from ..bitstream.netlist_gate import N_FRAMES, check_over_uart, open_netlist
from ..bitstream.places import find_vivado, remove_folder
from ..bitstream.plan import RESULTS, make_plan
from ..blocks import ports
from ..emit import identity_of
from ..progress import progress
from ..verilator import tool_versions
from .context import Flow, write_json
from .folders import BITSTREAM, FOLDING, GOLDEN, GRAPH, RTL


def build_bitstream(flow: Flow) -> None:
    """accelerator.bit and accelerator.hwh by Vivado, where it is found or asked for.

    Or those of the run whose hardware is taken, if it has them. For an ECP5 by nextpnr, which is
    always there; unless none is asked for.
    """
    options = flow.options
    if not options.board.has_pynq:
        if options.vivado != "none":
            _build_for_ecp5(flow)
        return
    if options.onto is not None and (built := bitstream_in(options.onto, flow)) is not None:
        _take_bitstream(flow, built)
        return
    vivado = find_vivado(options.vivado)
    if vivado is None:
        return

    def body(folder: Path) -> None:
        blocks = flow.blocks_as_built()
        plan = make_plan(
            flow.folder(RTL),
            blocks,
            options.board,
            options.clock_mhz,
            layers_apart=options.layer_checkpoints,
        )
        work = folder / "work"
        built = build(plan, vivado, work, say=flow.say)
        for name in (*RESULTS, SUMMARY):
            shutil.copyfile(built / name, folder / name)
        remove_folder(plan, vivado, work)

    flow.stage(
        BITSTREAM,
        body,
        config={"board": options.board.name, "clock_mhz": options.clock_mhz},
        inputs={"rtl": flow.folder(RTL), "folding": flow.folder(FOLDING)},
        tools={"vivado": vivado.version},
        resumable=True,
    )


def bitstream_in(run: Path, flow: Flow) -> Path | None:
    """The folder in `run` with this accelerator's bitstream; None where there is none, or
    another's."""
    folder = run / BITSTREAM
    made = read_manifest(folder)
    if made is None:
        return None
    wanted = {"board": flow.options.board.name, "clock_mhz": flow.options.clock_mhz}
    same = made["inputs"]["rtl"]["sha256"] == sha256_of(flow.folder(RTL))
    return folder if same and made["config"] == wanted else None


def _take_bitstream(flow: Flow, built: Path) -> None:
    def body(folder: Path) -> None:
        for name in (*RESULTS, SUMMARY):
            shutil.copyfile(built / name, folder / name)

    flow.stage(
        BITSTREAM,
        body,
        config={"board": flow.options.board.name, "clock_mhz": flow.options.clock_mhz},
        inputs={"rtl": flow.folder(RTL), "hardware": built},
    )


def _build_for_ecp5(flow: Flow) -> None:
    """accelerator.bit by nextpnr, and golden model = netlist over the board's UART."""
    options, rtl = flow.options, flow.folder(RTL)
    golden = flow.folder(GOLDEN) / "golden.npz"

    def body(folder: Path) -> None:
        imported = flow.imported
        blocks = flow.blocks(imported)
        plan = make_ecp5_plan(rtl, flow.blocks_as_built(), options.board, options.clock_mhz)
        summary = build_ecp5(plan, folder, say=flow.say)
        with np.load(golden) as file:
            inputs = file["inputs"][:N_FRAMES]
        flow.say("  building the simulation model of the netlist")
        with (
            open_netlist(folder / NETLIST, blocks, options.clock_mhz) as port,
            progress("netlist simulation over its UART, frames") as show,
        ):
            passed = check_over_uart(
                port, imported.graph, blocks, identity_of(rtl), inputs, progress=show
            )
        first, last = ports(blocks)
        summary["uart_frames_per_second"] = most_frames_per_second(first.beats, last.beats)
        write_json(folder / SUMMARY, {**summary, "gates": [asdict(passed)]})
        lut, mhz = summary["whole"]["lut"], summary["timing"]["most_mhz"]
        flow.say(f"  {lut:,} LUT of four inputs, {mhz:g} MHz ({summary['kind']})")

    flow.stage(
        BITSTREAM,
        body,
        config={"board": options.board.name, "clock_mhz": options.clock_mhz},
        inputs={
            "graph": flow.folder(GRAPH),  # weights that are written are not in the RTL
            "rtl": rtl,
            "folding": flow.folder(FOLDING),
            "golden": golden,
        },
        tools={**ecp5_tool_versions(), **tool_versions()},
    )
