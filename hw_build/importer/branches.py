"""Where paths meet: sums and differences of two signals, and channels side by side."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hw_build.graph import Add, Concat, Depthwise
from hw_build.importer.affine import Affine, collapse
from hw_build.importer.dense import flatten
from hw_build.importer.inputs import same_step
from hw_build.importer.layout import Layout
from hw_build.importer.network import Network
from hw_build.importer.products import affine_of, divides_once, is_exact, keep_narrow
from hw_build.importer.settling import flush, is_settled, settle
from hw_build.importer.values import MAX_SUM_BITS, Node, Signal, Value, data, in_text
from hw_build.scalar import Step

MAX_MULTIPLIER = 127
"""Scales of two branches may differ by ratios of integers up to this one."""

SHARE = "quantise both branches with one shared quantiser (Brevitas: the same QuantIdentity)"


def add(node: Node, network: Network, sign: int) -> Value:
    """a + sign * b, both the real numbers of integers with scales of a small integer ratio."""
    a, b = data(node, 0), data(node, 1)
    if a.shape != b.shape:
        raise node.refuse(
            "it broadcasts activations over activations",
            found=f"(batch, {in_text(a.shape)}) and (batch, {in_text(b.shape)})",
            expected="two of the same shape",
        )
    (a, first), (b, second) = (_exact_branch(network, signal, node) for signal in (a, b))
    if a.layout.shape != b.layout.shape or (a.layout.places != b.layout.places).any():
        raise node.refuse(
            "its activations are arranged in two ways",
            found=f"layers of shape {a.layout.shape} and {b.layout.shape}",
            expected="two images, or two vectors, of the same order",
        )
    n_channels = a.n_channels
    factors, scale = _common_scale(first, second, n_channels, node)
    factors[1] *= sign
    shift = sum(
        by * np.broadcast_to(meaning.shift, n_channels)
        for by, meaning in zip(factors, (first, second), strict=True)
    )
    name = network.numbered("add")
    sources = []
    multipliers = []
    for by, source in zip(factors, (a.source, b.source), strict=True):
        uneven = bool((by != by[0]).any())
        if uneven:
            times = Depthwise(network.beside(f"{source}_times"), source, by[:, None])
            source = network.append(times)
        sources.append(source)
        multipliers.append(1 if uneven else int(by[0]))
    layer = Add(name, *sources, tuple(multipliers))
    info = layer.infer(*(network.infos[source] for source in sources))
    limit = 2 ** (MAX_SUM_BITS - 1)
    if info.lo.min() < -limit or info.hi.max() >= limit or not divides_once(info, shift, scale):
        raise node.refuse(
            f"its sums have more than {MAX_SUM_BITS} bits, or round as float64 numbers",
            found=f"integers from {info.lo.min()} to {info.hi.max()}",
            fix="quantise the branches to fewer bits before they meet",
        )
    network.append(layer)
    keep_narrow(network, name)
    parameters = {"scale": scale, "shift": shift, "offset": np.float64(0), "slack": np.float64(0)}
    parameters = {key: collapse(value) for key, value in parameters.items()}
    tensor = node.outputs[0]
    step = Step("affine", parameters, node.name, node.op, tensor)
    return Signal(name, a.layout, tensor, (step,))


def _exact_branch(network: Network, signal: Signal, node: Node) -> tuple[Signal, Affine]:
    """A branch from integers, quantised or not, and what they mean without any rounding."""
    if is_settled(network, signal):
        signal = settle(network, signal, node, image=len(signal.shape) > 1)
    else:
        signal = flush(network, signal)
    meaning = affine_of(signal.steps, node)
    if np.any(meaning.offset) or not is_exact(network, signal, meaning):
        raise node.refuse(
            "one of its branches is no multiple of a scale, exactly",
            found=f"tensor {signal.tensor}, real numbers from layer {signal.source}",
            expected="a quantiser on both branches",
            fix=SHARE,
        )
    return signal, meaning


def _common_scale(
    first: Affine, second: Affine, n_channels: int, node: Node
) -> tuple[list[np.ndarray], np.ndarray]:
    """Integers (C,) for both branches, and scales (C,), with scale_i = integer_i * scale."""
    slopes = [
        np.stack(np.broadcast_arrays(m.scale, m.divisor, np.zeros(n_channels))[:2], axis=1)
        for m in (first, second)
    ]
    factors, scales = [np.empty(n_channels, np.int64) for _ in slopes], np.empty(n_channels)
    for c in range(n_channels):
        a, b = (Fraction(slope[c, 0]) / Fraction(slope[c, 1]) for slope in slopes)
        ratio = a / b if b else Fraction(0)
        most = max(abs(ratio.numerator), ratio.denominator)
        if (
            not ratio
            or most > MAX_MULTIPLIER
            or Fraction(float(b / ratio.denominator)) != (b / ratio.denominator)
        ):
            raise node.refuse(
                "the scales of its branches have no small integer ratio",
                found=f"{float(a):.9g} and {float(b):.9g}"
                + (f" on channel {c}" if len(np.unique(slopes[0])) > 2 else ""),
                expected=f"equal scales, or a ratio of integers up to {MAX_MULTIPLIER}",
                fix=SHARE,
            )
        factors[0][c], factors[1][c] = ratio.numerator, ratio.denominator
        scales[c] = float(b / ratio.denominator)
    return factors, scales


def concat(node: Node, network: Network) -> Value:
    """Channels of several signals, one after the other."""
    signals = [data(node, i) for i in range(len(node.inputs))]
    for signal in signals:
        if not is_settled(network, signal):
            raise node.refuse(
                "one of its branches is not quantised",
                found=f"real numbers in tensor {signal.tensor}, from layer {signal.source}",
                expected="a quantiser on every branch, before they are joined",
                fix=SHARE,
            )
    image = len(signals[0].shape) > 1
    signals = [settle(network, signal, node, image=image) for signal in signals]
    axis = int(node.attributes["axis"])
    axis = axis - 1 if axis > 0 else axis
    signals = [_as_vector(network, signal) for signal in signals]
    for signal in signals:
        usual = signal.layout.is_image or signal.layout.shape == signal.shape
        if not usual or not signal.layout.runs_along(axis):
            raise node.refuse(
                "it doesn't join channels",
                found=f"axis {node.attributes['axis']} of (batch, {in_text(signal.shape)})",
                expected="vectors, or images along axis 1",
            )
    infos = [network.infos[signal.source] for signal in signals]
    if any(info.type != infos[0].type for info in infos):
        raise node.refuse(
            "its branches have different integer types",
            found=", ".join(
                f"{i.type} from {s.source}" for i, s in zip(infos, signals, strict=True)
            ),
            expected="one type",
            fix=SHARE,
        )
    n_channels = sum(signal.n_channels for signal in signals)
    first = signals[0]
    shape = (n_channels, *first.shape[1:])
    if any(signal.shape[1:] != first.shape[1:] for signal in signals):
        raise node.refuse("its branches have different heights or widths")
    steps = _joined_steps(network, signals, node)
    name = network.numbered("concat")
    network.append(Concat(name, tuple(signal.source for signal in signals)))
    network.activations.add(name)
    layout = Layout.image(shape) if len(shape) > 1 else Layout.vector(shape)
    return Signal(name, layout, node.outputs[0], steps)


def _as_vector(network: Network, signal: Signal) -> Signal:
    """A flattened image of one pixel as a vector."""
    layout = signal.layout
    if len(signal.shape) > 1 or len(layout.shape) == 1 or layout.n_pixels > 1:
        return signal
    name = flatten(network, signal.source, f"{signal.source}_flatten")
    return replace(signal, source=name, layout=Layout(layout.places, layout.shape[-1:]))


def _joined_steps(network: Network, signals: list[Signal], node: Node) -> tuple[Step, ...]:
    """From the integers of all channels to their real numbers: the branches' own steps if those
    are the same, otherwise one exact affine step with parameters per channel."""
    if all(_same_steps(signals[0], signal) for signal in signals):
        return tuple(replace(step, tensor="") for step in signals[0].steps)
    parts: dict[str, list[np.ndarray]] = {"scale": [], "shift": []}
    for signal in signals:
        meaning = affine_of(signal.steps, node)
        exact = is_exact(network, signal, meaning) and meaning.divisor == 1
        if np.any(meaning.offset) or not exact:
            raise node.refuse(
                "its branches mean different real numbers, and one is not exactly a scale",
                found=f"tensor {signal.tensor}, from layer {signal.source}",
                expected="the same quantiser on every branch",
                fix=SHARE,
            )
        for key, value in (("scale", meaning.scale), ("shift", meaning.shift)):
            parts[key].append(np.broadcast_to(value, signal.n_channels))
    parameters = {key: collapse(np.concatenate(values)) for key, values in parts.items()}
    parameters |= {"offset": np.float64(0), "slack": np.float64(0)}
    return (Step("affine", parameters, node.name, node.op, node.outputs[0]),)


def _same_steps(a: Signal, b: Signal) -> bool:
    """The same steps, with one parameter for all channels."""
    uneven = any(np.ndim(p) for step in a.steps for p in step.parameters.values())
    return not uneven and len(a.steps) == len(b.steps) and all(map(same_step, a.steps, b.steps))
