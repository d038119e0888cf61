"""FINN's own reading of a QONNX file against the exact executor, quantiser by quantiser.

FINN's conversion of the file and its float32 execution run in a process of their own
(`hw_build.finn.front_end_worker`). The oracle runs the file as QONNX defines it, in float64; what
it computes goes on, at every quantiser, with the levels that FINN found there. So each quantiser is
compared by itself, on the very levels that FINN had before it, and no difference hides behind an
earlier one.

QONNX rounds half to even, FINN counts thresholds x >= t, which is half up. What a quantiser of
FINN's rounds has to be as near to the exact value as float32 allows
(`hw_build.finn.float32_error`), and a level that differs is explained where it is the neighbour
across a tie, k + 1/2 steps, and the one that FINN's own value is to give: with t the tie rounded to
float32, the upper one from t on. Then

- the exact value is on the tie, and FINN's level the upper one: a rounding tie; or
- float32 has put FINN's value or threshold across.

Anything else stops the flow, as do scores further apart than float32 allows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from deploy.errors import GateError
from hw_build.finn.float32_error import Float32Error
from hw_build.finn.flow import require_finn, run_process
from hw_build.finn.quantisers import (
    QUANTISERS,
    Quantiser,
    place,
    quantisers_of,
    rounded_by,
    scores_of,
)
from hw_build.finn.result import FrontEnd
from hw_build.oracle import Oracle

VALUES_AT_ONCE = 1 << 21
"""Of the compared tensors: with what is computed beside them, some hundred MB."""

ROUNDINGS = ("ROUND", "HALF_EVEN")


def check_front_end(model: Path, inputs: np.ndarray, folder: Path) -> FrontEnd:
    """FINN's reading of `model`, compared with the oracle's.

    Args:
        model: the QONNX file.
        inputs: (N, ...) numbers as the model takes them; used in float32.
        folder: takes the job and FINN's graphs; made if absent.

    Raises:
        GateError: a difference that is no rounding tie.
        MachineError: finn-plus or a package that it needs is missing, or the process was killed.
    """
    require_finn()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    inputs = inputs.astype(np.float32)
    file = onnx.load(model)
    onnx.save(file, folder / "model.onnx")
    np.save(folder / "inputs.npy", inputs)
    run_process("hw_build.finn.front_end_worker", folder)
    refused = json.loads((folder / "worker.json").read_text())["refused"]
    if refused is not None:
        return FrontEnd(refused)
    cleaned, converted = (onnx.load(folder / name) for name in ("cleaned.onnx", "converted.onnx"))
    with np.load(folder / "tensors.npz") as tensors:
        result = compare(file, cleaned, converted, inputs, dict(tensors))
    (folder / "tensors.npz").unlink()  # large, and made again in seconds
    return result


def compare(
    file: ModelProto,
    cleaned: ModelProto,
    converted: ModelProto,
    inputs: np.ndarray,
    found: Mapping[str, np.ndarray],
) -> FrontEnd:
    """FINN's execution of `converted` against the oracle's of `cleaned`, which is `file`.

    `found` holds what FINN's execution made of `inputs`, (N, ...) by tensor: what the quantisers
    make, what FINN rounds to make that (`rounded_by`), and the scores.

    Raises:
        GateError: a difference that is neither a rounding tie nor float32's rounding.
    """
    quantisers = quantisers_of(cleaned, file)
    kept = {node.output[0] for node in converted.graph.node if node.op_type in QUANTISERS}
    left = tuple(each.name for each in quantisers if each.tensor in kept)
    for each in quantisers:
        if each.tensor not in found:
            raise GateError("FINN's graph lacks a quantiser of the file", where=each.name)
        if each.name not in left and each.rounding not in ROUNDINGS:
            why = f"FINN ignores the rounding mode {each.rounding} of {each.name}"
            return FrontEnd(f"converted, but not compared: {why}")
    comparison = _Comparison(cleaned, converted, quantisers, left)
    per_frame = sum(array[0].size for array in found.values())
    step = max(1, VALUES_AT_ONCE // per_frame)
    for start in range(0, len(inputs), step):
        rows = slice(start, start + step)
        block = {name: array[rows] for name, array in found.items()}
        comparison.add(inputs[rows], block, start)
    return FrontEnd(
        frames=len(inputs),
        quantisers=len(quantisers),
        left=left,
        ties=dict(comparison.ties),
        float32=dict(comparison.float32),
        frames_touched=comparison.frames_touched,
        class_changes=comparison.class_changes,
    )


class _Comparison:
    """What was counted so far, block by block of frames."""

    def __init__(
        self,
        cleaned: ModelProto,
        converted: ModelProto,
        quantisers: list[Quantiser],
        left: tuple[str, ...],
    ) -> None:
        self.ties: Counter[str] = Counter()
        self.float32: Counter[str] = Counter()
        self.frames_touched = 0
        self.class_changes: int | None = None
        self._quantisers, self._left = quantisers, left
        self._scores, self._found_scores = scores_of(cleaned), scores_of(converted)
        self._oracle = Oracle(cleaned)
        self._bounds = Float32Error(converted, [each.tensor for each in quantisers])
        self._rounded = {each.tensor: rounded_by(converted, each.tensor) for each in quantisers}

    def add(self, inputs: np.ndarray, found: Mapping[str, np.ndarray], start: int) -> None:
        """Compares some more frames, of which `start` is the first."""
        levels = {each.tensor: each.levels(found[each.tensor], start) for each in self._quantisers}
        given = {each.tensor: levels[each.tensor] * each.scale for each in self._quantisers}
        wanted = [name for each in self._quantisers for name in (each.tensor, each.source)]
        exact = self._oracle.run(inputs, [*wanted, self._scores], given)
        bounds = self._bounds(inputs, given, [*self._rounded.values(), self._found_scores])
        touched = np.zeros(len(inputs), bool)
        for each in self._quantisers:
            rounded = self._rounded[each.tensor]
            values, bound = found[rounded], bounds[rounded]
            values = np.maximum(values, 0) if each.of_relu else values
            _require_near(
                "rounds other values", each.name, values, exact[each.source], bound, start
            )
            expected = np.rint(exact[each.tensor] / each.scale)
            exact_steps = exact[each.source] / each.scale
            differs = self._explain(each, expected, levels[each.tensor], values, exact_steps, start)
            touched |= differs.reshape(len(inputs), -1).any(axis=1)
        scores, exact_scores = found[self._found_scores], exact[self._scores]
        if self._scores not in self._rounded:  # else these are levels, compared already
            bound = bounds[self._found_scores]
            _require_near("ends in other scores", self._scores, scores, exact_scores, bound, start)
        self.frames_touched += int(np.count_nonzero(touched))
        if scores.ndim == 2 and scores.shape[1] > 1:
            if touched.any():  # in the others, all that FINN had before the scores was exact
                own = self._oracle.run(inputs[touched], [self._scores])
                exact_scores[touched] = own[self._scores]
            changed = np.count_nonzero(scores.argmax(axis=1) != exact_scores.argmax(axis=1))
            self.class_changes = (self.class_changes or 0) + int(changed)

    def _explain(
        self,
        quantiser: Quantiser,
        expected: np.ndarray,
        levels: np.ndarray,
        values: np.ndarray,
        exact_steps: np.ndarray,
        start: int,
    ) -> np.ndarray:
        """Where the levels differ, once all of these are explained and counted.

        `values` is what FINN rounded, float32; `exact_steps` what the oracle did, in steps.
        """
        differs, up = expected != levels, levels > expected
        tie = (expected + levels) / 2
        if quantiser.name in self._left:  # not thresholds: values / scale, half to even
            steps = values / quantiser.scale.astype(np.float32)
            across = np.where(up, steps >= tie, steps <= tie)
        else:
            threshold = (tie * quantiser.scale).astype(np.float32)
            across = np.where(up, values >= threshold, values < threshold)
        explained = differs & across & (np.abs(levels - expected) == quantiser.step)
        unexplained = differs & ~explained
        if unexplained.any():
            index = tuple(np.argwhere(unexplained)[0].tolist())
            raise GateError(
                "FINN's own reading of the file differs, and not by a rounding tie",
                where=place(quantiser.name, index, start),
                found=f"level {levels[index]:g}; {np.count_nonzero(unexplained)} of "
                f"{unexplained.size} levels of this quantiser differ so in these frames",
                expected=f"level {expected[index]:g}, of {float(exact_steps[index])} steps",
            )
        ties = explained & up & (exact_steps == tie)
        for counter, values in ((self.ties, ties), (self.float32, explained & ~ties)):
            if values.any():
                counter[quantiser.name] += int(np.count_nonzero(values))
        return differs


def _require_near(
    what: str,
    tensor: str,
    found: np.ndarray,
    exact: np.ndarray,
    bound: np.ndarray,
    start: int,
) -> None:
    """GateError where float32 does not account for the distance from the exact values."""
    far = ~(np.abs(found - exact) <= bound)
    if far.any():
        index = tuple(np.argwhere(far)[0].tolist())
        raise GateError(
            f"FINN's own reading of the file {what}",
            where=place(tensor, index, start),
            found=f"{found[index]}; {np.count_nonzero(far)} of {far.size} are as far off",
            expected=f"{exact[index]}, give or take float32's {bound[index]:.1e}",
        )
