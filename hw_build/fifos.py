"""FIFOs on named streams: where they are put, and the file that their depths are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deploy.errors import UserError

from .blocks import Block, Stream, inner_streams, ports
from .resources import ram_in_block_memory

LEAST_DEPTH = 2
"""Beats of the smallest FIFO that the RTL has."""


def with_fifos(blocks: tuple[Block, ...], depths: Mapping[str, int]) -> tuple[Block, ...]:
    """The blocks with a FIFO of `depths[x]` beats on each stream x; depth 0 is none.

    Stream x then ends at its FIFO, the block `x_fifo`, and goes on as the stream `x_fifo`.

    Raises:
        UserError: no such stream between two blocks, or no such depth.
    """
    depths = {name: depth for name, depth in depths.items() if depth}
    _check(blocks, depths)
    renamed: dict[str, Stream] = {}
    made: list[Block] = []
    for block in blocks:
        sources = tuple(renamed.get(stream.name, stream) for stream in block.sources)
        made.append(replace(block, sources=sources))
        for stream in block.sinks:
            if stream.name in depths:
                fifo = fifo_block(stream, depths[stream.name])
                renamed[stream.name] = fifo.sink
                made.append(fifo)
    return tuple(made)


def fifo_block(stream: Stream, depth: int) -> Block:
    """The FIFO behind a stream; block RAM holds it where LUTs would be many."""
    sink = replace(stream, name=f"{stream.name}_fifo")
    parameters: dict[str, int | str] = {
        "WIDTH": stream.width,
        "DEPTH": depth,
        "BLOCK_MEMORY": int(depth > LEAST_DEPTH and ram_in_block_memory(depth, stream.width)),
    }
    return Block("deep_fifo", sink.name, (stream,), (sink,), parameters, stream.beats)


def fifo_places(blocks: tuple[Block, ...]) -> tuple[Stream, ...]:
    """The streams that may have a FIFO: those between two blocks, in the blocks' order."""
    last = ports(blocks)[1]
    return tuple(stream for stream in inner_streams(blocks) if stream.name != last.name)


def _check(blocks: tuple[Block, ...], depths: Mapping[str, int]) -> None:
    places = [stream.name for stream in fifo_places(blocks)]
    for name, depth in depths.items():
        if name not in places:
            raise UserError(
                "no stream of this name can have a FIFO",
                where=name,
                expected=f"one of {', '.join(places)}",
            )
        if depth < LEAST_DEPTH:
            raise UserError(
                "impossible FIFO depth",
                where=name,
                found=str(depth),
                expected=f"{LEAST_DEPTH} beats or more, or 0 for none",
            )


def save_fifos(depths: Mapping[str, int]) -> str:
    """The depths as JSON text, as `--fifo FILE` takes it."""
    return json.dumps(dict(depths), indent=2) + "\n"


def load_fifos(path: Path, blocks: tuple[Block, ...]) -> dict[str, int]:
    """Depths from a file that a run wrote, checked against the blocks; UserError otherwise."""
    try:
        depths = json.loads(path.read_text())
        if not isinstance(depths, dict) or any(type(depth) is not int for depth in depths.values()):
            raise ValueError("not a table of streams and depths")
    except (OSError, ValueError) as error:
        raise UserError(
            "not a FIFO file",
            where=str(path),
            found=str(error),
            expected='{"relu1_fork1": 130, ...}: beats by the name of a stream',
            fix="start from the fifos.json of a run",
        ) from error
    _check(blocks, {name: depth for name, depth in depths.items() if depth})
    return depths
