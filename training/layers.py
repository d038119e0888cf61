"""The layers of a convolutional network: each from its config and the shape that comes in.

A shape is (C, H, W), (C, L) in one dimension, or (F,) behind a dense layer. Every layer that learns
is linear without bias, then a norm, then the activation's quantiser. Quantisers have constant
scales, the same on all branches, so that what is added or joined is integers of one scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deploy.errors import UserError
from training import network_config as config_of
from training.activations import quantised_activation
from training.dropout import Dropout
from training.gradients import with_quantised_gradient
from training.method_quantiser import has_fixed_range
from training.norms import norm_of
from training.weighted_layers import Conv1d, Conv2d, Linear

Shape = tuple[int, ...]

_CONVOLUTIONS = {1: Conv1d, 2: Conv2d}
_MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
_AVERAGE_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d}


def activation_of(quantiser_name: str, or_else: nn.Module) -> nn.Module:
    """The quantiser of a name; `or_else` where activations stay in floating point."""
    return quantised_activation(quantiser_name) or or_else


def linear_of(
    quantiser_name: str,
    n_inputs: int,
    n_outputs: int,
    *,
    one_scale: bool = False,
    has_bias: bool = False,
) -> Linear:
    """`one_scale`: for the scores, whose greatest is to be the greatest integer's."""
    return _with_spread_weights(
        Linear(quantiser_name, n_inputs, n_outputs, one_scale=one_scale, bias=has_bias)
    )


def _with_spread_weights(layer: nn.Module) -> nn.Module:
    if layer.weight_quant.is_quant_enabled and has_fixed_range(layer):
        # Levels are fixed at +-1: start spread over the whole range, not at 1/sqrt(n_inputs).
        nn.init.uniform_(layer.weight, -1.0, 1.0)
    return layer


class Residual(nn.Module):
    """activation(norm(branch(x) + shortcut(x))), the sum of two tensors of the same scale."""

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module, norm: nn.Module, activation: nn.Module
    ) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut
        self.norm, self.activation = norm, activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.branch(x) + self.shortcut(x)))


class AveragePool(nn.Module):
    """activation(norm(pool(x))), pool the mean of each window."""

    def __init__(self, pool: nn.Module, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.pool, self.norm, self.activation = pool, norm, activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.pool(x)))


class Fire(nn.Module):
    """expand1(s) and expand3(s) of s = squeeze(x), joined along the channels in this order."""

    def __init__(self, squeeze: nn.Module, expand1: nn.Module, expand3: nn.Module) -> None:
        super().__init__()
        self.squeeze, self.expand1, self.expand3 = squeeze, expand1, expand3

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.expand1(x), self.expand3(x)], dim=1)


