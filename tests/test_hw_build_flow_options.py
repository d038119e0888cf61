"""The options of the flow: what is refused in one message, and what a wish for speed decides."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx
import pytest
from flow_runs import STAGES, run_command, store_of, whole_stages, write_network
from qonnx_zoo import ZOO

from hw_build import flow
from hw_build.boards import BOARDS, board_named
from hw_build.pipeline import hardware


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWGAUGE_STORE", store_of(tmp_path_factory))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_network(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    return partial(run_command, capsys)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "no such file"),
        ("pe: 4", "not a folding file"),
        ("[1, 2]", "not a folding file"),
        ('{"fc0": {"pe": 1, "simd": 1}}', "doesn't name the network's layers"),
        ('{"fc0": {"pe": 1}, "fc1": 1, "fc2": {}}', "not a folding file"),
        (
            '{"fc0": {"pe": 13, "simd": 4}, "fc1": {"pe": 1, "simd": 1}, '
            '"fc2": {"pe": 1, "simd": 1}}',
            "fc0.pe",
        ),
    ],
)
def test_impossible_foldings(
    content: str | None, word: str, model: Path, tmp_path: Path, run
) -> None:
    path, out = tmp_path / "folding.json", tmp_path / "run"
    if content is not None:
        path.write_text(content)
    code, text = run(model, "--folding", path, "--out", out)
    assert code == 2
    assert word in text
    assert "05_folding" not in whole_stages(out)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--target-fps", "1e12"), "above one frame a clock cycle"),
        (("--target-fps", "0"), "--target-fps"),
        (("--clock-mhz", "-3"), "--clock-mhz"),
        (("--clock-mhz", "nan"), "--clock-mhz"),
        (("--board", "abacus"), "pynq_z2"),
        (("--seed", "-1"), "--seed"),
        (("--input-type", "INT99"), "INT99"),
        (("--input-type", "UINT8"), "leave --input-type out"),
    ],
)
def test_options_out_of_range(options: tuple, word: str, model: Path, tmp_path: Path, run) -> None:
    code, text = run(model, "--out", tmp_path / "run", *options)
    assert code == 2
    assert word in text


def test_a_rate_out_of_reach_is_told_before_any_rtl(tmp_path: Path, run) -> None:
    model, out = tmp_path / "network.onnx", tmp_path / "run"
    onnx.save(ZOO["uint8_input"]().model, model)  # two beats
    code, text = run(model, "--out", out, "--until", "rtl", "--target-fps", 1e8)
    assert code == 2
    assert "the frame rate isn't reached" in text
    assert "what binds is input port" in text
    assert "1 cycles a frame at most" in text
    assert whole_stages(out) == STAGES[:2]
    best = int(re.search(r"--target-fps (\d+) or less", text)[1])
    assert run(model, "--out", out, "--target-fps", best, "--until", "folding")[0] == 0
    assert run(model, "--out", out, "--target-fps", best + 1, "--until", "folding")[0] == 2
    folding = shutil.copy(out / "05_folding/folding.json", tmp_path)
    code, text = run(model, "--out", out, "--folding", folding, "--target-fps", best + 1)
    assert code == 2
    assert "the frame rate isn't reached" in text


def test_without_a_wish_the_network_is_as_fast_as_it_can_be(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["run", str(model), "--out", str(tmp_path / "run"), "--until", "folding"]
    assert flow.main([*arguments, "--clock-mhz", "0.05"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"note: [\d,]+ frames/s at 0.05 MHz is the fastest found for pynq_z2", text)
    assert flow.main(arguments) == 0
    assert "note" not in capsys.readouterr().out


def test_what_does_not_fit_the_board_is_told_before_any_rtl(
    model: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOARDS, "pynq_z2", replace(board_named("pynq_z2"), lut=500))
    fast, out = ("--target-fps", 6e6, "--until", "rtl"), tmp_path / "run"
    code, text = run(model, "--out", out, *fast)
    assert code == 2
    assert re.search(r"too large for pynq_z2(.|\n)*LUT estimated, 500 allowed, \d+% too many", text)
    assert "05_folding" not in whole_stages(out)
    code, text = run(model, "--out", out, *fast, "--oversize")
    assert code == 0
    assert "warning: too large for pynq_z2" in text
    # Without a wish it is made as fast as fits.
    monkeypatch.setattr(hardware, "DEFAULT_TARGET_FPS", 6e6)
    assert flow.main(["run", str(model), "--out", str(out), "--until", "folding"]) == 0
    total = json.loads((out / "05_folding/prediction.json").read_text())["total"]
    assert total["lut"] <= 500


def test_unknown_stages_are_told_by_the_parser(model: Path, tmp_path: Path, run) -> None:
    with pytest.raises(SystemExit) as caught:
        run(model, "--until", "tapeout", "--out", tmp_path / "run")
    assert caught.value.code == 2


def test_a_run_directory_in_a_place_that_is_taken(model: Path, run) -> None:
    for out in (model, model / "below"):
        code, text = run(model, "--out", out)
        assert code == 2
        assert "a run directory is a folder" in text
        assert str(model) in text
