"""The host's part of a network: from inputs as the QONNX model takes them to integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.errors import UserError
from hw_build.graph import IntType
from hw_build.scalar import Step, evaluate

CHUNK_ROWS = 512


@dataclass(frozen=True, eq=False)
class InputQuantiser:
    """Elementwise float64 steps from the model's input to the integers of the graph's Input.

    `shape` is the model's input without the batch; its values are taken in row-major order. They
    become the vector (C,) of the graph's Input or, where `image` is given, that image (H, W, C);
    a model that is `channels_first` has them channel by channel, others pixel by pixel.
    Parameters of the steps are of shape (), (C,), or the image's. The last step is a quantiser,
    and its levels are what is sent. Without steps the inputs are integers from `lo` to `hi` times
    `scale`, a power of two, and are checked to be.
    """

    shape: tuple[int, ...]
    type: IntType
    lo: int
    hi: int
    steps: tuple[Step, ...] = ()
    scale: float = 1.0
    image: tuple[int, int, int] | None = None
    channels_first: bool = False

    @property
    def sent_shape(self) -> tuple[int, ...]:
        """Of the integers of a frame: the shape of the graph's Input."""
        return self.image or (int(np.prod(self.shape)),)

    @property
    def is_identity(self) -> bool:
        return not self.steps and self.scale == 1

    @property
    def meaning(self) -> Step:
        """From integers that are sent to the model's inputs, where nothing is quantised."""
        return Step("mul", {"by": np.float64(self.scale)})

    @property
    def n_values(self) -> int:
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype:
        """The narrowest numpy integer type that holds lo to hi."""
        for bits in (8, 16, 32):
            kind = np.dtype(f"int{bits}" if self.lo < 0 else f"uint{bits}")
            if np.iinfo(kind).min <= self.lo and self.hi <= np.iinfo(kind).max:
                return kind
        return np.dtype(np.int64)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Integers of shape (N, *sent_shape) for inputs of shape (N, *shape) or (N, values).

        float32 inputs are widened exactly; float64 inputs are used as they are.

        Raises:
            UserError: a wrong shape, not a number, or, for integer inputs, a value that is no
                integer of the range.
        """
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[1:] not in (tuple(self.shape), (self.n_values,)):
            raise UserError(
                "the inputs have the wrong shape",
                found=str(x.shape),
                expected=f"(N, {', '.join(map(str, self.shape))}), as the QONNX model takes them",
            )
        if x.dtype.kind not in "biuf":
            raise UserError("the inputs are not numbers", found=f"dtype {x.dtype}")
        x = self._as_sent(x)
        out = np.empty(x.shape, self.dtype)
        for start in range(0, len(x), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            out[rows] = self._levels(x[rows].astype(np.float64), start)
        return out

    def _as_sent(self, x: np.ndarray) -> np.ndarray:
        """Inputs as the model takes them, (N, *shape), as (N, *sent_shape)."""
        if self.image is None or not self.channels_first:
            return x.reshape(len(x), *self.sent_shape)
        height, width, n_channels = self.image
        return np.moveaxis(x.reshape(len(x), n_channels, height, width), 1, -1)

    def _as_modelled(self, x: np.ndarray) -> np.ndarray:
        """The inverse of `_as_sent`, float32."""
        if self.image is not None and self.channels_first:
            x = np.moveaxis(x, -1, 1)
        return x.astype(np.float32).reshape(len(x), *self.shape)

    def _levels(self, x: np.ndarray, start: int) -> np.ndarray:
        if self.steps:
            levels = self.steps[-1].levels(evaluate(self.steps[:-1], x))
            good = ~np.isnan(levels) & np.isfinite(x)
            what, expected = "an input is not a number", "finite values"
        else:
            levels = x / self.scale
            good = (levels == np.rint(levels)) & (levels >= self.lo) & (levels <= self.hi)
            if self.type.bipolar:
                good &= levels != 0
            what = "an input is not an integer of the network's input type"
            expected = f"{self.type}: " + ("-1 or +1" if self.type.bipolar else self._range)
        if not good.all():
            frame, *place = np.argwhere(~good)[0].tolist()
            value = "value" if self.image is None else "row, column, channel"
            raise UserError(
                what,
                where=f"frame {start + frame}, {value} {', '.join(map(str, place))}",
                found=str(x[frame, *place]),
                expected=expected,
            )
        return levels

    @property
    def _range(self) -> str:
        times = "" if self.scale == 1 else f", times {self.scale:g}"
        return f"integers from {self.lo} to {self.hi}{times}"

    def random_inputs(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` seeded random inputs, float32 of shape (n, *shape), that reach every level.

        Half of the values are uniform over the range in which levels change and a step beyond;
        the others lie on a grid of half steps, where rounding ties are. Where there are so many
        levels that chance would leave the outermost out, one value in 32 is one of those.
        """
        rng = np.random.default_rng(seed)
        size = (n, *self.sent_shape)
        if not self.steps:
            values = np.arange(self.lo, self.hi + 1, 2 if self.type.bipolar else 1)
            x = self._at_ends(rng, rng.choice(values, size), values[0], values[-1]) * self.scale
            return self._as_modelled(x)
        low, high = self._span()
        uniform = rng.uniform(size=size) * (high - low) + low
        step = self._step(low, high)
        grid = np.rint(uniform / step) * step
        x = np.where(rng.random(size) < 0.5, uniform, grid)
        x = self._at_ends(rng, x, low, high)
        return self._as_modelled(x)

    def _at_ends(self, rng: np.random.Generator, x: np.ndarray, low, high) -> np.ndarray:
        if self.hi - self.lo < 256:
            return x
        drawn = rng.random(x.shape)
        return np.where(drawn < 1 / 64, low, np.where(drawn >= 63 / 64, high, x))

    def _step(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Half the distance between two neighbouring levels, in the input's units."""
        return (high - low) / max(2, 2 * (self.hi - self.lo + 1))

    def _span(self) -> tuple[np.ndarray, np.ndarray]:
        """Where levels change, per value sent and one level wider on both sides."""
        magnitudes = 2.0 ** np.arange(-40, 41)
        probes = np.concatenate([-magnitudes[::-1], [0.0], magnitudes])
        shape = self.sent_shape
        if all(np.size(p) <= shape[-1] for s in self.steps for p in s.parameters.values()):
            shape = shape[-1:]  # the same for all pixels
        reals = np.broadcast_to(probes.reshape(-1, *(1 for _ in shape)), (len(probes), *shape))
        levels = self.steps[-1].levels(evaluate(self.steps[:-1], reals))
        moved = levels != levels[0]
        first = np.where(moved.any(axis=0), moved.argmax(axis=0), len(probes) // 2 + 1)
        ended = levels[::-1] != levels[-1]
        last = len(probes) - 1 - np.where(ended.any(axis=0), ended.argmax(axis=0), first)
        low = self._edge(probes[first - 1], probes[first], levels[0])
        top = np.minimum(last + 1, len(probes) - 1)
        high = self._edge(probes[top], probes[last], levels[-1])
        low, high = np.minimum(low, high), np.maximum(low, high)
        n_levels = self.hi - self.lo + 1
        two_sided = np.maximum(np.abs(low), 1.0)
        margin = (high - low) / (n_levels - 2) if n_levels > 2 else np.zeros_like(low)
        margin = np.where((margin > 0) & (not self.type.bipolar), margin, two_sided)
        return low - margin, high + margin

    def _edge(self, outside: np.ndarray, inside: np.ndarray, level: np.ndarray) -> np.ndarray:
        """The last input with the outermost `level`, to 40 bisections."""
        for _ in range(40):
            middle = (outside + inside) / 2
            same = self.steps[-1].levels(evaluate(self.steps[:-1], middle)) == level
            outside, inside = np.where(same, middle, outside), np.where(same, inside, middle)
        return outside

    def to_json(self) -> dict[str, Any]:
        return {
            "shape": list(self.shape),
            "type": str(self.type),
            "lo": self.lo,
            "hi": self.hi,
            "steps": [step.to_json() for step in self.steps],
            "scale": self.scale,
            "image": None if self.image is None else list(self.image),
            "channels_first": self.channels_first,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> InputQuantiser:
        """The inverse of `to_json`; KeyError or ValueError for anything else."""
        steps = tuple(Step.from_json(step) for step in fields["steps"])
        kind, lo, hi = IntType.parse(fields["type"]), int(fields["lo"]), int(fields["hi"])
        shape = tuple(int(n) for n in fields["shape"])
        image = None if fields["image"] is None else tuple(int(n) for n in fields["image"])
        scale, channels_first = float(fields["scale"]), bool(fields["channels_first"])
        return cls(shape, kind, lo, hi, steps, scale, image, channels_first)
