"""A stuck accelerator, explained: which blocks wait for each other, and on which streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.errors import GateError

from ..blocks import Block

VALID, READY, WANTED = 1, 2, 4
"""Bits of a stream's state: `WANTED` if its receiver stands still for want of it."""


class DeadlockError(GateError):
    """No beat will ever move again. `streams` are those of the circle, in its order."""

    def __init__(self, what: str, streams: tuple[str, ...], **parts: str) -> None:
        super().__init__(what, **parts)
        self.streams = streams


@dataclass(frozen=True)
class _Wait:
    """`waiter` waits until `other` takes from (`full`) or puts into the stream."""

    waiter: str
    other: str
    stream: str
    full: bool

    def __str__(self) -> str:
        if self.full:
            return f"{self.waiter} waits until {self.other} takes from {self.stream}"
        return f"{self.waiter} waits until {self.other} offers on {self.stream}"


HOST = "the host"


def deadlock(blocks: tuple[Block, ...], states: Mapping[str, int], cycle: int) -> DeadlockError:
    """The error for a model in which nothing can move, from the states of its streams."""
    waits = _waits(blocks, states)
    circle = _circle(waits)
    streams = tuple(wait.stream for wait in circle)
    full = [wait.stream for wait in circle if wait.full]
    return DeadlockError(
        "deadlock: blocks wait for each other",
        streams,
        where=f"cycle {cycle}; streams {', '.join(streams)}",
        found="; ".join(map(str, circle)),
        fix=f"a deeper FIFO on {' or '.join(full)} (--fifo auto finds the depth)" if full else "",
    )


def _waits(blocks: tuple[Block, ...], states: Mapping[str, int]) -> dict[str, list[_Wait]]:
    """For each block whom it waits for: who has not taken its beats, or else who sends it none."""
    senders = {stream.name: block.name for block in blocks for stream in block.sinks}
    receivers = {stream.name: block.name for block in blocks for stream in block.sources}
    waits: dict[str, list[_Wait]] = {}
    for block in blocks:
        found = [
            _Wait(block.name, receivers.get(stream.name, HOST), stream.name, True)
            for stream in block.sinks
            if states[stream.name] & VALID and not states[stream.name] & READY
        ]
        waits[block.name] = found or [
            _Wait(block.name, senders.get(stream.name, HOST), stream.name, False)
            for stream in block.sources
            if states[stream.name] & WANTED and not states[stream.name] & VALID
        ]
    return waits


def _circle(waits: dict[str, list[_Wait]]) -> list[_Wait]:
    """A closed chain of waits; if there is none, a wait for the host."""
    left = {block: found for block, found in waits.items() if found}
    while left:
        # who waits only for somebody that waits for nobody is in no circle
        kept = {
            block: [wait for wait in found if wait.other in left] for block, found in left.items()
        }
        kept = {block: found for block, found in kept.items() if found}
        unchanged, left = len(kept) == len(left), kept
        if unchanged:
            break
    if not left:
        return [wait for found in waits.values() for wait in found if wait.other == HOST][:1]
    chain = [next(iter(left.values()))[0]]
    while all(wait.waiter != chain[-1].other for wait in chain):
        chain.append(left[chain[-1].other][0])
    first = next(i for i, wait in enumerate(chain) if wait.waiter == chain[-1].other)
    return chain[first:]
