"""The optimisers of a config, their rates over time, and BNN's rates by the size of a layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainingConfig
from training.network import Network, has_quantised_weights
from training.norms import nearest_power

_MEAN_SHIFT = 2.0**-3
_MAXIMUM_SHIFT = 2.0**-10
_LAST_SHARE = 1e-4


class ShiftAdaMax(torch.optim.Optimizer):
    """BNN's shift-based AdaMax, every factor a power of two; AP2 is `nearest_power`.

    m += 2^-3 * (g - m), v = max(v - 2^-10 * v, |g|),
    w -= AP2(rate / (1 - (1 - 2^-3)^t)) * m / AP2(v), t from 1; nothing where v = 0.
    """

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        if closure is not None:
            raise ValueError("this optimiser takes one gradient per step")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_of(parameter, parameter.grad, group["lr"])

    def _step_of(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["maximum"] = torch.zeros_like(parameter)
        state["step"] += 1
        mean, maximum = state["mean"], state["maximum"]
        mean.add_(gradient - mean, alpha=_MEAN_SHIFT)
        torch.maximum(maximum - _MAXIMUM_SHIFT * maximum, gradient.abs(), out=maximum)
        rate = power_of(rate / (1.0 - (1.0 - _MEAN_SHIFT) ** state["step"]))
        step = rate * mean / nearest_power(maximum)
        parameter.sub_(torch.where(maximum > 0.0, step, 0.0))


def power_of(x: float) -> float:
    """AP2 of a positive number, and 0 of 0."""
    return 2.0 ** round(math.log2(x)) if x > 0.0 else 0.0


def optimiser_of(network: Network, config: TrainingConfig) -> torch.optim.Optimizer:
    """A new optimiser; each of its groups has a `rate_scale` that `set_rate` multiplies by."""
    groups = _groups(network) if config.glorot_scaled_rates else [_group(network.parameters(), 1.0)]
    match config.optimiser:
        case "sgd":
            return torch.optim.SGD(
                groups, lr=config.learning_rate, momentum=config.momentum, fused=True
            )
        case "shift_adamax":
            return ShiftAdaMax(groups, lr=config.learning_rate)
    return torch.optim.Adam(groups, lr=config.learning_rate, fused=True)


def _groups(network: Network) -> list[dict[str, Any]]:
    """BNN: quantised weights step 1 / sqrt(1.5 / (fan in + fan out)) as far, all others as ever."""
    layers = [module for module in network.modules() if has_quantised_weights(module)]
    scaled = {id(layer.weight) for layer in layers}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in scaled]
    return [_group(rest, 1.0), *(_group([layer.weight], _scale_of(layer)) for layer in layers)]


def _scale_of(layer: nn.Module) -> float:
    n_outputs, n_inputs, *kernel = layer.weight.shape
    return 1.0 / math.sqrt(1.5 / ((n_outputs + n_inputs) * math.prod(kernel)))


def _group(parameters: Any, scale: float) -> dict[str, Any]:
    return {"params": list(parameters), "rate_scale": scale}


def rate_at(config: TrainingConfig, done: float) -> float:
    """The learning rate after a share `done` of training: cosine to 0, or 10^-4 exponentially."""
    if config.schedule == "exponential":
        return config.learning_rate * _LAST_SHARE**done
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group["rate_scale"]
