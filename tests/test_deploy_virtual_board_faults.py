"""Every fault that hurts people, on a virtual board behind the real pynq, ends in its name.

Needs pynq. tests/test_deploy_pynq_versions.py runs this file under each supported version of it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import INPUT, ToyExecutor, toy, toy_manifest, write_toy
from virtual_boards import HERE, MOVERS, OLD, ends_soon, frames, opener

from deploy import Accelerator
from deploy.boards import BOARDS
from deploy.errors import GateError, MachineError, UserError
from deploy.executors import Execution
from deploy.transfers import MOST_PATIENCE_S
from deploy.virtual_blocks import Faults

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")

    from deploy.pynq_virtual import VirtualDevice


@pytest.fixture(autouse=True)
def ends_in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ends_soon(monkeypatch):
        yield


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., object]:
    return opener(tmp_path)


class Other(ToyExecutor):
    """Another network of the same form."""

    def run(self, data: np.ndarray, frames: int) -> Execution:
        return super().run(
            self.input.pack(np.negative(self.input.unpack(data)).clip(-4, 3)), frames
        )


class Remembering(ToyExecutor):
    """Its first frame holds on to the last transfer's, until it is reset."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.before = np.zeros(INPUT.n, np.int8)

    def run(self, data: np.ndarray, frames: int) -> Execution:
        x = self.input.unpack(data).copy()
        x[0], self.before = x[0] ^ self.before, x[-1]
        return super().run(self.input.pack(x), frames)

    def reset(self) -> None:
        self.before = np.zeros(INPUT.n, np.int8)


WRONG = (GateError, "disagrees with the golden vectors")


HUNG = (MachineError, "did not end in time: a block that moves data did not finish")


FAULTY = [
    ("axi_dma", Faults(dead=True), MachineError, "did not end in time: no frame of 4 left"),
    ("axi_dma", Faults(lost_tlast=True), MachineError, "all frames left, .* tlast did not come"),
    ("axi_dma", Faults(early_tlast=True), MachineError, "output ended early"),
    ("axi_dma", Faults(stale_bitstream=True), MachineError, "stale or wrong bitstream"),
    ("axi_dma", Faults(flipped_bit=True), *WRONG),
    ("finn_iodma", Faults(dead=True), *HUNG),
    ("finn_iodma", Faults(early_tlast=True), *HUNG),
    ("finn_iodma", Faults(stale_bitstream=True), *WRONG),
    ("finn_iodma", Faults(flipped_bit=True), *WRONG),
]


@pytest.mark.parametrize(("mover", "faults", "kind", "words"), FAULTY)
def test_faulty_hardware_ends_in_its_name(mover: str, faults, kind, words: str, opened) -> None:
    changes = MOVERS[mover]
    other = Other(identity="ab" * 32, manifest=toy_manifest({}, **changes))
    given = {"changes": changes, "faults": faults, "before": other}
    with pytest.raises(kind, match=words), opened(**given):
        pass


@pytest.mark.parametrize("mover", MOVERS)
def test_results_that_depend_on_the_call_before_are_seen_at_once(mover: str, opened) -> None:
    executor = Remembering(manifest=toy_manifest({}, **MOVERS[mover]))
    with (
        pytest.raises(GateError, match="frame 0"),
        opened(executor=executor, changes=MOVERS[mover]),
    ):
        pass


def test_loading_a_bitstream_resets_what_computes(opened, tmp_path: Path) -> None:
    with opened() as accelerator:
        assert accelerator.executor.resets == 1
        with Accelerator(tmp_path / "bundle.zip", hardware=accelerator.hardware):
            assert accelerator.executor.resets == 2


