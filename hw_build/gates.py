"""Gates: executors of the same network, compared for equality of integers. No tolerance, no flag.

An executor in reals (the oracle) is decoded to integers first; that is a decision of which integer
is meant, not a tolerance: a real number off its grid is itself a mismatch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.errors import GateError, UserError
from hw_build.graph import Meaning

GRID_RESIDUAL = 2.0**-20
"""How far from an integer, in steps, a decoded real may lie.

float64 leaves about 2**-52 of a value: 2**-21 of a step for an accumulator of 2**31 steps, the
widest there is. Another integer is a million times further away.
"""


@dataclass(frozen=True)
class GateResult:
    """A gate that was passed: its name, the frames compared, and the differences, of which 0."""

    name: str
    vectors: int
    mismatches: int = 0


def decode(real: np.ndarray, meaning: Meaning, name: str, start: int = 0) -> np.ndarray:
    """The int64 array q with real = scale * q + offset; `start` is the first frame's number.

    q = rint((real - offset) / scale). Where (real - offset) / scale lies further than 2**-20 from
    q, the tensor isn't what `meaning` says it is.

    Raises:
        GateError: a value off the grid, or not finite.
    """
    with np.errstate(invalid="ignore"):  # NaN and infinity are off the grid as well
        steps = (np.asarray(real, np.float64) - meaning.offset) / meaning.scale
        integers = np.rint(steps)
        off = ~(np.abs(steps - integers) <= GRID_RESIDUAL)
    if off.any():
        index = _first(off)
        raise GateError(
            f"tensor {meaning.tensor} isn't on the grid of its integers",
            where=f"layer {name!r}, {_place(index, start)}",
            found=f"{real[index]!r}, which is step {steps[index]!r}; "
            f"{np.count_nonzero(off)} of {off.size} values are off",
            expected="a whole step",
        )
    return integers.astype(np.int64)


def compare(
    gate: str, layer: str, expected: np.ndarray, got: np.ndarray, start: int = 0
) -> GateResult:
    """Passes if two integer arrays, frames first, have the same shape and values.

    `start` is the number of the first frame, where these are some of many.

    Raises:
        GateError: names the first difference and counts them all; or there is nothing to compare.
    """
    expected, got = _integers(expected), _integers(got)
    where = f"gate {gate!r}, layer {layer!r}"
    if expected.shape != got.shape:
        raise GateError(
            "executors disagree on a shape",
            where=where,
            found=f"shape {got.shape}",
            expected=f"shape {expected.shape}",
        )
    if not expected.size:
        raise GateError("a gate without vectors shows nothing", where=where, found="0 vectors")
    differs = expected != got
    if differs.any():
        index = _first(differs)
        frames = np.count_nonzero(differs.reshape(len(differs), -1).any(axis=1))
        raise GateError(
            "executors disagree",
            where=f"{where}, {_place(index, start)}",
            found=f"{got[index]}; {np.count_nonzero(differs)} of {differs.size} values differ, "
            f"in {frames} of {len(differs)} frames",
            expected=f"{expected[index]}",
        )
    return GateResult(gate, len(expected))


def compare_layers(
    gate: str,
    expected: Mapping[str, np.ndarray],
    got: Mapping[str, np.ndarray],
    order: Sequence[str],
    start: int = 0,
) -> GateResult:
    """Compares layers in `order`, which is the network's, up to the first that differs.

    That one is named, for it is the cause; later layers differ in consequence. `start` is the
    number of the first frame.

    Raises:
        GateError: as `compare`; or a layer is missing, or layers have different numbers of frames.
    """
    if not order:
        raise GateError("a gate without layers shows nothing", where=f"gate {gate!r}")
    frames: set[int] = set()
    for layer in order:
        if layer not in expected or layer not in got:
            raise GateError("an executor left a layer out", where=f"gate {gate!r}, layer {layer!r}")
        frames.add(compare(gate, layer, expected[layer], got[layer], start).vectors)
    if len(frames) > 1:
        raise GateError(
            "layers were compared on different numbers of frames",
            where=f"gate {gate!r}",
            found=", ".join(map(str, sorted(frames))),
            expected="one number",
        )
    return GateResult(gate, frames.pop())


def argmax_ties(scores: np.ndarray) -> int:
    """The number of frames whose greatest score occurs more than once; `scores` is (N, classes).

    Of an image (N, H, W, classes) the number of pixels is counted.
    The class of such a frame is the lowest index among equals: a convention, not a decision.
    """
    ties = (scores == scores.max(axis=-1, keepdims=True)).sum(axis=-1) > 1
    return int(np.count_nonzero(ties))


class Variation:
    """Which channels of each layer vary from frame to frame, over any number of batches.

    A dead network passes every comparison and is worthless. Give it quantised layers and scores,
    in the network's order, over inputs that differ; not classes, which may well be one.
    """

    def __init__(self) -> None:
        self._first: dict[str, np.ndarray] = {}
        self._constant: dict[str, np.ndarray] = {}
        self._n_frames: dict[str, int] = {}

    def add(self, layers: Mapping[str, np.ndarray]) -> None:
        """Looks at the layers' integers of some more frames, (N, ..., C) each."""
        for name, layer in layers.items():
            first = self._first.setdefault(name, layer[:1].copy())
            constant = (layer == first).reshape(-1, layer.shape[-1]).all(axis=0)
            self._constant[name] = self._constant.get(name, True) & constant
            self._n_frames[name] = self._n_frames.get(name, 0) + len(layer)

    def constant_channels(self, name: str) -> int:
        """The number of channels (the last axis) of which no pixel varies from frame to frame."""
        return int(self._constant[name].sum())

    def require(self, names: Iterable[str]) -> None:
        """Every one of these layers varies.

        Raises:
            UserError: a layer has the same values in all frames; or there are less than 2 frames.
        """
        for name in names:
            n_frames, n_channels = self._n_frames[name], len(self._constant[name])
            if n_frames < 2:
                raise UserError(
                    "too few inputs to tell a dead network from a live one",
                    where=f"layer {name!r}",
                    found=f"{n_frames}",
                    expected="at least 2, different ones",
                )
            if self._constant[name].all():
                raise UserError(
                    "dead network: a layer has the same values for every input",
                    where=f"layer {name!r}",
                    found=f"all {n_channels} channels constant over {n_frames} inputs",
                    fix="train longer or with another seed; weights that all round to zero do this",
                )


def _integers(array: np.ndarray) -> np.ndarray:
    """int64; anything but integers is a mistake of the caller."""
    array = np.asarray(array)
    if array.dtype.kind not in "iu":
        raise TypeError(f"a gate compares integers, not {array.dtype}")
    return array.astype(np.int64)


def _first(mask: np.ndarray) -> tuple[int, ...]:
    """The index of the first true element."""
    return tuple(int(i) for i in np.unravel_index(np.argmax(mask), mask.shape))


def _place(index: tuple[int, ...], start: int) -> str:
    """An index in words: frame first, counted from `start`, channel last."""
    frame = f"frame {start + index[0]}"
    if len(index) == 1:
        return frame
    middle = "".join(f", position {i}" for i in index[1:-1])
    return f"{frame}{middle}, channel {index[-1]}"
