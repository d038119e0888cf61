"""How large a network is: bits of weights and activations, and multiply-accumulates per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from brevitas.nn import QuantIdentity
from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from torch import Tensor, nn

from training.network import Network, has_quantised_weights

_FLOAT_BITS = 32


@dataclass(frozen=True)
class NetworkSize:
    """The size of a network, for one sample.

    `weight_bits` are those that one weight is stored in, the greatest of all layers: 1 binary, 2
    ternary, 3 quinary, 32 float. `weight_memory_bits` is the sum over all weights of linear layers
    and convolutions; norms and scales are left out: in hardware they become thresholds.
    `activation_memory_bits` is the sum over all activations that layers pass on, the network's
    input among them; `macs` the products summed up in linear layers and convolutions, padding's
    among them.
    """

    n_weights: int
    weight_bits: int
    weight_memory_bits: int
    activation_memory_bits: int
    macs: int


@torch.no_grad()
def size_of(network: Network) -> NetworkSize:
    """Runs one sample of zeros in evaluation mode; the network stays as it is."""
    weights: list[tuple[int, int]] = []  # of a layer: how many, in how many bits
    activations: list[int] = []
    macs: list[int] = []

    def on_weights(layer: Any, _inputs: Any, output: Tensor) -> None:
        n_positions = output[0].numel() // len(layer.weight)
        weights.append((layer.weight.numel(), _weight_bits(layer)))
        macs.append(n_positions * layer.weight.numel())

    def on_activation(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        activations.append(output[0].numel() * _activation_bits(module))

    handles = []
    for name, module in network.named_modules():
        hook: Callable[..., None] | None = None
        if isinstance(module, QuantWeightBiasInputOutputLayer):
            hook = on_weights
        elif name.split(".")[-1] in ("activation", "input_quantiser"):
            hook = on_activation
        if hook is not None:
            handles.append(module.register_forward_hook(hook))
    was_training = network.training
    try:
        network.eval()(torch.zeros(1, *network.input_shape))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return NetworkSize(
        n_weights=sum(n for n, _ in weights),
        weight_bits=max(bits for _, bits in weights),
        weight_memory_bits=sum(n * bits for n, bits in weights),
        activation_memory_bits=sum(activations),
        macs=sum(macs),
    )


def _weight_bits(layer: Any) -> int:
    if not has_quantised_weights(layer):
        return _FLOAT_BITS
    *_, bits = layer.weight_quant.tensor_quant(layer.weight)
    return int(bits)


def _activation_bits(module: nn.Module) -> int:
    return int(module.act_quant.bit_width()) if isinstance(module, QuantIdentity) else _FLOAT_BITS
