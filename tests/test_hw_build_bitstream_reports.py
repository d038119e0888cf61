"""What Vivado says: its logs, warnings and reports read, and the time to go told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from vivado_builds import (
    HERE,
    explained,
    fake_vivado,
    make_accelerator,
    needs_tcl,
    run,
)

from deploy.errors import MachineError, NarrowgaugeError, UserError
from deploy.store import Store
from hw_build.bitstream import vivado_log, vivado_reports
from hw_build.bitstream.history import History
from hw_build.bitstream.plan import STEPS, Plan, make_plan
from hw_build.blocks import Block
from hw_build.boards import BOARDS

LOGS = {
    "INFO: [Common 17-349] Got license for feature; license expired in 3 days\n": None,
    "INFO: peak memory; out of memory is far\nERROR: [Place 99-9] other\n": None,
    "terminate called after throwing an instance of 'std::bad_alloc'\n": "ran out of memory",
    "INFO: all is well\n" * 99 + "realloc(): invalid pointer\n": "crashed",
    "realloc(): invalid pointer\n" + "INFO: all is well\n" * 99: None,
    "WARNING: failed to route once\nERROR: [X 1-1] No space left on device\n": "the disk is full",
}


@pytest.fixture(scope="module")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Block, ...]]:
    return make_accelerator(tmp_path_factory.mktemp("rtl"))


@pytest.fixture
def plan(accelerator: tuple[Path, tuple[Block, ...]]) -> Plan:
    return make_plan(*accelerator, BOARDS["pynq_z2"], 100.0)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    return fake_vivado(tmp_path, monkeypatch)


@needs_tcl
@pytest.mark.parametrize(
    ("fault", "kind", "what", "fix"),
    [
        ("licence", MachineError, "no licence for this part", "XILINXD_LICENSE_FILE"),
        ("memory", MachineError, "ran out of memory", "close other programs"),
        ("readmem", MachineError, "would have been empty", "fault of the plan"),
        ("crash", MachineError, "Vivado crashed", "LD_PRELOAD"),
        ("fit", UserError, "does not fit the part", "--target-fps"),
        ("killed", MachineError, "Vivado was killed", "goes on from this step"),
        ("unknown", MachineError, "[Place 99-9] nobody has seen this one", "4_placement.log"),
        ("congestion", UserError, "can't be routed", "--target-fps"),
        ("unroutable", UserError, "12 nets with routing errors", "--target-fps"),
        ("timing", UserError, "too slow for its clock", "--clock-mhz 89"),
    ],
)
def test_each_way_to_fail_is_explained(
    fault: str,
    kind: type[NarrowgaugeError],
    what: str,
    fix: str,
    plan: Plan,
    tmp_path: Path,
    fake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance, layer = next((i, n) for i, n in plan.instances.items() if i.endswith("_mvu"))
    monkeypatch.setenv("FAKE_VIVADO_FAULT", fault)
    monkeypatch.setenv("FAKE_VIVADO_INSTANCE", instance)
    error = explained(plan, tmp_path / "work")
    assert type(error) is kind
    assert what in str(error)
    assert fix in error.fix
    if fault == "timing":
        assert error.where.startswith(f"{layer}, 9 levels of logic")
        assert error.found == "1.151 ns too long at 100 MHz"
    assert not (Store().root / "bitstream").exists() or not list(
        (Store().root / "bitstream").glob("[0-9a-f]*")
    )


@needs_tcl
def test_a_critical_warning_is_shown_and_kept(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "critical")
    said: list[str] = []
    built = run(plan, tmp_path / "work", said)
    at = said.index("  critical warning: [Common 17-1000] something to look at")
    assert said[at + 1].startswith("  critical warning: [PSU-1] PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0")
    assert said[at + 2].endswith("harmless")
    warnings = json.loads((built / "bitstream.json").read_text())["critical_warnings"]
    assert [warning["identity"] for warning in warnings] == ["Common 17-1000", "PSU-1"]
    assert [warning["meaning"] is None for warning in warnings] == [True, False]


@pytest.mark.parametrize("log", LOGS)
def test_no_information_is_taken_for_a_cause(log: str) -> None:
    cause, expected = vivado_log.cause_of(log), LOGS[log]
    assert (cause is None) == (expected is None)
    assert cause is None or expected in cause.what


@needs_tcl
def test_the_time_to_go_is_that_of_the_like_of_it(
    plan: Plan, tmp_path: Path, fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Store().root
    root.mkdir()
    for lut, minutes in ((plan.lut, 10), (64 * plan.lut, 100)):
        history = History(root, "pynq_z2", lut)
        for step in STEPS:
            history.record(step.name, 60.0 * minutes)
    said: list[str] = []
    monkeypatch.setenv("FAKE_VIVADO_FAULT", "killed")
    with pytest.raises(MachineError):
        run(plan, tmp_path / "work", said)
    assert said[0].endswith("step 1 of 6, packaging the IP: about 60 min to go")
    assert said[3].endswith("step 4 of 6, placement: about 30 min to go")
    seen = History(root, "pynq_z2", plan.lut).seconds()
    assert max(seen[step.name] for step in STEPS[:3]) < 60 < seen["4_placement"]
    assert History(root, "pynq_z2", 100 * plan.lut).seconds()["1_package"] == 6000
    assert History(root, "zcu104", plan.lut).seconds() == {}


def test_slack_is_judged_at_the_clock_that_was_asked_for() -> None:
    text = (HERE / "fake_vivado_forms" / "timing_met.rpt").read_text()
    timing = vivado_reports.read_timing(text)
    assert timing.slack_at(100.0) == pytest.approx(0.521)
    assert timing.slack_at(104.0) > 0 > timing.slack_at(107.0)
    assert timing.slack_at(timing.most_mhz) == pytest.approx(0)


@pytest.mark.parametrize(
    "text", ["", "| Design Timing Summary\n", "| Design Timing Summary\nWNS(ns)"]
)
def test_a_report_that_can_not_be_read_is_an_error(text: str) -> None:
    with pytest.raises(MachineError, match="timing report can't be read"):
        vivado_reports.read_timing(text)
    with pytest.raises(MachineError, match="utilisation report can't be read"):
        vivado_reports.read_utilisation(text)


def test_ultrascale_reports_are_read_too() -> None:
    rows = ["CLB LUTs*", "CLB Registers", "Block RAM Tile", "DSPs"]
    text = "".join(f"| {row} | {n} | 0 | 0 | 99 | 0.1 |\n" for n, row in enumerate(rows, 1))
    used = vivado_reports.read_utilisation(text)
    assert used == {"lut": 1, "ff": 2, "bram36": 3, "dsp": 4}
