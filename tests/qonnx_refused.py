"""QONNX files that a compiler of integer networks must refuse, and the words to refuse them with.

Every entry of `REFUSED` builds a `Refused`: the model, the input's shape, and the words that the
message has to hold: the node, tensor or operator at fault. `runs` says whether the file is sound
QONNX all the same, so that an executor has to run it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto
from qonnx_writer import Writer, random_integers

N_IN, N_OUT = 8, 4


@dataclass(frozen=True)
class Refused:
    """A model of input (batch, 8), and what a message about it names."""

    model: ModelProto
    words: tuple[str, ...]
    runs: bool = True


def _weights(w: Writer, n: int = N_IN, m: int = N_OUT, scale: object = 1.0) -> str:
    return w.quant(w.const(random_integers(w, 2, (n, m)) * scale), scale, 2, narrow=True)


def _finish(w: Writer, out: str, *words: str, runs: bool = True, shape: tuple = (1, N_IN)):
    return Refused(w.model(shape, [out], [(1, N_OUT)]), words, runs)


def float_input() -> Refused:
    """The input reaches the MatMul without a quantiser and without an annotation."""
    w = Writer(21)
    x = w.add("MatMul", "inp", _weights(w))
    return _finish(w, w.quant(x, 1.0, 3), "inp")


def float_weights() -> Refused:
    """Weights without a quantiser, and not integers either."""
    w = Writer(22)
    x = w.quant("inp", 0.25, 4)
    x = w.add("MatMul", x, w.const(w.rng.normal(0, 1, (N_IN, N_OUT))))
    return _finish(w, w.quant(x, 1.0, 3), "MatMul_1")


def unquantised_activation() -> Refused:
    """No quantiser between two layers: the Relu's output is real."""
    w = Writer(23)
    x = w.add("MatMul", w.quant("inp", 0.25, 4), _weights(w, m=N_IN))
    x = w.add("MatMul", w.add("Sigmoid", x), _weights(w))
    return _finish(w, x, w.nodes[-1].name)


def unsupported_sin() -> Refused:
    """An operator that is neither supported nor monotone."""
    w = Writer(24)
    x = w.add("MatMul", w.quant("inp", 0.25, 4), _weights(w))
    return _finish(w, w.quant(w.add("Sin", x), 0.5, 3), "Sin", "Sin_3", runs=False)


def unsupported_lstm() -> Refused:
    """A recurrent network."""
    w = Writer(25)
    x = w.add("Reshape", w.quant("inp", 0.25, 4), w.const([1, 1, N_IN], np.int64))
    recurrent = [
        w.const(w.rng.normal(0, 1, (1, 4 * N_OUT, N_IN))),
        w.const(w.rng.normal(0, 1, (1, 4 * N_OUT, N_OUT))),
    ]
    x = w.add("LSTM", x, *recurrent, hidden_size=N_OUT)
    x = w.add("Reshape", x, w.const([1, N_OUT], np.int64))
    return _finish(w, x, "LSTM", runs=False)


def unknown_domain() -> Refused:
    """A custom operator that nobody here knows."""
    w = Writer(26)
    x = w.add("MatMul", w.quant("inp", 0.25, 4), _weights(w))
    x = w.add("Wavelet", x, domain="com.example.signal")
    return _finish(w, x, "Wavelet", "com.example.signal", runs=False)


def dynamic_features() -> Refused:
    """The number of features is a symbol."""
    w = Writer(27)
    x = w.add("MatMul", w.quant("inp", 0.25, 4), _weights(w))
    return _finish(w, x, "features", shape=("N", "features"))


def non_monotone() -> Refused:
    """The square of the accumulator is quantised: two thresholds per level, not one."""
    w = Writer(28)
    x = w.add("MatMul", w.quant("inp", 0.25, 4), _weights(w))
    x = w.add("Pow", x, w.const(2.0))
    x = w.quant(x, 1.0, 4, signed=False)
    return _finish(w, w.add("MatMul", x, _weights(w, N_OUT)), "Pow")


