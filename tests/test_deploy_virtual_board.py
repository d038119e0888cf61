"""The driver on the real pynq with a virtual board behind it.

Needs pynq. tests/test_deploy_pynq_versions.py runs this file under each supported version of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
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
    toy_files,
    write_toy,
)
from virtual_boards import FINN, HERE, MOVERS, RUNNABLE, ends_soon, frames, opener

from deploy import Accelerator
from deploy.boards import BOARDS
from deploy.bundle import MEMORIES, Bundle
from deploy.errors import GateError, UserError
from deploy.executors import Execution
from deploy.measurement import measure
from deploy.registers import OFFSETS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")

    from deploy.pynq_virtual import virtual_board


@pytest.fixture(autouse=True)
def ends_in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ends_soon(monkeypatch):
        yield


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., object]:
    return opener(tmp_path)


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


class WrongLater(ToyExecutor):
    """Right for the first 20 frames of a transfer, as weights of another network can be."""

    def run(self, data: np.ndarray, frames: int) -> Execution:
        done = super().run(data, frames)
        done.data.reshape(frames, -1)[20:, 0] ^= 1
        return done


@pytest.mark.parametrize("written", [False, True])
def test_more_golden_vectors_are_run_where_weights_were_written(
    written: bool, tmp_path: Path
) -> None:
    weights = {MEMORIES: npy(np.arange(6, dtype=np.uint32))} if written else {}
    path = write_toy(
        tmp_path / "bundle.zip",
        {**toy_files(), **weights},
        board=HERE,
        part=BOARDS[HERE].part,
        memories=[(1, 2), (4, 1)] if written else [],
    )
    bundle = Bundle.read(path)
    right, wrong = (kind(manifest=bundle.manifest) for kind in (ToyExecutor, WrongLater))
    with virtual_board(HERE, bundle.manifest, right) as hardware:
        Accelerator(bundle, hardware=hardware).close()
    names = {offset: name for name, offset in OFFSETS.items()}
    told = [(names[register], value) for register, value in right.written]
    words = [("WORD", 0), ("DATA", 2), ("WORD", 0), ("DATA", 3), ("WORD", 1)]
    assert told[3:10] == ([("DATA", 1), *words[:1], ("MEMORY", 1), *words[1:]] if written else [])
    assert (told[:1], told[-1:]) == (
        ([("WEIGHTS", 0)], [("WEIGHTS", bundle.memories().digest)]) if written else ([], [])
    )
    with virtual_board(HERE, bundle.manifest, wrong) as hardware:
        if written:
            with pytest.raises(GateError, match="disagrees with the golden vectors"):
                Accelerator(bundle, hardware=hardware)
        else:
            Accelerator(bundle, hardware=hardware).close()
