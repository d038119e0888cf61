"""Measurements of a virtual board: what they record, and that they show no speed of a board.

Needs pynq. tests/test_deploy_pynq_versions.py runs this file under each supported version of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import INTERVAL, LATENCY, ToyExecutor, npy
from virtual_boards import HERE, ends_soon, opener

from deploy.boards import BOARDS
from deploy.bundle import OUTPUTS
from deploy.errors import GateError, MachineError, UserError
from deploy.measurement import measure
from deploy.records import append, describe, read_log

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")
    from pynq.pl_server.embedded_device import EmbeddedDevice

    from deploy.pynq_board import source_of


@pytest.fixture(autouse=True)
def ends_in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ends_soon(monkeypatch):
        yield


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., object]:
    return opener(tmp_path)


def test_a_measurement_of_a_virtual_board_shows_no_speed(opened, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for _ in range(2):
        with opened() as accelerator:
            append(log, measure(accelerator, batches=(1, 70), power_s=0.1))
    record, again = read_log(log)
    assert record["source"] == again["source"] == "rtl-simulation"
    assert record["golden_vectors"] == 50
    assert record["accuracy"] < 1  # the labels know nothing of the scores' offsets
    cycles = record["cycles"]
    assert (cycles["latency"], cycles["interval"], cycles["frames"]) == (LATENCY, INTERVAL, 50)
    assert record["clock"]["asked_mhz"] == 100.0
    assert record["versions"]["pynq"] == pynq.__version__
    for entry in record["throughput"]:
        assert len(entry["end_to_end_s"]) == len(entry["dma_s"]) == 30
    assert (record["power"] == "not measured") == (not BOARDS[HERE].rails)
    words = describe(record)
    assert f"latency {LATENCY}, interval {INTERVAL}" in words
    assert "(rtl-simulation)" in words
    assert "speed, power  not measured: rtl-simulation is no board" in words
    assert "frames/s" not in words
    assert " W" not in words


def test_a_measurement_ends_at_a_wrong_golden_vector(opened) -> None:
    with opened() as accelerator:
        wrong = accelerator.bundle.vectors().outputs.copy()
        wrong[40, 2] += 1
        files = {**accelerator.bundle.files, OUTPUTS: npy(wrong)}
        accelerator.bundle = replace(accelerator.bundle, files=files)
        with pytest.raises(GateError, match="frame 40, output 2"):
            measure(accelerator)


def test_too_few_repeats_are_refused(opened) -> None:
    with opened() as accelerator, pytest.raises(UserError, match="too little to measure"):
        measure(accelerator, repeats=29)


def test_power_of_a_board_with_rails_is_sampled_idle_and_loaded(opened) -> None:
    with opened("zcu104") as accelerator:
        power = measure(accelerator, batches=(8,), power_s=0.2)["power"]
    assert set(power["rails"]) == set(BOARDS["zcu104"].rails)
    assert (power["total"], power["core"]) == ("12V", "INT")
    for rail in power["rails"].values():
        assert np.median(rail["loaded_w"]) > np.median(rail["idle_w"][1:])


@pytest.mark.parametrize("source", ["board", "", "Board"])
def test_nothing_behind_a_virtual_board_is_a_board(source: str, opened) -> None:
    executor = ToyExecutor()
    executor.source = source
    words = "what computes behind a virtual board is no board"
    with pytest.raises(UserError, match=words), opened(executor=executor):
        pass


def test_only_a_zynq_of_pynqs_own_is_a_board() -> None:
    class Card:
        name, source = "xrt0", "board"

    assert source_of(object.__new__(EmbeddedDevice)) == "board"
    with pytest.raises(MachineError, match=r"no board that this driver knows[\s\S]*Card xrt0"):
        source_of(Card())


def test_a_record_holds_what_it_was_made_with(opened) -> None:
    changes = {"hashes": {"graph": "ab"}, "versions": {"verilator": "5.048"}}
    with opened(changes=changes) as accelerator:
        record = measure(accelerator, batches=(1,), power_s=0.1)
    assert record["hashes"] == {"graph": "ab"}
    assert record["tools"] == {"verilator": "5.048"}
    assert record["board"] == HERE
    assert record["versions"]["image"] == "none"
