"""People's own code for pynq on a virtual board: what is right runs, what is wrong is named.

Needs pynq. tests/test_deploy_pynq_versions.py runs this file under each supported version of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from toy_bundle import INPUT, OUTPUT, toy
from virtual_boards import HERE, ends_soon, frames, opener

from deploy.boards import BOARDS
from deploy.errors import MachineError, NarrowgaugeError
from deploy.virtual_blocks import Faults

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")


@pytest.fixture(autouse=True)
def ends_in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ends_soon(monkeypatch):
        yield


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., object]:
    return opener(tmp_path)


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
