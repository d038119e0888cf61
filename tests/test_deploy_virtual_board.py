"""The driver on the real pynq with a virtual board behind it, and every fault that hurts people.

Needs pynq. tests/test_deploy_pynq_versions.py runs this file under each supported version of it.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import (
    INPUT,
    INTERVAL,
    LATENCY,
    OUTPUT,
    ToyExecutor,
    npy,
    toy,
    toy_manifest,
    write_toy,
)

from deploy import Accelerator
from deploy.boards import BOARDS
from deploy.bundle import OUTPUTS
from deploy.errors import GateError, MachineError, NarrowgaugeError, UserError
from deploy.executors import Execution
from deploy.measurement import measure
from deploy.packing import Packing
from deploy.records import append, describe, read_log
from deploy.transfers import MOST_PATIENCE_S
from deploy.virtual_blocks import Faults

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")
    from pynq.pl_server.embedded_device import EmbeddedDevice

    from deploy.pynq_board import source_of
    from deploy.pynq_virtual import VirtualDevice, virtual_board

ROOT = Path(__file__).resolve().parent.parent
OLD = int(pynq.__version__.split(".")[0]) < 4
HERE = "pynq_z2" if OLD else "zcu104"
FINN = {
    "mover": "finn_iodma",
    "input": Packing(20, 3, signed=True, beat_bits=16, lanes=5),
    "output": Packing(4, 12, signed=True, beat_bits=16, lanes=1),
}
MOVERS = {"axi_dma": {}, "finn_iodma": FINN}
RUNNABLE = [name for name, facts in BOARDS.items() if OLD or not facts.is_zynq7]
MOST_SECONDS = 120 if "TESTED_PYTHON" in os.environ else 10
"""Of a test. An emulated processor works so long, not waits: it shows results, not seconds."""


@pytest.fixture(autouse=True)
def ends_in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("deploy.virtual_blocks.HANG_S", 1.5)
    start = time.monotonic()
    yield
    assert time.monotonic() - start < MOST_SECONDS


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., object]:
    """Opens the driver on a virtual board of this test."""

    @contextmanager
    def open_it(
        board: str = HERE,
        executor: ToyExecutor | None = None,
        changes: dict | None = None,
        faults: Faults | None = None,
        contiguous_mb: float | None = None,
        part: str | None = None,
        before: ToyExecutor | None = None,
        **options: object,
    ) -> Iterator[Accelerator]:
        fitting = {"board": board, "part": BOARDS[board].part, **(changes or {})}
        path = write_toy(tmp_path / "bundle.zip", **fitting)
        from deploy.bundle import Bundle

        manifest = Bundle.read(path).manifest
        executor = executor or ToyExecutor(manifest=manifest)
        more = {"faults": faults, "contiguous_mb": contiguous_mb, "part": part, "before": before}
        with (
            virtual_board(board, manifest, executor, **more) as hardware,
            Accelerator(path, hardware=hardware, **options) as accelerator,
        ):
            accelerator.executor, accelerator.hardware = executor, hardware
            yield accelerator

    return open_it


def frames(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 4, (n, INPUT.n)).astype(np.int8)


# --- what must work ---


@pytest.mark.parametrize("board", RUNNABLE)
def test_golden_vectors_come_out_right_on_every_board(board: str, opened) -> None:
    with opened(board) as accelerator:
        assert accelerator.check_golden() == 50
        assert accelerator.source == "rtl-simulation"
        assert accelerator.clock_mhz == pytest.approx(100.0, abs=0.01)


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 257, 1000, 5003])
def test_batches_of_any_size(n: int, opened) -> None:
    with opened() as accelerator:
        out = accelerator.run(frames(n))
        assert out.dtype == OUTPUT.dtype
        np.testing.assert_array_equal(out, toy(frames(n)))


def test_a_large_batch_is_split_over_the_memory_there_is(opened) -> None:
    with opened(contiguous_mb=0.03125) as accelerator:
        x = frames(9000)
        np.testing.assert_array_equal(accelerator.run(x), toy(x))
        assert max(accelerator.executor.transfers) < 9000 // 8
        assert sum(accelerator.executor.transfers) == 9000 + 2 * 4


@pytest.mark.parametrize("mover", MOVERS)
def test_a_move_says_how_much_memory_let_it_move(mover: str, opened) -> None:
    with opened(contiguous_mb=0.03125, changes=MOVERS[mover]) as accelerator:
        frames_moved, seconds = accelerator.move(frames(9000))
        assert 0 < frames_moved < 600
        assert accelerator.executor.transfers[-1] == frames_moved
        assert seconds > 0
        record = measure(accelerator, batches=(600,), power_s=0.1)
        assert len(record["throughput"][0]["dma_s"]) == 30
        assert sum(accelerator.executor.transfers) >= (1 + 30 + 30) * 600


def test_a_move_is_of_the_frames_that_were_given(opened) -> None:
    with opened() as accelerator:
        seen: list[np.ndarray] = []
        execute = accelerator.executor.run
        accelerator.executor.run = lambda data, n: (seen.append(data), execute(data, n))[1]
        measure(accelerator, batches=(1,), power_s=0.1)
        golden = INPUT.pack(accelerator.bundle.vectors().inputs).reshape(-1)
        assert any(np.array_equal(data, golden) for data in seen)
        assert all(data.any() for data in seen)


def test_a_transfer_is_no_longer_than_a_hang_takes_to_be_told(opened) -> None:
    changes = {**FINN, "interval_cycles": 1_000_000}  # 10 ms at 100 MHz
    with opened(changes=changes) as accelerator:
        assert accelerator.move(frames(200))[0] in (39, 40)


def test_frames_per_transfer_is_kept(opened) -> None:
    with opened(frames_per_transfer=10) as accelerator:
        accelerator.run(frames(95))
        assert accelerator.executor.transfers[-10:] == [10] * 9 + [5]


def test_counters_are_those_of_the_last_transfer(opened) -> None:
    with opened() as accelerator:
        accelerator.run(frames(20))
        counters = accelerator.counters()
        assert counters.frames_done == 20
        assert counters.cycles == LATENCY + 19 * INTERVAL
        assert (counters.latency, counters.interval) == (LATENCY, INTERVAL)
        assert (counters.input_stalls, counters.output_stalls) == (3, 0)


def test_the_host_ends_are_those_of_the_bundle(opened) -> None:
    with opened() as accelerator:
        x = np.linspace(-3, 3, 40).reshape(2, 4, 5)
        integers = accelerator.quantise(x)
        np.testing.assert_array_equal(
            integers, np.rint(np.clip(x / 0.5, -4, 3)).reshape(2, 20).astype(int)
        )
        out = accelerator.run(integers)
        scores = accelerator.dequantise(out)
        np.testing.assert_array_equal(scores, out * 0.25 + [0, 1, 0, 0])
        classes = accelerator.classify(out)
        np.testing.assert_array_equal(classes, scores.argmax(axis=1))
        assert accelerator.meaning.names_of(classes) == ["abcd"[c] for c in classes]


def test_leaving_the_context_frees_all_memory(opened) -> None:
    with opened() as accelerator:
        accelerator.run(frames(100))
        memory = pynq.Device.active_device.default_memory
        assert memory.blocks
    assert not memory.blocks
    with pytest.raises(UserError, match="can't be used any more"):
        accelerator.run(frames(1))


def test_an_accelerator_built_by_finn_runs_from_the_same_class(opened) -> None:
    with opened(changes=FINN) as accelerator:
        assert accelerator.check_golden() == 50
        np.testing.assert_array_equal(accelerator.run(frames(500)), toy(frames(500)))


@pytest.mark.parametrize("asked", [100.0, 50.0, 125.0, 93.0])
def test_the_clock_is_set_and_never_above_what_was_asked_for(asked: float, opened) -> None:
    with opened(changes={"clock_mhz": asked}) as accelerator:
        assert 0.9 * asked <= accelerator.clock_mhz <= asked * 1.0001
        assert accelerator.clock_mhz == pynq.Clocks.fclk0_mhz


# --- what hurts ---


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


# --- plain users of pynq ---


@contextmanager
def plain(opened) -> Iterator[tuple[object, object]]:
    """A user's own overlay and the DMA in it, beside no driver of ours."""
    with opened() as accelerator, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bit = str(accelerator.hardware / "accelerator.bit")
        yield pynq.Overlay(bit), accelerator
    del accelerator


