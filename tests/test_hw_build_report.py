"""The report: its keys, its kinds, what may be absent, and what it refuses."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_runs import (
    CLOCK_MHZ,
    Run,
    cells,
    cross_check,
    image_run,
    made_run,
    network,
    route,
    synthesise,
)

from deploy.errors import UserError
from hw_build.comparison import compare
from hw_build.report_kinds import KINDS, kind_of, numbers
from hw_build.report_layers import MOST_BINS, histogram
from hw_build.report_page import grouped, is_exact, number, off_by, setting
from hw_build.timing import predict

HOSTILE = "<script>alert('x')</script>&amp;"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return made_run(tmp_path / "demo", network())


def test_the_record_holds_what_the_stages_found(run: Run) -> None:
    synthesise(run)
    record, _ = run.report()
    predicted = predict(run.blocks)
    assert record["schema"] == 2
    assert record["accuracy"] == 0.75
    assert record["accuracies"] == {"oracle": 0.75, "golden": 0.75, "rtl": 0.75}
    assert [gate["name"] for gate in record["gates"]] == ["oracle = golden", "golden = RTL"]
    assert record["cycles_per_frame"] == {
        "predicted": predicted.interval,
        "simulated": predicted.interval + 0.5,
    }
    assert record["latency_cycles"] == {
        "predicted": predicted.latency,
        "simulated": predicted.latency + 2,
    }
    assert record["frames_per_second"] == CLOCK_MHZ * 1e6 / (predicted.interval + 0.5)
    assert record["port_frames_per_second"] == CLOCK_MHZ * 1e6 / predicted.port
    assert (record["seed"], record["target_fps"]) == (7, 200_000.0)
    assert (record["argmax_ties"], record["float32_differs"]) == (5, 2)
    assert record["board"]["name"] == "pynq_z2"
    assert record["notes"] == ["a note"]
    assert record["tools"] == {"yosys": "1.0"}
    n = len(run.blocks)
    assert record["resources"]["estimated"] == cells(n) | {"bram36": 0.5}
    assert record["resources"]["synthesised"]["lut"] == 200 * n + 100  # transfer_end included
    assert record["logic_depth"] == {"luts": 3 + n, "carry_cells": 1, "block": "class"}
    assert record["board_share"]["lut"] == (200 * n + 100) / 53_200


def test_a_row_per_layer_and_per_block(run: Run) -> None:
    synthesise(run)
    record, _ = run.report()
    first, second, arg_max = record["layers"]
    assert (arg_max["operator"], arg_max["shape"], arg_max["macs"]) == ("arg max", None, 0)
    assert [row["macs"] for row in record["layers"]] == [24 * 40, 10 * 24, 0]
    assert (first["name"], first["shape"], first["n_thresholds"]) == ("fc0", [24, 40], 72)
    assert (first["pe"], first["simd"], first["cycles"]) == (4, 10, 24)
    assert (first["input_type"], first["output_type"]) == ("BIPOLAR", "UINT2")
    assert first["constant_channels"] == 3
    assert (second["weight_kind"], second["weight_bits"]) == ("quinary", 3)
    assert second["n_thresholds"] == 0
    assert first["weight_memory_bits"] == 24 * 40
    for layer in record["layers"]:
        parts = layer["weight_memory_bits"] + layer["threshold_memory_bits"]
        (block,) = (block for block in run.blocks if block.name == layer["name"])
        assert layer["memory_bits"] == parts
        assert parts == sum(memory.width * len(memory.words) for memory in block.memories)
    names = [block.name for block in run.blocks]
    assert [row["name"] for row in record["blocks"]] == [*names, "transfer"]
    assert record["blocks"][-1]["resources"]["estimated"] is None


def test_layers_of_images_are_told_with_their_windows_and_counts(tmp_path: Path) -> None:
    record, html = image_run(tmp_path / "demo").report()
    first, second, add = record["layers"]
    assert [row["operator"] for row in record["layers"]] == ["matrix-vector", "convolution", "add"]
    assert (first["kernel"], first["n_vectors"], first["macs"]) == (None, 36, 36 * 4 * 2)
    assert (second["kernel"], second["stride"]) == ([3, 3], [1, 1])
    assert second["padding"] == [1, 1, 1, 1]
    assert (second["input_shapes"], second["output_shape"]) == ([[6, 6, 4]], [6, 6, 4])
    assert (second["macs"], second["n_thresholds"]) == (36 * 4 * 36, 12)
    assert add["input_shapes"] == [[6, 6, 4], [6, 6, 4]]
    assert (add["pe"], add["weight_bits"], add["memory_bits"]) == (1, None, 0)
    assert "3\u00a0×\u00a03, padding 1" in html
    (fifo,) = record["fifos"]
    assert (fifo["stream"], fifo["depth"]) == ("conv0_act_fork1", 40)
    assert fifo["bits"] == 40 * fifo["beat_bits"]


def test_histograms_count_every_integer(tmp_path: Path) -> None:
    run = image_run(tmp_path / "demo")
    record, html = run.report()
    graph = run.imported.graph
    infos = graph.infer()
    for row in record["layers"][:2]:
        weights, layer = row["weight_histogram"], graph[row["name"]]
        assert weights["step"] == 1
        for i, count in enumerate(weights["counts"]):
            assert count == int((layer.weights == weights["first"] + i).sum())
        assert sum(weights["counts"]) == layer.weights.size
        thresholds = row["threshold_histogram"]
        info, values = infos[layer.name], graph[f"{layer.name}_act"].thresholds
        assert thresholds["never"] == int((values > info.hi[:, None]).sum())
        assert thresholds["always"] == int((values <= info.lo[:, None]).sum())
        parts = (sum(thresholds["counts"]), thresholds["never"], thresholds["always"])
        assert sum(parts) == values.size
    n_pictures = sum(
        bool(row[key] and row[key]["counts"])
        for row in record["layers"]
        for key in ("weight_histogram", "threshold_histogram")
    )
    assert html.count('class="histogram"') == n_pictures > 2


def test_wide_ranges_share_bins() -> None:
    values = np.arange(-500, 501)
    bins = histogram(values)
    assert sum(bins["counts"]) == values.size
    assert len(bins["counts"]) <= MOST_BINS
    assert bins["first"] == -500
    assert bins["counts"][0] == bins["step"]
    assert histogram(np.array([], int))["counts"] == []


def test_the_bottleneck_is_named_in_the_record_the_table_and_the_picture(run: Run) -> None:
    record, html = run.report()
    slowest = max(block.cycles for block in run.blocks)
    assert record["bottleneck"] == [b.name for b in run.blocks if b.cycles == slowest]
    assert all(f"{name} (bottleneck)" in html for name in record["bottleneck"] if "fc" in name)
    assert html.count(">bottleneck</text>") == 2 * len(record["bottleneck"])  # wide and narrow


def test_no_figure_is_called_measured(run: Run) -> None:
    synthesise(run)
    record, html = run.report()
    assert "measured" not in json.dumps(record["kinds"])
    assert record["kinds"]["frames_per_second"] == "simulated cycles at the stated clock"
    assert "not measured on a board" in html
    error = record["estimate_error"]
    assert 0 < error["lut_median"] < error["lut_worst"] < 1
    assert f"{error['lut_worst']:.0%}".replace("%", " % at worst") in html
    assert error["command"] in html
    assert re.findall(r"(?<!not )measured", html) == []


def test_every_number_has_a_kind(run: Run, tmp_path: Path) -> None:
    synthesise(run)
    cross_check(run)
    summary = {"test_accuracy": 0.7654, "n_test_samples": 600, "n_train_samples": 1201}
    summary |= {"n_parameters": 9876, "data": "digits"}
    config = {"training": {"learning_rate": 0.0123}}
    run.stage("01_train", {"summary.json": summary, "config.json": config})
    record, images = run.report()[0], image_run(tmp_path / "images").report()[0]
    keys = {*numbers(record), *numbers(images)}
    assert {key for key in keys if kind_of(key) is None} == set()
    assert record["kinds"] == KINDS
    unused = {kind for kind in KINDS if not any(f"{key}.".startswith(f"{kind}.") for key in keys)}
    assert {kind.partition(".")[0] for kind in unused} == {"bitstream"}  # no run here has one


def test_a_number_without_a_kind_is_found() -> None:
    made_up = {"layers": [{"pe": 4, "name": "a"}], "resources": {"measured": {"lut": [1.5]}}}
    assert list(numbers(made_up)) == ["layers.pe", "resources.measured.lut"]
    assert [kind_of(key) for key in numbers(made_up)] == ["chosen by the folding", None]
    assert kind_of("training.config.epochs") == kind_of("clock_mhz") == "asked for"
    assert kind_of("training.test_accuracy") == "PyTorch, float32"


def test_without_synthesis_nothing_is_called_synthesised(run: Run) -> None:
    record, html = run.report()
    assert record["resources"]["synthesised"] is None
    assert record["logic_depth"] is None
    assert {row["resources"]["synthesised"] for row in record["blocks"]} == {None}
    assert "was not synthesised" in html
    assert "synthesised, not placed" not in html
    assert ">estimated; " in html  # the kind of the headline's LUTs


def test_a_synthesis_of_an_earlier_accelerator_is_left_out(run: Run) -> None:
    synthesise(run)
    shutil.rmtree(run.path / "06_rtl")
    run.stage("06_rtl", {"accelerator.sv": "module accelerator; wire new; endmodule"})
    record, html = run.report()
    assert record["resources"]["synthesised"] is None
    assert "08_synthesis was made from an earlier version" in record["notes"][-1]
    assert "08_synthesis was made from an earlier version" in html
    assert "08_synthesis" not in [stage["name"] for stage in record["stages"]]


def test_without_labels_the_accuracy_is_null(tmp_path: Path) -> None:
    record, html = made_run(tmp_path / "demo", network(), labels=False).report()
    assert record["accuracy"] is None
    assert record["accuracies"] is None
    assert record["float32_differs"] is None
    assert "not known" in html
    assert "seeded random inputs (seed 7)" in html


def test_finn_stands_beside_the_own_figures(run: Run) -> None:
    record, html = run.report()
    assert record["finn"] is None
    assert "MVAU_hls_0" not in html
    cross_check(run)
    record, html = run.report()
    assert record["finn"]["total"]["lut"] == 987
    assert "MVAU_hls_0" in html
    assert "estimated by FINN" in html
    assert "accumulator of MVAU_hls_0 widened" in html
    assert "224 values are on a rounding tie" in html
    assert "inp&lt;q&gt; 224" in html
    assert "2 inputs have another class in FINN's execution" in html
    assert kind_of("finn.front_end.ties.inp") == "counted over the inputs"


def test_a_bitstream_stands_beside_the_estimates(run: Run) -> None:
    record, html = run.report()
    assert record["bitstream"] is None
    assert "routed" not in html
    route(run)
    record, html = run.report()
    assert record["bitstream"]["caveat"] == "Not yet run on Vivado by this project"
    assert "routed by Vivado 2022.2. <b>Not yet run on Vivado by this project</b>" in html
    assert "synthesised by Yosys but neither placed nor timed, or routed by Vivado." in html
    row = re.search(r'<tr><th scope="row">LUT</th>(.*?777.*?)</tr>', html)
    assert row
    share = 100 * 1234 / record["board"]["lut"]
    estimated = record["resources"]["estimated"]["lut"]
    shown = [f"{estimated:,.0f}", "777", off_by(estimated, 777), "1,234", f"{share:.1f} %"]
    assert re.findall(r'<td class="n">(.*?)</td>', row[1]) == shown
    assert "Slack 0.521 ns at 100 MHz: no slack is left at 105.5 MHz." in html
    assert "ends in fc0, 9 levels of logic, from a/b to c/&lt;d&gt;" in html
    assert "Critical warning [Common 17-1000]: look at &lt;this&gt; (harmless)" in html


def test_training_is_shown_only_if_its_model_was_compiled(run: Run) -> None:
    summary = {"test_accuracy": 0.7654, "n_test_samples": 600, "n_train_samples": 1201}
    summary |= {"n_parameters": 9876, "data": "digits"}
    config = {"training": {"learning_rate": 0.0123}}
    run.stage("01_train", {"summary.json": summary, "config.json": config})
    record, html = run.report()
    assert record["training"] == {**summary, "config": config}
    assert "76.54 %" in html
    assert "training.learning_rate" in html
    run.config["model"] = "elsewhere/model.onnx"
    record, html = run.report()
    assert record["training"] is None
    assert "76.54 %" not in html


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"folding": "folding.json"}, "folding was given in a file"),
        ({"fit": 0.7}, "within 70.0 % of the board"),
        ({"target_fps": 123_456.0}, "chosen for at least 123,456 frames/s"),
        ({}, "No frame rate was asked for: the folding was chosen for 100,000 frames/s"),
    ],
)
def test_what_the_folding_was_chosen_for(wish: dict, sentence: str, run: Run) -> None:
    run.config |= {"target_fps": None, "fit": None, "folding": None, **wish}
    record, html = run.report()
    assert (record["target_fps"], record["fit"]) == (wish.get("target_fps"), wish.get("fit"))
    assert sentence in html


def test_writable_weights_are_told_at_the_top(run: Run) -> None:
    for config, sentence in (
        ({"writable": True}, "Writable weights."),
        ({"onto": "runs/first", "folding": "x.json"}, "accelerator that <code>runs/first</code>"),
    ):
        run.config |= config
        _, html = run.report()
        assert sentence in html[: html.index("<h2>Pipeline")]
        (row,) = compare([run.path / "made"])["runs"]
        assert row["weights"].endswith(", writable")
    assert "The folding is that of the hardware." in html


def test_commands_are_shown_as_typed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["somewhere/hw_build/flow.py", "run", "runs/my demo", "--seed", "3"]
    monkeypatch.setattr("sys.argv", argv)
    synthesise(run)
    record, html = run.report()
    assert "python -m hw_build.flow run 'runs/my demo' --seed 3" in record["commands"]
    assert "runs/my demo" in html


def test_what_a_notebook_made_is_no_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lib/ipykernel_launcher.py", "-f", "kernel-1.json"])
    synthesise(run)
    record, html = run.report()
    assert "# 08_synthesis: made in a notebook" in record["commands"]
    assert "ipykernel" not in html


@pytest.mark.parametrize("stage", ["04_golden", "05_folding", "07_simulation"])
def test_a_missing_stage_names_the_command(run: Run, stage: str) -> None:
    shutil.rmtree(run.path / stage)
    with pytest.raises(UserError, match=rf"no whole stage {stage}[\s\S]*hw_build\.flow run"):
        run.report()


def test_a_damaged_stage_is_refused(run: Run) -> None:
    path = run.path / "07_simulation" / "simulation.json"
    path.write_text(path.read_text().replace("12345", "12346"))
    with pytest.raises(UserError, match=r"simulation\.json is damaged"):
        run.report()


def test_figures_of_another_accelerator_are_refused(run: Run) -> None:
    run.stage("08_synthesis", {"synthesis.json": {}}, {"rtl": run.path / "06_rtl"})
    with pytest.raises(UserError, match="the synthesis is of another accelerator"):
        run.report()


class Page(HTMLParser):
    """Tags in order, those left open, and every attribute that could fetch something."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [str(v) for k, v in attrs if k in ("src", "href", "srcset", "data")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_hostile_names_are_text_and_the_page_is_self_contained(tmp_path: Path) -> None:
    run = made_run(tmp_path / "demo", network(HOSTILE, note=HOSTILE))
    run.config["model"] = HOSTILE
    synthesise(run)
    cross_check(run)
    _, html = run.report()
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert page.fetched == []
    assert "url(" not in html
    assert "@import" not in html
    assert html.count("&lt;script&gt;") >= 3  # note, source, stream of the picture or its block


