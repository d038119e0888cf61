"""What every network is: a quantised input, a body, and scores with one positive scale."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch import Tensor, nn

from deploy.errors import UserError
from training.layers import AveragePool, Residual, activation_of, linear_of
from training.method_quantiser import TtqQuantiser, bake, has_fixed_range
from training.network_config import NetworkConfig
from training.norms import ShiftNorm
from training.score_norm import ScalarAffine, ScalarNorm

_LEAST_SCALE = 1e-3


class Network(nn.Module):
    """Input: (N, *input_shape) in [0, 1]; output: (N, n_classes) scores.

    The input is taken to [-1, 1] by 2x - 1 and quantised, both in the network, so that a batch is
    the data set's own numbers. A subclass sets `output`, whose `linear` and `norm` are the last
    layer and its `ScalarNorm`, and computes in `body` what `output` takes.

    `input_shape` is (F,), or channels first as PyTorch and ONNX have it: (C, L) or (C, H, W).
    """

    output: nn.Sequential

    def __init__(self, config: NetworkConfig, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.is_normalised = config.normalisation != "none"
        self.input_quantiser = activation_of(config.input_quantiser, or_else=nn.Identity())

    def body(self, x: Tensor) -> Tensor:
        """From the quantised input to what `output` takes."""
        raise NotImplementedError

    def forward(self, x: Tensor, is_quantised: bool = False) -> Tensor:
        """`is_quantised`: x is what `quantised_input` makes of the input."""
        return self.output(self.body(x if is_quantised else self.quantised_input(x)))

    def quantised_input(self, x: Tensor) -> Tensor:
        return self.input_quantiser(2.0 * x - 1.0)

    def arrange(self, images: np.ndarray) -> np.ndarray:
        """A data set's flat images (N, F), channels last, as (N, *input_shape)."""
        channels, *positions = self.input_shape
        images = images.reshape(len(images), *positions, channels)
        return np.ascontiguousarray(np.moveaxis(images, -1, 1))

    @torch.no_grad()
    def clip_parameters(self) -> None:
        """After each step: weights of a fixed range stay in [-1, 1], these scales positive.

        TTQ's two; that of the scores, for the arg max; that of a norm behind an add or an average
        pool, which has no row of weights of its own that hardware could negate.
        """
        for parameter, least, greatest in self._ranges:
            parameter.clamp_(least, greatest)

    @cached_property
    def _ranges(self) -> list[tuple[nn.Parameter, float, float | None]]:
        """Parameters with their least and, if there is one, greatest value."""
        ranges: list[tuple[nn.Parameter, float, float | None]] = []
        for module in self.modules():
            if isinstance(module, TtqQuantiser):
                ranges.append((module.positive, _LEAST_SCALE, None))
                ranges.append((module.negative, _LEAST_SCALE, None))
            elif has_quantised_weights(module) and has_fixed_range(module):
                ranges.append((module.weight, -1.0, 1.0))
            elif isinstance(module, Residual | AveragePool) and self.is_normalised:
                ranges.append((module.norm.weight, _LEAST_SCALE, None))
        if self.is_normalised:
            ranges.append((self.output.norm.gamma, _LEAST_SCALE, None))
        return ranges


def has_quantised_weights(module: nn.Module) -> bool:
    is_layer = isinstance(module, QuantWeightBiasInputOutputLayer)
    return is_layer and module.weight_quant.is_quant_enabled


def score_layer(config: NetworkConfig, n_inputs: int, n_classes: int) -> nn.Sequential:
    """The `output` of a network; without normalisation a bias, and nothing behind it."""
    is_plain = config.normalisation == "none"
    linear = linear_of(
        config.weight_quantiser, n_inputs, n_classes, one_scale=True, has_bias=is_plain
    )
    output = nn.Sequential()
    output.add_module("linear", linear)
    output.add_module("norm", nn.Identity() if is_plain else ScalarNorm())
    return output


AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def frozen(network: AnyNetwork) -> AnyNetwork:
    """A copy in evaluation mode whose every scale is the float32 number that QONNX will carry.

    Raises:
        UserError: the weights are TTQ's.
    """
    for name, module in network.named_modules():
        if isinstance(module, TtqQuantiser):
            raise UserError(
                "TTQ's weights can't be exported, or evaluated exactly",
                where=name.partition(".weight_quant")[0],
                found="ttq, whose two learned scales no uniform quantiser of QONNX holds",
                fix='train with "twn", which has one scale for both signs',
            )
    network = copy.deepcopy(network).eval().requires_grad_(False)
    if network.is_normalised:
        network.output.norm = ScalarAffine(network.output.norm)
    for name, module in list(network.named_modules()):
        if isinstance(module, ShiftNorm):
            _replace(network, name, module.as_batch_norm())
    for module in network.modules():
        if has_quantised_weights(module):
            bake(module)
    return network


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