def started(overlay, n: int = 3, cacheable: int = 1):
    overlay.accelerator_0.write(0x18, n)
    source = pynq.allocate((n * INPUT.bytes_per_frame,), np.uint8, cacheable=cacheable)
    target = pynq.allocate((n * OUTPUT.bytes_per_frame,), np.uint8, cacheable=cacheable)
    source[:] = INPUT.pack(frames(n)).reshape(-1)
    return source, target


def test_plain_dma_code_runs(opened) -> None:
    with plain(opened) as (overlay, _):
        source, target = started(overlay)
        overlay.axi_dma_0.recvchannel.transfer(target)
        overlay.axi_dma_0.sendchannel.transfer(source)
        overlay.axi_dma_0.sendchannel.wait()
        overlay.axi_dma_0.recvchannel.wait()
        np.testing.assert_array_equal(OUTPUT.unpack(np.array(target)), toy(frames(3)))
        assert overlay.accelerator_0.register_map.FRAMES_DONE[31:0] == 3


@pytest.mark.parametrize("which", ["input", "output"])
def test_a_dma_that_was_never_started_does_not_hang(which: str, opened) -> None:
    with plain(opened) as (overlay, _):
        source, target = started(overlay)
        dma = overlay.axi_dma_0
        channel, buffer = (
            (dma.recvchannel, target) if which == "input" else (dma.sendchannel, source)
        )
        channel.transfer(buffer)
        with pytest.raises(MachineError, match=f"the {which} DMA was never started"):
            channel.wait()


