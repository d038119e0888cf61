"""Carries out a plan, step by step; goes on after a kill; explains what went wrong."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.errors import MachineError, NarrowgaugeError, UserError
from deploy.store import Store

from . import CAVEAT
from .history import History
from .places import AnyVivado, BuildFolder, open_folder, remove_folder
from .plan import RESULTS, Plan, Step, checkpoint_of
from .vivado_log import Message, as_text, cause_of, fatal, meaning_of, messages_of
from .vivado_reports import Timing, layer_of, read_timing, read_utilisation, unrouted_nets

KIND = "routed by Vivado"
SUMMARY = "bitstream.json"


def build(
    plan: Plan,
    vivado: AnyVivado,
    work: Path,
    *,
    store: Store | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """The folder with RESULTS and `bitstream.json`: from the store, or built in `work`.

    What is left of an earlier build of the same plan, in `work` or on another host, is used;
    `places.remove_folder` removes it afterwards.

    Raises:
        UserError: the design doesn't fit, doesn't route or is too slow for its clock.
        MachineError: no licence, no memory, Vivado killed, or an error that is not known here.
    """
    store = store or Store()

    def make(folder: Path) -> None:
        history = History(store.root, plan.board.name, plan.lut)
        warnings = _Warnings(say)
        checkpoints = _synthesise_layers(plan, vivado, work, store, warnings)
        with open_folder(plan, vivado, work, checkpoints) as there:
            summary = _run_steps(plan, vivado.version, there, work, history, warnings)
        for name in RESULTS:
            shutil.copyfile(work / name, folder / name)
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")

    return store.get_or_make("bitstream", {"plan": plan.digest, "vivado": vivado.version}, make)


class _Warnings:
    """Critical warnings of logs, each said once, with what it means where that is known."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.messages = say, list[Message]()

    def read(self, log: Path) -> None:
        for message in messages_of(_log_of(log)):
            if message in self.messages:
                continue
            self.messages.append(message)
            self.say(f"  critical warning: {as_text((message,))}")
            if meaning := meaning_of(message):
                self.say(f"    {meaning}")


def _synthesise_layers(
    plan: Plan, vivado: AnyVivado, work: Path, store: Store, warnings: _Warnings
) -> dict[str, Path]:
    """The checkpoints of the plan's layers, by their names in its folder: kept, or made now."""
    checkpoints = {}
    for number, (name, layer) in enumerate(plan.layers.items(), 1):
        (step,) = layer.steps
        where = f"  Vivado {vivado.version}, layer {number} of {len(plan.layers)}, {name}"

        def make(folder: Path, layer: Plan = layer, step: Step = step, where: str = where) -> None:
            warnings.say(f"{where}: synthesis by itself")
            with open_folder(layer, vivado, work) as there:
                _carry_out(step, there, work)
                there.bring(*step.makes)
            for result in (step.log, *step.makes):
                shutil.copyfile(work / result, folder / result)
            remove_folder(layer, vivado, work)

        key = {"plan": layer.digest, "vivado": vivado.version}
        kept = store.get_or_make("layer_checkpoint", key, make)
        warnings.read(kept / step.log)
        checkpoints[checkpoint_of(name)] = kept / step.makes[0]
    return checkpoints


def _run_steps(
    plan: Plan,
    version: str,
    there: BuildFolder,
    work: Path,
    history: History,
    warnings: _Warnings,
) -> dict[str, Any]:
    seconds = history.seconds()
    for number, step in enumerate(plan.steps, 1):
        where = f"  Vivado {version}, step {number} of {len(plan.steps)}, {step.title}"
        if not there.lacks(step.done, *step.makes):
            warnings.say(f"{where}: done before")
            there.bring(step.log, *_results_of(step))
        else:
            left = sum(seconds.get(later.name, 0) for later in plan.steps[number - 1 :])
            warnings.say(where + (f": about {left / 60:.0f} min to go" if left else ""))
            started = time.monotonic()
            _carry_out(step, there, work)
            history.record(step.name, round(time.monotonic() - started, 1))
        warnings.read(work / step.log)
        if step.name == "5_routing":
            timing = _check_routing(plan, work)
    return {
        "kind": KIND,
        "caveat": CAVEAT,
        "vivado": version,
        "plan": plan.digest,
        "clock_mhz": plan.clock_mhz,
        "timing": _timing_record(timing, plan),
        "whole": read_utilisation((work / "utilisation.rpt").read_text()),
        "accelerator": read_utilisation((work / "utilisation_accelerator.rpt").read_text()),
        "critical_warnings": [
            {**asdict(message), "meaning": meaning_of(message)} for message in warnings.messages
        ],
    }


