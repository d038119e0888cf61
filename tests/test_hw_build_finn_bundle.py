"""A bundle of an accelerator that stock FINN built, from what FINN's builder leaves."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import ToyExecutor, toy

from deploy import Accelerator
from deploy.boards import facts_of
from deploy.bundle import Bundle
from deploy.errors import GateError, UserError
from deploy.handoff import write_hardware
from deploy.packing import Packing
from hw_build import flow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")
    from deploy.pynq_virtual import virtual_board

SHAPES = {
    "idt": ["DataType['INT3']"],
    "odt": ["DataType['INT12']"],
    "ishape_normal": [[1, 20]],
    "oshape_normal": [[1, 4]],
    "ishape_folded": [[1, 4, 5]],
    "oshape_folded": [[1, 4, 1]],
    "ishape_packed": [[1, 4, 2]],
    "oshape_packed": [[1, 4, 2]],
}
PLUS = {**SHAPES, "idma_names": ["idma0"], "odma_names": ["odma0"], "num_inputs": 1}
STOCK = """\
from driver_base import FINNExampleOverlay
io_shape_dict = {
    "idt" : [DataType['INT3']],
    "odt" : [DataType['INT12']],
    "ishape_normal" : [(1, 20)],
    "oshape_normal" : [(1, 4)],
    "ishape_folded" : [(1, 4, 5)],
    "oshape_folded" : [(1, 4, 1)],
    "ishape_packed" : [(1, 4, 2)],
    "oshape_packed" : [(1, 4, 2)],
    "input_dma_name" : ['idma0'],
    "output_dma_name" : ['odma0'],
    "number_of_external_weights": 0,
    "num_inputs" : 1,
    "num_outputs" : 1,
}
if __name__ == "__main__":
    raise SystemExit("a driver is read, never run")
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output folder of a builder, its bitstream that of a virtual board."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "finn_output"
    bitfile = folder / "deploy" / "bitfile"
    bitfile.mkdir(parents=True)
    write_hardware(bitfile, "finn_iodma", facts_of("pynq_z2"), "0" * 64)
    for suffix in (".bit", ".hwh"):
        (bitfile / "accelerator").with_suffix(suffix).rename(bitfile / f"finn-accel{suffix}")
    estimates = {"critical_path_cycles": 30, "max_cycles": 7, "max_cycles_node_name": "x"}
    write(folder / "report/estimate_network_performance.json", json.dumps(estimates))
    x = np.random.default_rng(1).integers(-4, 4, (30, 20))
    np.save("x.npy", x.astype(np.float32))
    np.save("y.npy", toy(x))
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def settings(folder: Path, shapes: dict | None = None, **more: object) -> None:
    information = {"io_shape_dict": shapes or PLUS, "platform": "zynq-iodma", "fclk_mhz": 100.0}
    text = json.dumps({"driver_information": {**information, **more}})
    write(folder / "deploy/driver/settings.json", text)


def bundle_of(folder: Path, *more: str) -> int:
    given = ["bundle-finn", str(folder), "--board", "pynq_z2", "--inputs", "x.npy"]
    return flow.main([*given, "--outputs", "y.npy", "--out", "b.zip", *more])


@pytest.mark.parametrize("driver", ["settings.json", "driver.py"])
def test_our_driver_runs_what_finn_built(driver: str, build: Path) -> None:
    if driver == "driver.py":
        write(build / "deploy/driver/driver.py", STOCK)
    else:
        settings(build)
    assert bundle_of(build, *(["--clock-mhz", "100"] if driver == "driver.py" else [])) == 0
    bundle = Bundle.read("b.zip")
    assert bundle.has_bitstream
    assert bundle.manifest.input == Packing(20, 3, signed=True, beat_bits=16, lanes=5)
    assert bundle.manifest.output == Packing(4, 12, signed=True, beat_bits=16, lanes=1)
    assert (bundle.manifest.interval_cycles, bundle.manifest.latency_cycles) == (7, 30)
    executor = ToyExecutor(manifest=bundle.manifest)
    x = np.random.default_rng(2).integers(-4, 4, (70, 20))
    with (
        virtual_board("pynq_z2", bundle.manifest, executor),
        Accelerator(bundle, trust=True) as accelerator,
    ):
        assert accelerator.check_golden() == 30
        np.testing.assert_array_equal(accelerator.run(accelerator.quantise(x)), toy(x))


