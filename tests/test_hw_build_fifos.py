"""FIFOs: their places and file, and depths that are enough, and no more, by the exact model."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_graphs import random_image_case
from random_networks import random_case

from deploy.errors import UserError
from hw_build.blocks import Block, ports
from hw_build.cycle_model.deadlock import DeadlockError
from hw_build.fifo_sizing import full_interval, size_fifos
from hw_build.fifos import fifo_places, load_fifos, save_fifos, with_fifos
from hw_build.lowering import lower
from hw_build.timing import predict


def lowered(seed: int, n_parts: int = 4) -> tuple[Block, ...]:
    case = random_image_case(seed, n_inputs=1, n_parts=n_parts)
    return lower(case.graph, case.folding)


def interval_with(blocks: tuple[Block, ...], depths: dict[str, int]) -> float:
    """Cycles from frame to frame, of a host that is always ready; infinite in a deadlock."""
    try:
        return predict(with_fifos(blocks, depths)).interval
    except DeadlockError:
        return float("inf")


def test_a_fifo_lies_between_its_stream_and_who_took_it() -> None:
    blocks = lowered(1)
    stream = fifo_places(blocks)[3]
    made = with_fifos(blocks, {stream.name: 600, fifo_places(blocks)[4].name: 0})
    (fifo,) = (block for block in made if block.module == "deep_fifo")
    assert (fifo.name, fifo.source, fifo.sink.beats) == (
        f"{stream.name}_fifo",
        stream,
        stream.beats,
    )
    assert fifo.parameters["DEPTH"] == 600
    assert fifo.parameters["BLOCK_MEMORY"] == int(600 * stream.width > 6144)
    (taker,) = (block for block in made if fifo.sink in block.sources)
    (before,) = (block for block in blocks if stream in block.sources)
    assert taker.name == before.name
    assert len(made) == len(blocks) + 1
    assert ports(made) == ports(blocks)


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ({"nothing": 4}, "no stream of this name can have a FIFO"),
        ({"s_axis": 4}, "no stream of this name can have a FIFO"),
        ({"s_axis_split": 1}, "impossible FIFO depth"),
    ],
)
def test_an_impossible_fifo_is_refused(depths: dict[str, int], message: str) -> None:
    blocks = lowered(1)
    with pytest.raises(UserError, match=message):
        with_fifos(blocks, depths)


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    blocks, path = lowered(4), tmp_path / "fifos.json"
    depths = size_fifos(blocks)
    assert depths
    path.write_text(save_fifos(depths))
    assert load_fifos(path, blocks) == depths
    for text in ("[]", "{", '{"x": 1.5}', '{"x": true}'):
        path.write_text(text)
        with pytest.raises(UserError, match="not a FIFO file"):
            load_fifos(path, blocks)
    with pytest.raises(UserError, match="not a FIFO file"):
        load_fifos(tmp_path / "none.json", blocks)


def check_full_speed(blocks: tuple[Block, ...]) -> None:
    """The interval of the slowest block by itself, and nothing stuck."""
    depths = size_fifos(blocks)
    assert interval_with(blocks, depths) == float(full_interval(blocks))


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_run_at_full_speed(seed: int) -> None:
    check_full_speed(lowered(seed))


@pytest.mark.nightly
@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_random_graphs_run_at_full_speed(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        check_full_speed(lowered(seed))


def test_many_of_them_would_be_stuck_without_fifos() -> None:
    stuck = sum(interval_with(lowered(seed), {}) == float("inf") for seed in range(25))
    assert stuck >= 10


@pytest.mark.parametrize("seed", range(40))
def test_chains_run_at_full_speed(seed: int) -> None:
    case = random_case(seed, n_inputs=1)
    check_full_speed(lower(case.graph, case.folding))


def test_a_burst_is_kept_for_a_steady_unit() -> None:
    """Without FIFOs this chain is slower than any of its blocks."""
    case = random_case(12, most=9)
    blocks = lower(case.graph, case.folding)
    assert interval_with(blocks, {}) > float(full_interval(blocks))
    check_full_speed(blocks)


@pytest.mark.parametrize("seed", [1, 4, 5, 7, 9])
def test_minimal_depths_are_one_beat_from_too_small(seed: int) -> None:
    blocks = lowered(seed)
    depths = size_fifos(blocks, minimal=True)
    assert depths
    for name, depth in depths.items():
        less = depth - 1 if depth > 2 else 0
        assert interval_with(blocks, {**depths, name: less}) > float(full_interval(blocks))


@pytest.mark.parametrize("seed", [1, 4, 5, 7, 9])
def test_depths_are_near_the_least_of_each_fifo(seed: int) -> None:
    """At most 1.2 times the sum of the least depths, each found with the others as they are."""
    blocks = lowered(seed)
    depths = size_fifos(blocks)
    least = {
        name: next(
            d
            for d in (0, *range(2, depth + 1))
            if interval_with(blocks, {**depths, name: d}) <= float(full_interval(blocks))
        )
        for name, depth in depths.items()
    }
    assert sum(depths.values()) <= 1.2 * sum(least.values())
