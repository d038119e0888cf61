"""Networks, each built from a config by one function."""

from __future__ import annotations

import copy

import torch
from brevitas.nn import QuantIdentity, QuantLinear
from torch import Tensor, nn

from training.config import NetworkConfig
from training.quantisers import activation_quantiser, weight_quantiser


class ScalarNorm(nn.Module):
    """Normalises all scores of a batch by one mean and one variance, not one per channel.

    Training: y = gamma * (x - mean(x)) / sqrt(var(x) + eps) + beta, over all elements of the
    batch, gamma > 0. Evaluation: running statistics in their place, so that y = scale * x + offset
    with one positive scale: the greatest score stays the greatest, and hardware may take the arg
    max of the integers before it.
    """

    def __init__(self, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.ones(()))
        self.beta = nn.Parameter(torch.zeros(()))
        self.register_buffer("running_mean", torch.zeros(()))
        self.register_buffer("running_var", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, correction=0)
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach(), self.momentum)
        return (x - mean) * (self.gamma / torch.sqrt(var + self.eps)) + self.beta


class ScalarAffine(nn.Module):
    """y = scale * x + offset, two float32 constants: what a trained `ScalarNorm` comes to."""

    def __init__(self, norm: ScalarNorm) -> None:
        super().__init__()
        scale = norm.gamma.detach() / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale)
        self.register_buffer("offset", norm.beta.detach() - norm.running_mean * scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.offset


class FullyConnected(nn.Module):
    """Linear layers without bias, each but the last with batch norm, activation and dropout.

    Input: (N, n_features) in [0, 1]; taken to [-1, 1] by 2x - 1 and quantised, both in the
    network, so that a batch is the data set's own numbers. Output: (N, n_classes) scores.
    """

    def __init__(self, config: NetworkConfig, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.input_quantiser = _activation(config.input_quantiser, or_else=nn.Identity())
        self.input_dropout = nn.Dropout(config.dropout)
        self.hidden = nn.ModuleList()
        for n_neurons in config.hidden:
            layer = nn.Sequential()
            layer.add_module("linear", _linear(config, n_features, n_neurons))
            layer.add_module("norm", nn.BatchNorm1d(n_neurons))
            layer.add_module(
                "activation", _activation(config.activation_quantiser, or_else=nn.ReLU())
            )
            layer.add_module("dropout", nn.Dropout(config.dropout))
            self.hidden.append(layer)
            n_features = n_neurons
        self.output = nn.Sequential()
        self.output.add_module("linear", _linear(config, n_features, n_classes))
        self.output.add_module("norm", ScalarNorm())

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_dropout(self.input_quantiser(2.0 * x - 1.0))
        for layer in self.hidden:
            x = layer(x)
        return self.output(x)

    @torch.no_grad()
    def clip_parameters(self) -> None:
        """After each step: weights that get quantised stay in [-1, 1], the score scale positive."""
        for module in self.modules():
            if isinstance(module, QuantLinear) and module.weight_quant.is_quant_enabled:
                module.weight.clamp_(-1.0, 1.0)
        self.output.norm.gamma.clamp_(min=1e-3)


def build_network(config: NetworkConfig, n_features: int, n_classes: int) -> FullyConnected:
    """A new network with weights drawn from torch's global random state."""
    return FullyConnected(config, n_features, n_classes)


def frozen(network: FullyConnected) -> FullyConnected:
    """A copy in evaluation mode whose every scale is the float32 number that QONNX will carry."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    network.output.norm = ScalarAffine(network.output.norm)
    return network


def _activation(name: str, or_else: nn.Module) -> nn.Module:
    quantiser = activation_quantiser(name)
    return or_else if quantiser is None else QuantIdentity(act_quant=quantiser)


def _linear(config: NetworkConfig, n_inputs: int, n_outputs: int) -> QuantLinear:
    quantiser = weight_quantiser(config.weight_quantiser)
    layer = QuantLinear(n_inputs, n_outputs, bias=False, weight_quant=quantiser)
    if quantiser is not None:
        # Levels are fixed at +-1: start spread over the whole range, not at 1/sqrt(n_inputs).
        nn.init.uniform_(layer.weight, -1.0, 1.0)
    return layer