def test_a_bitstream_is_loaded_each_time_and_named_by_its_content(
    opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = VirtualDevice.download
    monkeypatch.setattr(
        VirtualDevice,
        "download",
        lambda self, bitstream, parser=None: (
            loaded.append(Path(bitstream.bitfile_name).name),
            load(self, bitstream, parser),
        )[1],
    )
    with opened() as accelerator:
        for changes in ({}, {"accuracy": 0.5}):
            path = write_toy(tmp_path / "b.zip", board=HERE, part=BOARDS[HERE].part, **changes)
            with Accelerator(path, hardware=accelerator.hardware):
                pass
    first, same, other = loaded
    assert first == same != other


@pytest.mark.parametrize(
    "error", [PermissionError("no"), RuntimeError("Root permission needed by the library.")]
)
def test_no_root_is_named(error: Exception, opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pynq, "Overlay", refuse)
    with pytest.raises(MachineError, match=r"needs root[\s\S]*sudo"), opened():
        pass


@pytest.mark.parametrize("mover", MOVERS)
def test_no_manifest_makes_a_hang_last(mover: str, opened, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_PATIENCE_S <= 5
    monkeypatch.setattr("deploy.virtual_blocks.HANG_S", 1e9)  # the driver is on its own
    monkeypatch.setattr("deploy.transfers.MOST_PATIENCE_S", 1.2)
    changes = {**MOVERS[mover], "latency_cycles": 190_000_000}
    start = time.monotonic()
    dead = opened(changes=changes, faults=Faults(dead=True))
    with pytest.raises(MachineError, match="did not end in time"), dead:
        pass
    assert 1.2 < time.monotonic() - start < 4


@pytest.mark.parametrize("error", [RuntimeError("DMA channel not idle"), KeyboardInterrupt()])
def test_whatever_ends_a_run_between_transfers_breaks_the_driver(error, opened) -> None:
    with opened() as accelerator:
        start, starts = accelerator.board.mover.start, []

        def fail_at_the_second(*arguments: object) -> None:
            starts.append(arguments)
            if len(starts) == 2:
                raise error
            start(*arguments)

        accelerator.board.mover.start = fail_at_the_second
        with pytest.raises(type(error)):
            accelerator.run(frames(300))
        with pytest.raises(UserError, match="a transfer failed; open the accelerator again"):
            accelerator.run(frames(1))


def test_a_dma_that_takes_no_transfer_is_named(opened) -> None:
    with opened() as accelerator:
        buffer = accelerator.board.allocate(64)
        accelerator.board.mover._dma.recvchannel.transfer(buffer)  # and is waiting
        with pytest.raises(MachineError, match=r"the DMA takes no transfer[\s\S]*MM2S_DMASR"):
            accelerator.run(frames(1))


def test_a_refused_value_late_in_a_batch_leaves_the_driver_usable(opened) -> None:
    with opened() as accelerator:
        x = frames(300)
        x[299, 3] = 99
        with pytest.raises(UserError, match="does not fit the stream"):
            accelerator.run(x)
        np.testing.assert_array_equal(accelerator.run(frames(300)), toy(frames(300)))


def test_a_clock_that_stays_is_noticed(opened) -> None:
    changes, faults = {"clock_mhz": 50.0}, Faults(stuck_clock=True)
    words = r"clock can't be set\n.*found:\s+(100|99.999) MHz"
    with pytest.raises(MachineError, match=words), opened(changes=changes, faults=faults):
        pass


def test_a_clock_out_of_range_is_refused(opened) -> None:
    changes = {"clock_mhz": 4000.0}
    with pytest.raises(MachineError, match="clock can't be set"), opened(changes=changes):
        pass


def test_a_hang_shows_the_registers_and_breaks_the_driver(opened) -> None:
    with opened(executor=ToyExecutor(stuck_at=10), timeout_s=0.2) as accelerator:
        with pytest.raises(MachineError, match="no frame of 20 left") as raised:
            accelerator.run(frames(20))
        for word in ("FRAMES=0x14", "FRAMES_DONE=0x0", "MM2S_DMASR", "S2MM_LENGTH"):
            assert word in str(raised.value)
        with pytest.raises(UserError, match="a transfer failed; open the accelerator again"):
            accelerator.run(frames(1))


def test_results_do_not_depend_on_a_call_that_failed(opened, tmp_path: Path) -> None:
    executor = ToyExecutor(stuck_at=10)
    with opened(executor=executor, timeout_s=0.2) as accelerator:
        with pytest.raises(MachineError):
            accelerator.run(frames(20))
        executor.stuck_at = None
        with Accelerator(tmp_path / "bundle.zip", hardware=accelerator.hardware) as again:
            np.testing.assert_array_equal(again.run(frames(20, 2)), toy(frames(20, 2)))


def test_another_build_is_another_identity(opened) -> None:
    other = ToyExecutor(identity="ab" * 32)
    with pytest.raises(MachineError, match="another build is loaded"), opened(executor=other):
        pass


def test_a_bitstream_for_another_part_is_refused(opened) -> None:
    other = "xczu3eg-sbva484" if HERE != "ultra96" else "7z020clg400"
    with pytest.raises(UserError, match="for another part"), opened(part=other):
        pass


def test_no_contiguous_memory_is_named(opened) -> None:
    words = "not enough contiguous memory for one frame"
    with pytest.raises(MachineError, match=words), opened(contiguous_mb=0.005):
        pass


@pytest.mark.skipif(OLD, reason="pynq 3 knows the board")
def test_pynq_4_refuses_a_zynq_7000(opened) -> None:
    with pytest.raises(MachineError, match="does not support the board"), opened("pynq_z2"):
        pass


def test_values_that_the_input_does_not_hold_are_refused(opened) -> None:
    with opened() as accelerator:
        with pytest.raises(UserError, match="does not fit the stream"):
            accelerator.run(frames(3) + 9)
        with pytest.raises(UserError, match="wrong shape"):
            accelerator.run(frames(3)[:, :5])
        np.testing.assert_array_equal(accelerator.run(frames(3)), toy(frames(3)))
