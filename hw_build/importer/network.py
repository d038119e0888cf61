"""Builds the integer graph while the importer walks through the QONNX nodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from deploy.errors import UserError
from hw_build.graph import Graph, Input, Layer, MatVec, Meaning, TensorInfo, Threshold
from hw_build.importer.affine import Affine, collapse, product
from hw_build.importer.levels import dequantisation, fits, grid, quantised_again, widest
from hw_build.importer.products import affine_of, divides_once, is_followed
from hw_build.importer.thresholds import Staircase, find_staircase
from hw_build.importer.values import (
    MAX_BITS,
    MAX_INPUT_BITS,
    MAX_SUM_BITS,
    Constant,
    Node,
    Signal,
)
from hw_build.importer.weights import (
    common_scale,
    integer_matrix,
    on_a_grid,
    require_vector,
    scale_per_output,
)
from hw_build.input_quantiser import InputQuantiser
from hw_build.scalar import Step, direction, evaluate

SLACK = 2.0**-47
"""How far, relative to the sum of magnitudes, two float64 evaluations of one sum may be apart."""


@dataclass
class Network:
    """The layers so far, the ranges proven for them, and what their integers mean.

    `integer_input` is the quantiser of integer inputs that the file annotates or the user
    declares, None where the inputs are real numbers; `input_refusal` says what is wrong with an
    annotation that can't be used, `seen_type` that the user's inputs were all there was to go by.
    `quantisers` maps layers to the step that made their integers.
    """

    input_shape: tuple[int, ...]
    input_name: str
    integer_input: InputQuantiser | None = None
    input_refusal: UserError | None = None
    seen_type: str = ""
    quantiser: InputQuantiser | None = None
    layers: list[Layer] = field(default_factory=list)
    infos: dict[str, TensorInfo] = field(default_factory=dict)
    meanings: dict[str, Meaning] = field(default_factory=dict)
    quantisers: dict[str, Step] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def graph(self) -> Graph:
        return Graph(tuple(self.layers), dict(self.meanings))

    def mean(self, name: str, tensor: str, affine: Affine) -> None:
        """Records what a layer's integers stand for in a QONNX tensor."""
        scale, offset = np.asarray(affine.slope), np.asarray(affine.total_offset)
        self.meanings[name] = Meaning(tensor, scale, offset)

    def dense(self, signal: Signal, weights: Constant, node: Node) -> Signal:
        """A fully connected layer: `weights` of shape (inputs, outputs), without its bias.

        Its accumulators stand for scale * (accumulator + shift) + offset, the first step of the
        signal that it returns; a division follows where no float scale is exact (pixels / 255).
        """
        require_vector(signal, weights, node)
        source, tail = self.integers(signal, node)
        weights = on_a_grid(weights)
        if weights.integers is None or weights.scale is None:
            raise node.refuse(
                "fc weights are float",
                found=f"weights of shape {weights.value.shape} without a quantiser",
                expected=f"weights of 1 to {MAX_BITS} bits from a Quant or BipolarQuant",
                fix="quantise them with Quant or BipolarQuant (Brevitas: QuantLinear)",
            )
        levels, steps = self._levels(source, tail)
        meaning = affine_of(steps, node)
        ratios, common = common_scale(meaning.scale, len(weights.integers), node)
        weight_scale = scale_per_output(weights.scale, node)
        matrix = integer_matrix(weights.integers * ratios[:, None], bool(ratios.max() > 1), node)
        name = f"fc{sum(isinstance(layer, MatVec) for layer in self.layers)}"
        self._require_sums_fit(matrix, source, node)
        self.append(MatVec(name, source, matrix))

        scale, exact = product(np.float64(common), weight_scale)
        shift = matrix @ np.broadcast_to(meaning.shift, len(ratios))
        offset = (matrix @ np.broadcast_to(meaning.offset / ratios, len(ratios))) * weight_scale
        exact &= not np.any(offset)
        exact &= (meaning.exact and is_followed(tail)) or meaning.equals_on(levels, steps)
        divisor = meaning.divisor
        if divisor != 1 and not (exact and divides_once(self.infos[name], shift, scale)):
            scale, divisor, exact = scale / divisor, np.float64(1), False
        parameters = {"scale": scale, "shift": shift, "offset": offset, "slack": np.float64(0)}
        if not exact:
            info = self.infos[source]
            largest = np.maximum(abs(info.lo + meaning.shift), abs(info.hi + meaning.shift))
            largest = largest + abs(meaning.offset / meaning.slope)
            parameters["slack"] = (abs(matrix) @ largest) * abs(scale) * SLACK
        parameters = {key: collapse(value) for key, value in parameters.items()}
        made = node.outputs[0]
        after = (node.name, node.op)
        made_by = [Step("affine", parameters, *after, made if divisor == 1 else "")]
        if divisor != 1:
            made_by.append(Step("div", {"by": divisor}, *after, made))
        return Signal(name, (*signal.shape[:-1], len(matrix)), made, tuple(made_by))

    def integers(self, signal: Signal, node: Node) -> tuple[str, tuple[Step, ...]]:
        """Makes the layer whose integers `signal` consists of, for `node` to read.

        Returns the layer's name, and the steps that follow its quantiser in the graph.
        """
        signal = quantised_again(signal)
        index = signal.last_quantiser
        if index is None:
            if signal.source or self.integer_input is None:
                raise self._unquantised(signal, node)
            sent = self.quantiser = self.integer_input
            if self.seen_type:
                text = f"input: {self.seen_type}, as its values are; the file does not say"
                self.notes.append(text)
            self.append(Input("input", (signal.n_channels,), sent.type))
            self.mean("input", self.input_name, Affine.identity().then(sent.meaning))
            return "input", signal.steps if sent.scale == 1 else (sent.meaning, *signal.steps)
        head, tail = signal.steps[: index + 1], signal.steps[index + 1 :]
        last = head[-1]
        most = widest(signal)
        if not fits(last, most):
            raise node.refuse(
                f"its activations have more than {most} bits",
                found=f"levels {last.low} to {last.high} from node {last.node}",
                expected=f"1 to {MAX_BITS} bits, 1 to {MAX_INPUT_BITS} at the network's input",
                fix="quantise the activations to fewer bits",
            )
        if signal.source:
            name = self._make_threshold(signal.source, head)
        else:
            name, shape = "input", self.input_shape
            self.quantiser = InputQuantiser(shape, last.level_type, last.low, last.high, head)
            self.append(Input(name, (signal.n_channels,), last.level_type))
        self.quantisers[name] = last
        self.mean(name, last.tensor, Affine.of_quantiser(last))
        return name, tail

    def _require_sums_fit(self, matrix: np.ndarray, source: str, node: Node) -> None:
        x = self.infos[source]
        positive, negative = np.maximum(matrix, 0), np.minimum(matrix, 0)
        lo, hi = positive @ x.lo + negative @ x.hi, positive @ x.hi + negative @ x.lo
        limit = 2 ** (MAX_SUM_BITS - 1)
        if lo.min() < -limit or hi.max() >= limit:
            raise node.refuse(
                f"its sums have more than {MAX_SUM_BITS} bits",
                found=f"sums from {lo.min()} to {hi.max()}: {matrix.shape[1]} inputs of {x.type}, "
                f"weights of {MatVec('', source, matrix).weight_bits} bits",
                expected=f"{-limit} to {limit - 1}",
                fix="quantise the inputs or the weights to fewer bits",
            )

    def append(self, layer: Layer) -> None:
        """Adds a layer and proves its ranges."""
        self.layers.append(layer)
        self.infos[layer.name] = layer.infer(*(self.infos[name] for name in layer.sources))

    def _levels(self, source: str, tail: tuple[Step, ...]) -> tuple[np.ndarray, tuple[Step, ...]]:
        """All integers of a layer, and the steps from an integer to the real number it is."""
        if source not in self.quantisers:
            sent = self.quantiser
            return np.arange(sent.lo, sent.hi + 1, 2 if sent.type.bipolar else 1), tail
        last = self.quantisers[source]
        return grid(last), (*dequantisation(last), *tail)

    def _unquantised(self, signal: Signal, node: Node) -> UserError:
        if not signal.source and self.input_refusal is not None:
            return self.input_refusal
        if not signal.source:
            return node.refuse(
                "the network's input reaches it without a quantiser",
                found=f"real numbers from input {self.input_name}",
                expected="integers",
                fix="put a quantiser first (Brevitas: QuantIdentity), or say which integers the "
                "input takes: --input-type UINT8 (or BIPOLAR, INT4, TERNARY, FIXED<16,6> ...), "
                "or the same as a quantization_annotation finn_datatype in the file",
            )
        return node.refuse(
            "its activations are float: no quantiser since the layer before",
            found=f"real numbers in tensor {signal.tensor}",
            expected="a Quant or BipolarQuant between two layers",
            fix="train the network with quantised activations",
        )

    def _make_threshold(self, source: str, head: tuple[Step, ...]) -> str:
        """The Threshold of a quantiser and of all steps before it, onto a MatVec.

        Rows of channels that fall are negated, and their thresholds are those of the negative.
        """
        last, name = head[-1], f"{source}_act"
        info = self.infos[source]
        targets = np.arange(last.low, last.high, last.stride) + last.stride
        where = f"node {last.node}, layer {name}"
        runs = direction(head, info.n_channels)

        def levels(x: np.ndarray) -> np.ndarray:
            reached = last.levels(evaluate(head[:-1], x))
            if np.isnan(reached).any():
                raise UserError("the activations overflow to no number", where=where)
            return reached

        found = find_staircase(levels, info.lo, info.hi, targets, runs, where)
        if np.any(head[0].parameters["slack"]):
            _require_clear(found, head, info, where)
        thresholds = found.thresholds
        if found.flipped.any():
            self._negate_rows(source, found.flipped, where)
        self.append(Threshold(name, source, thresholds, last.low, last.stride, last.level_type))
        self._note(name, found)
        return name

    def _negate_rows(self, name: str, rows: np.ndarray, where: str) -> None:
        old = self.layers.pop()
        weights = np.where(rows[:, None], -old.weights, old.weights)
        widest = 2 ** (MAX_BITS - 1)
        if weights.max() >= widest:
            output, channel = np.argwhere(weights >= widest)[0]
            raise UserError(
                f"a channel that falls needs its weights negated, and -{widest} has no negative",
                where=f"{where}, output {output}",
                found=f"weight -{widest} from input {channel}",
                expected=f"weights of {MAX_BITS} bits from {1 - widest} to {widest - 1}",
                fix="quantise the weights with narrow range",
            )
        self.append(replace(old, weights=weights))

    def _note(self, name: str, found: Staircase) -> None:
        n_channels, way = len(found.constant), "table" if found.tabulated else "bisection"
        constant, flipped = int(found.constant.sum()), int(found.flipped.sum())
        text = f"{name}: thresholds of {n_channels} channels by {way}"
        if flipped:
            text += f", {flipped} fall and have their weights negated"
        if constant:
            text += f", {constant} are constant"
        self.notes.append(text)


def _require_clear(found: Staircase, head: tuple[Step, ...], info: TensorInfo, where: str) -> None:
    """Refuses thresholds on which the graph's own rounding of its inputs would decide.

    Where activations are themselves rounded reals (pixels / 255), a sum that lies on a tie of the
    quantiser goes up or down by noise, and is no function of the integer accumulator.
    """
    first, last, slack = head[0], head[-1], head[0].parameters["slack"]
    sign = np.where(found.flipped, -1, 1)
    for below in (0, 1):
        x = np.clip(sign * (found.thresholds.T - below), info.lo, info.hi).astype(np.float64)
        low, high = (
            last.levels(evaluate(head[1:-1], first(x) + nudge)) for nudge in (-slack, slack)
        )
        if (low != high).any():
            k, c = np.argwhere(low != high)[0]
            raise UserError(
                "a sum lies on a rounding tie that only float rounding decides",
                where=f"{where}, channel {c}",
                found=f"accumulator {int(x[k, c])}, whose real inputs are themselves rounded",
                expected="inputs whose scale and offset are exact, such as x / 256, or no tie",
                fix="quantise the input after its scaling, or scale it by powers of two",
            )
