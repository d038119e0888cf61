"""What a trained network computes, without rounding noise: PyTorch's side of the gates.

Plain float32 execution is noisy where an accumulator lies on or beside a threshold. Here a network
runs in float64 with every scale and parameter at the float32 value that QONNX carries, linear
layers are summed exactly, and batch norm follows ONNX's formula term by term. The quantisers are
Brevitas' own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from brevitas.nn import QuantIdentity, QuantLinear
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from training.networks import FullyConnected, frozen

_BATCH = 1000


@dataclass(frozen=True, eq=False)
class Quantised:
    """A quantised activation of a batch: real = scale * integers.

    `integers` is int8 of shape (N, C), `scale` float64 of shape () or (C,).
    """

    integers: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network computes for a batch.

    `activations` holds every quantised activation in the order of execution, by the name of its
    module, the input quantiser first. `scores` is float64 (N, n_classes). `accumulators` are the
    last linear layer's exact sums of integer products, int32 (N, n_classes), with
    output of that layer = accumulator_scale * accumulators; None where it is not all integers.
    """

    activations: dict[str, Quantised]
    scores: np.ndarray
    accumulators: np.ndarray | None
    accumulator_scale: np.ndarray | None


class ExactNetwork:
    """A network made ready for exact evaluation; the network given is left as it is."""

    def __init__(self, network: FullyConnected) -> None:
        network = frozen(network)
        # Scales first, as float32 gives them; in double a constant like 1/3 would be another.
        for module in network.modules():
            if isinstance(module, QuantIdentity):
                scale = module.act_quant.scale()
                module.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl = (
                    _FixedScale(scale)
                )
            elif isinstance(module, QuantLinear) and module.weight_quant.is_quant_enabled:
                scale = module.quant_weight().scale
                module.weight_quant.tensor_quant.scaling_impl = _FixedScale(scale)
        self.network = network.double()

    def evaluate(self, inputs: np.ndarray) -> Evaluation:
        """Runs float32 inputs (N, n_features), as the network takes them, in batches."""
        parts = [
            self._evaluate_batch(torch.tensor(inputs[start : start + _BATCH], dtype=torch.float64))
            for start in range(0, len(inputs), _BATCH)
        ]
        first = parts[0]
        activations = {
            name: Quantised(
                _joined(part.activations[name].integers for part in parts), quantised.scale
            )
            for name, quantised in first.activations.items()
        }
        accumulators = None
        if first.accumulators is not None:
            accumulators = _joined(part.accumulators for part in parts)
        scores = _joined(part.scores for part in parts)
        return Evaluation(activations, scores, accumulators, first.accumulator_scale)

    @torch.no_grad()
    def _evaluate_batch(self, inputs: Tensor) -> Evaluation:
        activations: dict[str, Quantised] = {}
        handles = [
            module.register_forward_hook(_recorder(name, activations))
            for name, module in self.network.named_modules()
            if isinstance(module, QuantIdentity)
        ]
        try:
            with _ExactArithmetic():
                scores = self.network(inputs).numpy()
        finally:
            for handle in handles:
                handle.remove()
        accumulators, scale = self._last_accumulators(activations)
        return Evaluation(activations, scores, accumulators, scale)

    def _last_accumulators(
        self, activations: dict[str, Quantised]
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        *_, linear = (m for m in self.network.modules() if isinstance(m, QuantLinear))
        is_last_quantised = isinstance(self.network.hidden[-1].activation, QuantIdentity)
        if not linear.weight_quant.is_quant_enabled or not is_last_quantised:
            return None, None
        weight = linear.quant_weight()
        weights = integers_of(weight.value.numpy(), weight.scale.numpy())
        last = list(activations.values())[-1]
        sums = last.integers.astype(np.int64) @ weights.astype(np.int64).T
        return sums.astype(np.int32), last.scale * weight.scale.numpy().reshape(-1).squeeze()


def integers_of(real: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The int8 array q with real = scale * q, exactly; ValueError where there is none."""
    integers = np.rint(real / scale)
    if not np.array_equal(integers * scale, real) or np.abs(integers).max(initial=0) > 127:
        raise ValueError("a quantised tensor is not its scale times integers of 8 bits")
    return integers.astype(np.int8)


class _FixedScale(nn.Module):
    """Stands in for a Brevitas scaling module: the final scale, whatever the input."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.detach().to(torch.float32).clone())

    def forward(self, x: Tensor, threshold: Tensor | None = None) -> Tensor:
        return self.scale


def _recorder(name: str, activations: dict[str, Quantised]) -> Callable[..., None]:
    def record(module: QuantIdentity, _inputs: Any, output: Tensor) -> None:
        scale = module.act_quant.scale().numpy()
        activations[name] = Quantised(integers_of(output.numpy(), scale), scale.squeeze())

    return record


def _joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(arrays))


class _ExactArithmetic(TorchFunctionMode):
    """Replaces the two functions whose float64 kernels round otherwise than ONNX's formulas."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            return exact_linear(*(getattr(tensor, "value", tensor) for tensor in args), **kwargs)
        if func is functional.batch_norm:
            return _onnx_batch_norm(*args, **kwargs)
        return func(*args, **kwargs)


def exact_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias in float64; the sum of products is the exact one, rounded once.

    x is (N, K), weight (M, K). Each operand is split in a high and a low half of so few bits that
    none of the four partial sums of K products rounds; they are added from high to low, with the
    error of the one sum that may round carried on. That holds for operands whose bits span at most
    twice those of a half (20 each at K = 784), as integers of up to 8 bits times a float32 scale
    do; beyond that the low products round, and the result is still as good as float64's own.
    """
    half_bits = (52 - math.ceil(math.log2(x.shape[-1]))) // 2
    x_high, x_low = _split(x, half_bits)
    w_high, w_low = _split(weight, half_bits)
    high = total = x_high @ w_high.T
    if x_low.any() or w_low.any():
        total = _add_low(high, x_high @ w_low.T + x_low @ w_high.T, x_low @ w_low.T)
    return total if bias is None else total + bias


def _add_low(high: Tensor, middle: Tensor, low: Tensor) -> Tensor:
    """high + middle + low, the error of the first sum carried on into the second."""
    total = high + middle
    carried = total - high
    error = (high - (total - carried)) + (middle - carried)
    return total + (error + low)


def _split(x: Tensor, half_bits: int) -> tuple[Tensor, Tensor]:
    """x = high + low exactly, high a multiple of max|x| * 2^-half_bits rounded to a power of 2."""
    greatest = x.abs().max().item()
    if greatest == 0.0:
        return x, torch.zeros_like(x)
    unit = math.ldexp(1.0, math.frexp(greatest)[1] - half_bits)
    high = torch.round(x / unit) * unit
    return high, x - high


def _onnx_batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, eps as the float32 that ONNX stores."""
    eps = float(np.float32(eps))
    return (x - running_mean) / torch.sqrt(running_var + eps) * weight + bias
