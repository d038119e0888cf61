"""Quantisers of weights and activations, each a small Brevitas injector with a constant scale.

All take real numbers to real numbers, y = s * q, with q an integer and s a constant, rounding half
to even, and all are carried exactly by QONNX:

| name       | levels q              | s             | QONNX node     |
|------------|-----------------------|---------------|----------------|
| `float`    | none: y = x           |               | none           |
| `binary`   | -1 where x < 0, else 1 | 1            | `BipolarQuant` |
| `intB`     | -m .. m, m = 2^(B-1)-1 | 1 / m        | `Quant`, narrow |

with B from 2 to 8; `int2` is ternary: levels {-1, 0, 1}, thresholds at +-1/2. Real outputs lie in
[-1, 1] always, so a weight or an activation beyond that range saturates.

Gradients are straight-through. An activation's dL/dx is dL/dy where x does not saturate, that is
where |x| <= 1 for `binary` and where x rounds to a level without being clipped, |x| < 1 + s/2, for
`intB`; it is 0 beyond. A weight's is dL/dy; the training loop clips weights to [-1, 1].

An activation's `binary_learned` and `intB_learned` learn their reach a, 1 at the start and at least
2^-10: s = a and s = a / m. u = x / s is rounded and clipped to q, straight-through, so that

    dL/dx = dL/dy where u is not clipped, else 0
    dL/ds = sum of dL/dy * (q - u) where u is not clipped, of dL/dy * q elsewhere

which is LSQ's gradient without its factor. In QONNX they are `binary` and `intB` with another s.

Weights may also follow one of the methods of `weight_methods`, whose scale depends on the weights
or whose levels Brevitas does not know.
"""

from __future__ import annotations

from brevitas.core.bit_width import BitWidthImplType
from brevitas.core.restrict_val import FloatToIntImplType, RestrictValueType
from brevitas.core.scaling import ScalingImplType
from brevitas.core.zero_point import ZeroZeroPoint
from brevitas.inject import ExtendedInjector
from brevitas.inject.enum import QuantType
from brevitas.quant.solver import ActQuantSolver, WeightQuantSolver

from training.method_quantiser import MethodQuantiser, TtqQuantiser
from training.weight_methods import METHODS

# The bits of every quantiser that has integer levels, by its name in a config.
LEVEL_BITS = {"binary": 1} | {f"int{bits}": bits for bits in range(2, 9)}
NAMES = ("float", *LEVEL_BITS)
WEIGHT_NAMES = (*NAMES, *METHODS, "ttq")
_LEARNED = "_learned"
LEARNED_NAMES = tuple(name + _LEARNED for name in LEVEL_BITS)
# DoReFa's activations, whose levels start at 0; see `activations` for the other names. With 8 bits
# they would reach 255, and activations are signed bytes all the way to the board.
ACTIVATION_METHOD_BITS = {f"dorefa{bits}": bits for bits in range(1, 8)}
ACTIVATION_NAMES = (
    *NAMES,
    *LEARNED_NAMES,
    "quinary",
    "binary_stochastic",
    *ACTIVATION_METHOD_BITS,
)
_LEAST_REACH = 2.0**-10


class _ConstantScale(ExtendedInjector):
    """What all levels share: one symmetric range [-1, 1] per tensor, known before training."""

    signed = True
    narrow_range = True
    zero_point_impl = ZeroZeroPoint
    float_to_int_impl_type = FloatToIntImplType.ROUND
    bit_width_impl_type = BitWidthImplType.CONST
    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    scaling_per_output_channel = False


class _Weights(_ConstantScale, WeightQuantSolver):
    scaling_const = 1.0


class _Activations(_ConstantScale, ActQuantSolver):
    min_val = -1.0
    max_val = 1.0


def weight_quantiser(name: str, one_scale: bool = False) -> type[ExtendedInjector] | None:
    """The Brevitas `weight_quant` of a quantiser's name; None leaves weights in floating point.

    With `one_scale` a method with a scale per channel becomes the one with a scale per tensor.
    """
    if name == "ttq":
        return _Weights.let(tensor_quant=TtqQuantiser)
    if name in METHODS:
        if not one_scale or METHODS[name].per_tensor is None:
            return _Weights.let(tensor_quant=MethodQuantiser, method=name)
        return weight_quantiser(METHODS[name].per_tensor)
    return _with_levels(_Weights, name)


def activation_quantiser(name: str) -> type[ExtendedInjector] | None:
    """The Brevitas `act_quant` of a quantiser's name; None leaves activations unquantised."""
    quantiser = _with_levels(_Activations, name.removesuffix(_LEARNED))
    if quantiser is None or not name.endswith(_LEARNED):
        return quantiser
    return quantiser.let(scaling_impl_type=ScalingImplType.PARAMETER, scaling_min_val=_LEAST_REACH)


def unsigned_quantiser(bits: int) -> type[ExtendedInjector]:
    """The Brevitas `act_quant` of levels 0 .. n over n = 2^bits - 1."""
    return _Activations.let(
        bit_width=bits, quant_type=QuantType.INT, signed=False, narrow_range=False, min_val=0.0
    )


def _with_levels(kind: type[ExtendedInjector], name: str) -> type[ExtendedInjector] | None:
    if name == "float":
        return None
    quant_type = QuantType.BINARY if name == "binary" else QuantType.INT
    return kind.let(bit_width=LEVEL_BITS[name], quant_type=quant_type)