def _carry_out(step: Step, there: BuildFolder, work: Path) -> None:
    """Runs a step and marks it, if it went well."""
    code = there.run(step)
    there.bring(step.log, *_results_of(step))
    log = work / step.log
    _check(step, code, _log_of(log), there.lacks(*step.makes), log)
    there.mark(step.done)


def _results_of(step: Step) -> list[str]:
    return [name for name in step.makes if name in RESULTS]


def _log_of(log: Path) -> str:
    """The log, and what was printed instead of being logged: the last words of a crash."""
    paths = (log, log.with_name(f"{log.name}.out"))
    return "\n".join(p.read_text(errors="replace") for p in paths if p.is_file())


def _check(step: Step, code: int, log: str, missing: list[str], path: Path) -> None:
    """Raises what went wrong in a step, if anything did; its log lies at `path`."""
    bad = fatal(messages_of(log))
    if code == 0 and not bad and not missing:
        return
    cause = cause_of(log)
    found = as_text(bad)
    if cause is not None:
        kind: type[NarrowgaugeError] = UserError if "--target-fps" in cause.fix else MachineError
        raise kind(cause.what, where=f"Vivado, {step.title}", found=found, fix=cause.fix)
    if code == 137:
        raise MachineError(
            "Vivado was killed, most likely because memory ran out",
            where=f"Vivado, {step.title}",
            found="signal 9",
            fix="the same command goes on from this step; close other programs first",
        )
    raise MachineError(
        "Vivado failed",
        where=f"Vivado, {step.title}",
        found=found or (f"exit code {code}" if code else f"it made no {missing[0]}"),
        fix=f"its log: {path}",
    )


def _check_routing(plan: Plan, work: Path) -> Timing:
    """The timing of the routed design, which is whole and fast enough."""
    nets = unrouted_nets((work / "routes.rpt").read_text())
    if nets:
        raise UserError(
            "the design can't be routed: too many wires in one place",
            where="Vivado, routing",
            found=f"{nets} nets with routing errors",
            fix="a smaller --target-fps folds the layers more",
        )
    timing = read_timing((work / "timing.rpt").read_text())
    slack = timing.slack_at(plan.clock_mhz)
    if slack < 0:
        worst = timing.worst
        layers = "an unknown path"
        if worst is not None:
            ends = [layer_of(end, plan.instances) for end in (worst.source, worst.destination)]
            layers = " to ".join(dict.fromkeys(ends)) + f", {worst.levels} levels of logic"
            layers += f", from {worst.source} to {worst.destination}"
        raise UserError(
            "the design is too slow for its clock",
            where=layers,
            found=f"{-slack:.3f} ns too long at {plan.clock_mhz:g} MHz",
            expected=f"a path of {1000 / plan.clock_mhz:.3f} ns or less",
            fix=f"--clock-mhz {int(timing.most_mhz)}",
        )
    for name, value in (("hold", timing.whs_ns), ("pulse width", timing.wpws_ns)):
        if value < 0:
            raise MachineError(
                f"the routed design violates {name}, which no clock repairs",
                where="Vivado, routing",
                found=f"{-value:.3f} ns",
                fix="another --clock-mhz or --target-fps gives another placement",
            )
    return timing


def _timing_record(timing: Timing, plan: Plan) -> dict[str, Any]:
    worst = timing.worst
    return {
        "slack_ns": round(timing.slack_at(plan.clock_mhz), 3),
        "hold_slack_ns": timing.whs_ns,
        "most_mhz": None if worst is None else round(timing.most_mhz, 1),
        "layer": None if worst is None else layer_of(worst.destination, plan.instances),
        "path": None if worst is None else asdict(worst),
    }
