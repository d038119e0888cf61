"""What a trained network computes, without rounding noise: PyTorch's side of the gates.

Plain float32 execution is noisy where an accumulator lies on or beside a threshold. Here a network
runs in float64 with every scale and parameter at the float32 value that QONNX carries, sums of
products are exact, and batch norm follows ONNX's formula term by term (see `exact_arithmetic`).
The quantisers are Brevitas' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from brevitas.nn import QuantIdentity
from torch import Tensor, nn

from training.exact_arithmetic import ExactArithmetic
from training.method_quantiser import is_baked
from training.network import Network, frozen, has_quantised_weights

_BATCH_ELEMENTS = 1 << 25
"""Of all quantised activations of a batch together: 256 MB in float64."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """A quantised activation of a batch: real = scale * integers.

    `integers` is int8 of shape (N, C), or channels last (N, L, C), (N, H, W, C); `scale` float64 of
    shape () or (C,).
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

    def __init__(self, network: Network) -> None:
        """
        Raises:
            UserError: the weights are TTQ's.
        """
        network = frozen(network)
        # Scales first, as float32 gives them; in double a constant like 1/3 would be another.
        for module in network.modules():
            if isinstance(module, QuantIdentity):
                scale = module.act_quant.scale()
                module.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl = (
                    _FixedScale(scale)
                )
            elif has_quantised_weights(module) and not is_baked(module):
                scale = module.quant_weight().scale
                module.weight_quant.tensor_quant.scaling_impl = _FixedScale(scale)
        self.network = network.double()

    def evaluate(self, inputs: np.ndarray) -> Evaluation:
        """Runs float32 inputs (N, *input_shape), as the network takes them."""
        parts = [part for _, part in self.batches(inputs)]
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

    def batches(self, inputs: np.ndarray) -> Iterator[tuple[slice, Evaluation]]:
        """The same in batches that fit in memory: which of the inputs, and what comes of them."""
        one = self._evaluate_batch(torch.tensor(inputs[:1], dtype=torch.float64))
        n_elements = sum(quantised.integers.size for quantised in one.activations.values())
        size = max(1, min(1000, _BATCH_ELEMENTS // max(1, n_elements)))
        for start in range(0, len(inputs), size):
            part = slice(start, min(start + size, len(inputs)))
            yield part, self._evaluate_batch(torch.tensor(inputs[part], dtype=torch.float64))

    @torch.no_grad()
    def _evaluate_batch(self, inputs: Tensor) -> Evaluation:
        activations: dict[str, Quantised] = {}
        last: list[Tensor] = []
        handles = [
            module.register_forward_hook(_recorder(name, activations))
            for name, module in self.network.named_modules()
            if isinstance(module, QuantIdentity)
        ]
        linear = self.network.output.linear
        handles.append(linear.register_forward_pre_hook(lambda _, given: last.append(given[0])))
        try:
            with ExactArithmetic():
                scores = self.network(inputs).numpy()
        finally:
            for handle in handles:
                handle.remove()
        accumulators, scale = _accumulators(linear, last[0], list(activations.values()))
        return Evaluation(activations, scores, accumulators, scale)


def _accumulators(
    linear: nn.Module, given: Tensor, activations: list[Quantised]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The last layer's sums from what it was given, which has the scale of the last quantiser."""
    if not has_quantised_weights(linear) or not activations:
        return None, None
    weight = linear.quant_weight()
    weights = integers_of(weight.value.numpy(), weight.scale.numpy())
    try:
        levels = integers_of(given.numpy(), activations[-1].scale)
    except ValueError:
        return None, None  # Activations in floating point behind a quantised input.
    sums = levels.astype(np.int64) @ weights.astype(np.int64).T
    return sums.astype(np.int32), activations[-1].scale * weight.scale.numpy().reshape(-1).squeeze()


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
        integers = integers_of(output.numpy(), scale)
        activations[name] = Quantised(np.moveaxis(integers, 1, -1), scale.squeeze())

    return record


def _joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(arrays))
