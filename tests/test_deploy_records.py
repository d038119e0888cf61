"""Records in words: speed and power of a board, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.errors import UserError
from deploy.records import SCHEMA, append, describe, merge, read_log


def record(source: str) -> dict:
    return {
        "schema": SCHEMA,
        "time": "2026-01-01T00:00:00+00:00",
        "source": source,
        "board": "zcu104",
        "versions": {"pynq": "3.1.2"},
        "clock": {"asked_mhz": 200.0, "achieved_mhz": 187.5},
        "golden_vectors": 100,
        "accuracy": 0.9471,
        "labelled_vectors": 90,
        "cycles": {"latency": 266, "interval": 66, "input_stalls": 5, "output_stalls": 0},
        "throughput": [
            {"batch": 100, "dma_s": [0.001] * 29 + [0.01], "end_to_end_s": [0.002] * 30}
        ],
        "power": {
            "rails": {
                "12V": {"idle_w": [10.0] * 5, "loaded_w": [12.0] * 5},
                "3V3": {"idle_w": [5.0] * 5, "loaded_w": [5.0] * 5},
                "INT": {"idle_w": [1.0] * 5, "loaded_w": [2.0] * 5},
            },
            "total": "12V",
            "core": "INT",
            "loaded_frames_per_s": 1000.0,
        },
    }


def test_a_board_shows_everything() -> None:
    words = describe(record("board"))
    for expected in (
        "94.71 % on 90 vectors",
        "187.5 MHz achieved, 200 asked for",
        "batch 100, DMA alone: 100,000 frames/s",
        "batch 100, end to end: 50,000 frames/s (50,000 to 50,000, 5th to 95th percentile)",
        "the whole board (rail 12V): 10.000 W idle, 12.000 W loaded, 12.0000 mJ a frame",
        "the logic (rail INT): 1.000 W idle, 2.000 W loaded, 2.0000 mJ a frame",
        "interval 66",
    ):
        assert expected in words
    assert "simulation" not in words


@pytest.mark.parametrize("source", ["rtl-simulation", "golden-model"])
def test_anything_else_shows_no_speed_and_no_power(source: str) -> None:
    words = describe(record(source))
    assert "frames/s" not in words
    assert "mJ" not in words
    assert ("interval 66" in words) == (source == "rtl-simulation")
    assert f"not measured: {source} is no board" in words


def test_no_rails_is_not_measured() -> None:
    words = describe({**record("board"), "power": "not measured"})
    assert "power         not measured" in words


def test_rails_are_never_summed_and_an_unknown_one_is_not_shown() -> None:
    power = {**record("board")["power"], "total": None}
    words = describe({**record("board"), "power": power})
    assert "of the whole board: not measured" in words
    assert "the logic (rail INT): 1.000 W idle" in words
    assert "16.000" not in words
    assert "17.000" not in words


def test_a_log_is_only_added_to(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for source in ("board", "golden-model"):
        append(log, record(source))
    assert [entry["source"] for entry in read_log(log)] == ["board", "golden-model"]
    first = log.read_text().splitlines()[0]
    append(log, record("board"))
    assert log.read_text().splitlines()[0] == first


def test_a_log_takes_what_it_has_not_from_another_one(tmp_path: Path) -> None:
    log, other = tmp_path / "log.jsonl", tmp_path / "other.jsonl"
    append(log, record("board"))
    before = log.read_bytes()
    for source in ("board", "golden-model", "rtl-simulation"):
        append(other, record(source))
    assert merge(log, other.read_bytes()) == 2
    assert log.read_bytes().startswith(before)
    assert [r["source"] for r in read_log(log)] == ["board", "golden-model", "rtl-simulation"]
    assert merge(log, other.read_bytes()) == 0
    assert merge(tmp_path / "new.jsonl", other.read_bytes()) == 3
    whole = log.read_bytes()
    with pytest.raises(UserError, match="no record of a measurement"):
        merge(log, other.read_bytes() + b"{}\n")
    assert log.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", "{}", "7", "[" * 100_000),
        json.dumps({"schema": SCHEMA, "source": "dream"}),
        json.dumps({"schema": SCHEMA, "source": "board"}),
        json.dumps({**record("board"), "schema": 1}),
        json.dumps({**record("board"), "throughput": [{"batch": 1, "dma_s": []}]}),
        json.dumps({**record("board"), "power": {"total": "12V", "core": None, "rails": {}}}),
        json.dumps({**record("board"), "clock": None}),
        json.dumps({**record("board"), "versions": "3.1.2"}),
    ],
)
def test_a_line_that_is_no_record_is_named(line: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    append(log, record("board"))
    log.write_text(log.read_text() + line + "\n")
    with pytest.raises(UserError, match=r"no record[\s\S]*line 2"):
        read_log(log)
    with pytest.raises(UserError, match="no such log"):
        read_log(tmp_path / "none")
