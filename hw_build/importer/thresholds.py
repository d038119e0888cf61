"""Integer thresholds of a scalar function, found by evaluating it on integers and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deploy.errors import UserError

TABLE_LIMIT = 4_000_000
"""Evaluations (accumulator values x channels) up to which a function is tabulated whole."""

CHUNK = 1 << 18

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Staircase:
    """An increasing staircase per channel, over x or, where `flipped`, over -x.

    `thresholds` is an int64 array of shape (C, K): entry k is the least integer of the range at
    which level k + 1 is reached: lo where it always is, hi + 1 where it never is. `constant`
    marks channels that take one level only. `tabulated` says that every value was evaluated.
    """

    thresholds: np.ndarray
    flipped: np.ndarray
    constant: np.ndarray
    tabulated: bool


def find_staircase(
    function: Function,
    lo: np.ndarray,
    hi: np.ndarray,
    targets: np.ndarray,
    direction: np.ndarray | None,
    where: str,
) -> Staircase:
    """The thresholds of `function` on the integers lo <= x <= hi of each channel.

    Args:
        function: float64 (n, C) accumulators to float64 (n, C) levels, elementwise.
        lo, hi: int64 arrays of shape (C,).
        targets: the levels above the lowest, ascending, shape (K,).
        direction: (C,) signs where the function is known to be monotone, else None.
        where: the layer or node, for messages.

    Raises:
        UserError: a channel rises and falls, or neither proof of monotonicity is affordable.
    """
    span = int((hi - lo).max()) + 1
    if span * len(lo) <= TABLE_LIMIT:
        return _from_table(function, lo, hi, targets, span, where)
    if direction is None:
        raise UserError(
            "the activation is not known to be monotone, and its table is too large",
            where=where,
            found=f"{span:,} accumulator values on {len(lo)} channels",
            expected=f"monotone steps, or at most {TABLE_LIMIT:,} values in all",
            fix="use a monotone activation (Relu, Clip, Sigmoid, Tanh), or fewer bits",
        )
    return _by_bisection(function, lo, hi, targets, direction, where)


def _from_table(
    function: Function,
    lo: np.ndarray,
    hi: np.ndarray,
    targets: np.ndarray,
    span: int,
    where: str,
) -> Staircase:
    n_channels = len(lo)
    table = np.empty((span, n_channels), np.int32)
    rows = max(1, CHUNK // n_channels)
    for start in range(0, span, rows):
        index = np.arange(start, min(start + rows, span))[:, None]
        # Channels of a shorter range repeat their last value, which changes no staircase.
        table[start : start + rows] = function(np.minimum(lo + index, hi).astype(np.float64))
    up, down = _directions(table)
    _require_monotone(table, up | down, lo, where)
    flipped, constant = down & ~up, up & down
    thresholds = np.empty((n_channels, len(targets)), np.int64)
    columns = np.ascontiguousarray(table.T)
    for c, column in enumerate(columns):
        if flipped[c]:  # x >= -(the last x that reaches the level), on -x
            reached = np.searchsorted(-column, -targets, side="right")
            thresholds[c] = -np.minimum(lo[c] + reached - 1, hi[c])
        else:
            below = np.searchsorted(column, targets, side="left")
            thresholds[c] = np.minimum(lo[c] + below, hi[c] + 1)
    return Staircase(thresholds, flipped, constant, tabulated=True)


def _directions(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which columns never fall, and which never rise."""
    rise = np.diff(table, axis=0)
    return (rise >= 0).all(axis=0), (rise <= 0).all(axis=0)


def _require_monotone(table: np.ndarray, good: np.ndarray, lo: np.ndarray, where: str) -> None:
    if good.all():
        return
    c = int(np.argmin(good))
    changes = np.flatnonzero(np.diff(table[:, c]))
    first = np.sign(table[changes[0] + 1, c] - table[changes[0], c])
    turn = next(i for i in changes if np.sign(table[i + 1, c] - table[i, c]) != first)
    raise UserError(
        "the function between accumulator and quantiser is not monotone",
        where=f"{where}, channel {c}",
        found=f"level {table[changes[0], c]} first {'rises' if first > 0 else 'falls'}, then at "
        f"accumulator {lo[c] + turn} turns from {table[turn, c]} to {table[turn + 1, c]}",
        expected="levels that only rise or only fall: thresholds can say nothing else",
        fix="use a monotone activation (Relu, Clip, LeakyRelu, Sigmoid, Tanh)",
    )


def _by_bisection(
    function: Function,
    lo: np.ndarray,
    hi: np.ndarray,
    targets: np.ndarray,
    direction: np.ndarray,
    where: str,
) -> Staircase:
    sign = np.where(direction < 0, -1, 1)
    first, last = np.where(sign > 0, lo, -hi), np.where(sign > 0, hi, -lo)
    thresholds = np.empty((len(targets), len(lo)), np.int64)
    rows = max(1, CHUNK // len(lo))
    for start in range(0, len(targets), rows):
        levels = targets[start : start + rows, None]
        a = np.broadcast_to(first, (len(levels), len(lo)))
        b = np.broadcast_to(last + 1, a.shape)
        while (a < b).any():
            middle = (a + b) // 2
            reached = function((sign * np.minimum(middle, last)).astype(np.float64)) >= levels
            reached |= middle > last  # only where a == b already
            a, b = np.where(reached, a, np.minimum(middle + 1, b)), np.where(reached, middle, b)
        thresholds[start : start + rows] = a
        _check_neighbours(function, a, sign, first, last, where)
    constant = ((thresholds <= first) | (thresholds > last)).all(axis=0)
    flipped = (sign < 0) & ~constant
    # A constant channel needs no turning: its levels are reached always or never on x as well.
    on_x = np.where(thresholds <= first, lo, hi + 1)
    thresholds = np.where((sign < 0) & constant, on_x, thresholds)
    return Staircase(np.ascontiguousarray(thresholds.T), flipped, constant, tabulated=False)


def _check_neighbours(
    function: Function,
    thresholds: np.ndarray,
    sign: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    where: str,
) -> None:
    """Around every threshold the function must rise.

    Arithmetic is monotone by proof; exp and tanh of a math library are monotone but for their
    last bit, which could only show here.
    """
    around = [np.clip(thresholds + delta, first, last) for delta in range(-4, 4)]
    levels = np.stack([function((sign * x).astype(np.float64)) for x in around])
    rises = (np.diff(levels, axis=0) >= 0).all(axis=(0, 1))
    if not rises.all():
        raise UserError(
            "the function between accumulator and quantiser is not monotone",
            where=f"{where}, channel {int(np.argmin(rises))}",
            fix="use a monotone activation (Relu, Clip, LeakyRelu, Sigmoid, Tanh)",
        )