def test_golden_vectors_of_another_network_are_seen(build: Path) -> None:
    settings(build)
    np.save("y.npy", np.load("y.npy") + 1)
    assert bundle_of(build) == 0
    bundle = Bundle.read("b.zip")
    executor = ToyExecutor(manifest=bundle.manifest)
    with (
        virtual_board("pynq_z2", bundle.manifest, executor),
        pytest.raises(GateError, match="disagrees with the golden vectors"),
    ):
        Accelerator(bundle, trust=True)


REFUSED = {
    "two inputs": ({"idma_names": ["idma0", "idma1"]}, {}, "idma0, idma1, odma0"),
    "weights outside": ({"number_of_external_weights": 1}, {}, "weights in external memory"),
    "runtime weights": ({}, {"runtime_weights": True}, "written at run time"),
    "a card": ({}, {"platform": "alveo"}, "alveo"),
    "floats": ({"idt": ["DataType['FLOAT32']"]}, {}, "no type of integers"),
    "other shapes": ({"ishape_packed": [[1, 5, 2]]}, {}, "don't fit each other"),
    "no shapes": ({"oshape_folded": []}, {}, "lack a shape"),
    "no clock": ({}, {"fclk_mhz": None}, "names no clock"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_driver_can_not_run_is_refused_by_name(name: str, build: Path, capsys) -> None:
    shapes, more, words = REFUSED[name]
    settings(build, {**PLUS, **shapes}, **more)
    assert bundle_of(build) == 2
    assert words in capsys.readouterr().err
    assert not Path("b.zip").exists()


@pytest.mark.parametrize(
    "name",
    [
        "deploy/bitfile/finn-accel.bit",
        "deploy/bitfile/finn-accel.hwh",
        "deploy/driver/settings.json",
        "report/estimate_network_performance.json",
    ],
)
def test_a_file_that_is_missing_is_named(name: str, build: Path, capsys) -> None:
    settings(build)
    (build / name).unlink()
    assert bundle_of(build) == 2
    error = capsys.readouterr().err
    assert "a FINN build lacks" in error
    assert Path(name).stem in error


def test_estimates_that_are_no_json_are_named(build: Path, capsys) -> None:
    settings(build)
    write(build / "report/estimate_network_performance.json", "max_cycles: 7")
    assert bundle_of(build) == 2
    error = capsys.readouterr().err
    assert "FINN's estimates are no JSON" in error
    assert "estimate_network_performance.json" in error


def test_vectors_are_what_the_streams_hold(build: Path, capsys) -> None:
    settings(build)
    np.save("x.npy", np.full((30, 20), 0.5))
    assert bundle_of(build) == 2
    assert "golden vectors are integers" in capsys.readouterr().err
    np.save("x.npy", np.full((30, 20), 9))
    assert bundle_of(build) == 2
    assert "does not fit the stream" in capsys.readouterr().err


def test_several_blocks_are_refused_when_the_design_is_loaded(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(build)
    assert bundle_of(build) == 0
    bundle = Bundle.read("b.zip")
    load = pynq.Overlay

    def with_another(*arguments: object, **options: object):
        overlay = load(*arguments, **options)
        overlay.ip_dict["idma1"] = overlay.ip_dict["idma0"]
        return overlay

    monkeypatch.setattr(pynq, "Overlay", with_another)
    with (
        virtual_board("pynq_z2", bundle.manifest, ToyExecutor(manifest=bundle.manifest)),
        pytest.raises(UserError, match=r"several inputs or outputs[\s\S]*idma0, idma1, odma0"),
    ):
        Accelerator(bundle, trust=True)