@dataclass(frozen=True)
class LayerBuilder:
    """Makes the layers of one network. Every method returns the layer and the shape it gives.

    Raises:
        UserError: from `build`, where a window does not fit what comes in.
    """

    network: config_of.ConvolutionalConfig
    input_shape: Shape

    def build(self, layer: config_of.Layer, shape: Shape) -> tuple[nn.Module, Shape]:
        if len(shape) == 1 and not isinstance(layer, config_of.Dense):
            raise UserError(
                f"a {layer.type} layer follows a dense one, which leaves no map",
                expected="dense layers last",
            )
        match layer:
            case config_of.Convolution():
                return self._convolution(
                    shape, layer.channels, layer.kernel, layer.stride, layer.padding
                )
            case config_of.DepthwiseConvolution():
                return self._convolution(
                    shape, shape[0], layer.kernel, layer.stride, layer.padding, groups=shape[0]
                )
            case config_of.MaxPool():
                stride = layer.stride or layer.size
                module = _MAX_POOLS[len(shape) - 1](layer.size, stride)
                return module, _after_window(shape, shape[0], layer.size, stride, 0)
            case config_of.AveragePool():
                return self._average_pool(shape, layer.size)
            case config_of.Residual():
                return self._residual(shape, layer.channels, layer.stride)
            case config_of.Fire():
                return self._fire(shape, layer)
            case config_of.Dense():
                return self._dense(shape, layer.neurons)

    def _is_first(self, shape: Shape) -> bool:
        return shape is self.input_shape

    @property
    def _has_bias(self) -> bool:
        return self.network.normalisation == "none"

    def _norm(self, shape: Shape, channels: int) -> nn.Module:
        return norm_of(self.network.normalisation, len(shape) - 1, channels)

    def _activation(self) -> nn.Module:
        return activation_of(self.network.activation_quantiser, or_else=nn.ReLU())

    def _convolution(
        self,
        shape: Shape,
        channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> tuple[nn.Sequential, Shape]:
        convolution = _CONVOLUTIONS[len(shape) - 1](
            self.network.weight_quantiser,
            shape[0],
            channels,
            kernel,
            stride=stride,
            padding=padding,
            groups=groups,
            bias=self._has_bias,
        )
        layer = nn.Sequential()
        layer.add_module("convolution", _with_spread_weights(convolution))
        with_quantised_gradient(layer, self.network, self._is_first(shape))
        layer.add_module("norm", self._norm(shape, channels))
        layer.add_module("activation", activation or self._activation())
        return layer, _after_window(shape, channels, kernel, stride, padding)

    def _dense(self, shape: Shape, neurons: int) -> tuple[nn.Sequential, Shape]:
        layer = nn.Sequential()
        if len(shape) > 1:
            layer.add_module("flatten", nn.Flatten())
        weights = self.network.weight_quantiser
        linear = linear_of(weights, math.prod(shape), neurons, has_bias=self._has_bias)
        layer.add_module("linear", linear)
        with_quantised_gradient(layer, self.network, self._is_first(shape))
        layer.add_module("norm", norm_of(self.network.normalisation, 0, neurons))
        layer.add_module("activation", self._activation())
        layer.add_module("dropout", Dropout(self.network.dropout))
        return layer, (neurons,)

    def _average_pool(self, shape: Shape, size: int | None) -> tuple[nn.Module, Shape]:
        windows = shape[1:] if size is None else (size,) * (len(shape) - 1)
        pool = _AVERAGE_POOLS[len(shape) - 1](windows)
        layer = AveragePool(pool, self._norm(shape, shape[0]), self._activation())
        if size is None:
            return layer, (shape[0], *(1 for _ in windows))
        return layer, _after_window(shape, shape[0], size, size, 0)

    def _residual(self, shape: Shape, channels: int, stride: int) -> tuple[nn.Module, Shape]:
        def last() -> nn.Module:
            return activation_of(self.network.activation_quantiser, or_else=nn.Identity())

        first, middle = self._convolution(shape, channels, 3, stride, 1)
        second, result = self._convolution(middle, channels, 3, 1, 1, activation=last())
        branch = nn.Sequential(first, second)
        shortcut: nn.Module = nn.Identity()
        if result != shape:
            shortcut, _ = self._convolution(shape, channels, 1, stride, activation=last())
        norm = self._norm(result, channels)
        return Residual(branch, shortcut, norm, self._activation()), result

    def _fire(self, shape: Shape, layer: config_of.Fire) -> tuple[nn.Module, Shape]:
        squeeze, squeezed = self._convolution(shape, layer.squeeze, 1)
        expand1, _ = self._convolution(squeezed, layer.expand1, 1)
        expand3, _ = self._convolution(squeezed, layer.expand3, 3, 1, 1)
        n_channels = layer.expand1 + layer.expand3
        return Fire(squeeze, expand1, expand3), (n_channels, *shape[1:])


def _after_window(shape: Shape, channels: int, size: int, stride: int, padding: int) -> Shape:
    """The shape behind windows of `size` in every direction."""
    if size > min(shape[1:]) + 2 * padding:
        raise UserError(
            "a window is larger than the map that it slides over",
            found=f"a window of {size}, a map of {' x '.join(map(str, shape[1:]))}"
            + (f" padded by {padding}" if padding else ""),
            fix="fewer pools or strides before it, a smaller window, or padding",
        )
    return channels, *((side + 2 * padding - size) // stride + 1 for side in shape[1:])
