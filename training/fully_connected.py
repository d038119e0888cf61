"""Networks of linear layers on a flat input."""

from __future__ import annotations

from torch import Tensor, nn

from training.dropout import Dropout
from training.gradients import with_quantised_gradient
from training.layers import activation_of, linear_of
from training.network import Network, score_layer
from training.network_config import FullyConnectedConfig
from training.norms import norm_of


class FullyConnected(Network):
    """Linear layers without bias, each but the last with batch norm, activation and dropout.

    Input: (N, n_features) in [0, 1]; output: (N, n_classes) scores.
    """

    def __init__(self, config: FullyConnectedConfig, n_features: int, n_classes: int) -> None:
        super().__init__(config, (n_features,))
        self.input_dropout = Dropout(
            config.dropout if config.input_dropout is None else config.input_dropout
        )
        self.hidden = nn.ModuleList()
        has_bias = config.normalisation == "none"
        for index, n_neurons in enumerate(config.hidden):
            layer = nn.Sequential()
            linear = linear_of(config.weight_quantiser, n_features, n_neurons, has_bias=has_bias)
            layer.add_module("linear", linear)
            with_quantised_gradient(layer, config, is_first=index == 0)
            layer.add_module("norm", norm_of(config.normalisation, 0, n_neurons))
            activation = activation_of(config.activation_quantiser, or_else=nn.ReLU())
            layer.add_module("activation", activation)
            layer.add_module("dropout", Dropout(config.dropout))
            self.hidden.append(layer)
            n_features = n_neurons
        self.output = score_layer(config, n_features, n_classes)

    def body(self, x: Tensor) -> Tensor:
        x = self.input_dropout(x)
        for layer in self.hidden:
            x = layer(x)
        return x
