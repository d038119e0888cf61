"""Cycles that an accelerator takes, predicted before simulation.

The interval is that of the busiest block. The latency of a frame that finds the pipeline empty is
computed beat by beat: each block turns the cycles at which its input beats are taken into the
cycles at which its output beats are taken, as its RTL does when nobody makes it wait.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .blocks import Block


@dataclass(frozen=True)
class Cycles:
    """`interval`: cycles from frame to frame; `latency`: from the cycle that offers a frame's
    first beat to the one in which its last result leaves, both counted; `port`: the interval of
    the slower of the two ports alone."""

    interval: int
    latency: int
    port: int


def predict(blocks: tuple[Block, ...]) -> Cycles:
    """Interval and latency of the chain, in cycles."""
    port = max(blocks[0].source.beats, blocks[-1].sink.beats)
    taken = np.arange(blocks[0].source.beats)
    for block in blocks:
        taken = _MODELS[block.module](taken, block)
    interval = max(port, *(block.cycles for block in blocks))
    return Cycles(interval, int(taken[-1]) + 1, port)


def _one_by_one(ready: np.ndarray) -> np.ndarray:
    """Cycles at which beats pass when at most one passes a cycle, in order."""
    steps = np.arange(len(ready))
    return np.maximum.accumulate(ready - steps) + steps


def _split(taken: np.ndarray, block: Block) -> np.ndarray:
    parts = np.repeat(taken, int(block.parameters["RATIO"]))
    return _one_by_one(parts[: block.sink.beats])


def _join(taken: np.ndarray, block: Block) -> np.ndarray:
    ratio = int(block.parameters["RATIO"])
    padding = block.sink.beats * ratio - len(taken)
    passed = np.concatenate([taken, taken[-1] + 1 + np.arange(padding)])
    return passed[ratio - 1 :: ratio] + 1


def _mvu(taken: np.ndarray, block: Block) -> np.ndarray:
    fold_in, fold_out = int(block.parameters["FOLD_IN"]), int(block.parameters["FOLD_OUT"])
    # a beat can be read the cycle after it was taken; replays follow without a gap
    ready = np.concatenate([taken + 1, np.zeros(fold_in * (fold_out - 1), np.int64)])
    fired = _one_by_one(ready)
    stages = 3 + max(0, int(block.parameters["LEVEL_BITS"]) - 1)
    return fired[fold_in - 1 :: fold_in] + stages


def _arg_max(taken: np.ndarray, block: Block) -> np.ndarray:
    return taken[-1:] + 1


_MODELS = {"lane_splitter": _split, "lane_joiner": _join, "mvu": _mvu, "arg_max": _arg_max}