def test_lengths_that_differ_are_named(opened) -> None:
    with plain(opened) as (overlay, _):
        source, target = started(overlay)
        overlay.accelerator_0.write(0x18, 4)
        overlay.axi_dma_0.recvchannel.transfer(target)
        with pytest.raises(MachineError, match="the lengths of a transfer differ"):
            overlay.axi_dma_0.sendchannel.transfer(source)


def test_a_stray_address_is_named(opened) -> None:
    with plain(opened) as (overlay, _):
        source, target = started(overlay)
        address = target.physical_address
        target.freebuffer()
        target.device_address = address
        overlay.axi_dma_0.recvchannel.transfer(target)
        with pytest.raises(MachineError, match="stray address"):
            overlay.axi_dma_0.sendchannel.transfer(source)


def test_a_missing_flush_is_named(opened) -> None:
    with plain(opened) as (overlay, _):
        source, target = started(overlay)
        overlay.axi_dma_0.recvchannel.transfer(target)
        mmio = overlay.axi_dma_0.mmio
        mmio.write(0x18, source.physical_address & 0xFFFFFFFF)
        with pytest.raises(MachineError, match="missing flush"):
            mmio.write(0x28, source.nbytes)


READS = {
    "index": lambda b: b[0],
    "slice": lambda b: b[:3],
    "sum": lambda b: np.sum(b),
    "compare": lambda b: b == 0,
    "copy": lambda b: b.copy(),
    "differs": lambda b: b != 0,
    "sum method": lambda b: b.sum(),
    "max method": lambda b: b.max(),
    "argmax": lambda b: b.argmax(),
    "astype": lambda b: b.astype(int),
    "tolist": lambda b: b.tolist(),
    "tobytes": lambda b: b.tobytes(),
    "item": lambda b: b.item(0),
    "iterate": lambda b: next(iter(b)),
    "contains": lambda b: 3 in b,
    "view": lambda b: b.view(np.int16),
    "reshape": lambda b: b.reshape(-1, 2),
    "text": lambda b: str(b),
    "concatenate": lambda b: np.concatenate([b, b]),
}


def transferred(overlay):
    """A whole transfer's target, which nobody has invalidated."""
    source, target = started(overlay)
    overlay.axi_dma_0.recvchannel.transfer(target)
    overlay.axi_dma_0.sendchannel.transfer(source)
    while not overlay.axi_dma_0.mmio.read(0x34) & 2:
        pass
    return target


def test_a_missing_invalidate_is_named(opened) -> None:
    with plain(opened) as (overlay, _):
        target = transferred(overlay)
        for name, read in READS.items():
            for _ in range(2):  # reading it does not make it fresh
                with pytest.raises(MachineError, match="missing invalidate"):
                    pytest.fail(f"{name}: {read(target)}")
        target.invalidate()
        for read in READS.values():
            read(target)


def leave_unread(opened, end: str) -> None:
    with plain(opened) as (overlay, _):
        target = transferred(overlay)
        assert not np.asarray(target).any()  # stale, and silently so
        if end == "free":
            target.freebuffer()
        elif end == "garbage":
            del target


@pytest.mark.parametrize("end", ["free", "garbage", "leave"])
def test_a_read_that_numpy_does_not_show_is_named_at_the_end(end: str, opened) -> None:
    with pytest.raises(MachineError, match=r"missing invalidate[\s\S]*nothing has invalidated it"):
        leave_unread(opened, end)


def test_power_rails_are_those_of_the_board(opened) -> None:
    with opened():
        rails = pynq.get_rails()
        assert set(rails) == set(BOARDS[HERE].rails)


def test_errors_are_one_message(opened) -> None:
    with pytest.raises(NarrowgaugeError) as raised, opened(faults=Faults(dead=True)):
        pass
    assert "to do:" in str(raised.value)


# --- measurement ---


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


# --- whose figures they are ---


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