def test_a_gate_that_failed_or_saw_nothing_is_not_exact() -> None:
    good = {"vectors": 10, "mismatches": 0}
    assert is_exact([good])
    assert not is_exact([])
    assert not is_exact([good, {"vectors": 10, "mismatches": 1}])
    assert not is_exact([good, {"vectors": 0, "mismatches": 0}])


def test_one_note_of_many_layers_is_told_once() -> None:
    notes = ["a: by table", "a note", "b: by table", "c: by search", "two words: kept", "a note"]
    assert grouped(notes) == ["a, b: by table", "a note", "c: by search", "two words: kept"]


def test_settings_as_people_write_them() -> None:
    values = [None, True, 200000.0, 0.0123, ["a", 3], [], [{"kind": "pool", "size": [2, 2]}], "x"]
    shown = ["–", "yes", "200000", "0.0123", "a, 3", "none", "kind=pool size=2, 2", "x"]
    assert [setting(value) for value in values] == shown


def test_numbers_as_people_read_them() -> None:
    assert number(1234567) == "1,234,567"
    assert number(96.25, 2) == "96.25"
    assert number(None) == "–"
    assert off_by(110, 100) == "+10.0 %"
    assert off_by(90, 100) == "−10.0 %"
    assert off_by(100, 100) == "0 %"
    assert off_by(5, 0) == "–"