def residual() -> Refused:
    """An activation is used twice and added to itself, one layer later."""
    w = Writer(29)
    x = w.quant("inp", 0.25, 4)
    y = w.quant(w.add("MatMul", x, _weights(w, m=N_IN)), 0.1234, 4)
    x = w.add("MatMul", w.add("Add", x, y), _weights(w))
    return _finish(w, x, "Add")


def two_outputs() -> Refused:
    """Two heads."""
    w = Writer(30)
    x = w.quant("inp", 0.25, 4)
    heads = [w.add("MatMul", x, _weights(w)), w.add("MatMul", x, _weights(w))]
    return Refused(w.model((1, N_IN), heads, [(1, N_OUT)] * 2), ("output", heads[1]))


def scale_per_input() -> Refused:
    """A weight scale per input channel: no accumulator of one scale exists."""
    w = Writer(31)
    scale = w.rng.uniform(0.1, 0.9, (N_IN, 1)).astype(np.float32)
    x = w.add("MatMul", w.quant("inp", 0.25, 4), _weights(w, scale=scale))
    return _finish(w, x, "MatMul_2")


def activation_scale_per_channel() -> Refused:
    """An activation scale per channel that goes into a MatMul as it is."""
    w = Writer(32)
    x = w.quant("inp", w.rng.uniform(0.1, 0.9, (1, N_IN)), 4)
    return _finish(w, w.add("MatMul", x, _weights(w)), "MatMul_2")


def unknown_rounding() -> Refused:
    """A rounding mode that QONNX does not define."""
    w = Writer(33)
    x = w.quant("inp", 0.25, 4, rounding="STOCHASTIC_ROUND")
    x = w.add("MatMul", x, _weights(w))
    return _finish(w, x, "STOCHASTIC_ROUND", "Quant_0", runs=False)


def zero_scale() -> Refused:
    """A quantiser that divides by zero."""
    w = Writer(34)
    x = w.add("MatMul", w.quant("inp", 0.0, 4), _weights(w))
    return _finish(w, x, "Quant_0", "scale", runs=False)


def nan_weights() -> Refused:
    """A training run that went wrong."""
    w = Writer(35)
    latent = random_integers(w, 2, (N_IN, N_OUT)).astype(np.float32)
    latent[3, 1] = np.nan
    weights = w.quant(w.const(latent), 1.0, 2, narrow=True)
    x = w.add("MatMul", w.quant("inp", 0.25, 4), weights)
    return _finish(w, x, "const_0", runs=False)


def computed_weights() -> Refused:
    """A MatMul of two activations."""
    w = Writer(36)
    x = w.quant("inp", 0.25, 4)
    square = w.add("Reshape", w.quant("inp", 0.25, 4), w.const([1, N_IN // 4, 4], np.int64))
    row = w.add("Reshape", x, w.const([1, 4, N_IN // 4], np.int64))
    x = w.add("Flatten", w.add("MatMul", square, row), axis=1)
    return _finish(w, x, "MatMul")


def dead() -> Refused:
    """Weights that all round to zero: every frame has the same outputs."""
    w = Writer(37)
    x = w.quant("inp", 0.25, 4)
    x = w.add("MatMul", x, w.quant(w.const(w.rng.normal(0, 0.01, (N_IN, 6))), 1.0, 2, narrow=True))
    x = w.quant(w.add("Add", x, w.const(w.rng.normal(0, 1, 6))), 0.5, 3)
    return _finish(w, w.add("MatMul", x, _weights(w, 6)), "dead network")


REFUSED: dict[str, Callable[[], Refused]] = {
    build.__name__: build
    for build in (
        float_input,
        float_weights,
        unquantised_activation,
        unsupported_sin,
        unsupported_lstm,
        unknown_domain,
        dynamic_features,
        non_monotone,
        residual,
        two_outputs,
        scale_per_input,
        activation_scale_per_channel,
        unknown_rounding,
        zero_scale,
        nan_weights,
        computed_weights,
        dead,
    )
}
