"""Networks of convolutions, pools, branches and dense layers, as a config lists them."""

from __future__ import annotations

import math

from torch import Tensor, nn

from deploy.errors import UserError
from training.layers import LayerBuilder, Shape
from training.network import Network, score_layer
from training.network_config import ConvolutionalConfig


class Convolutional(Network):
    """The layers of a config, one after another, then a linear layer to the scores.

    Input: (N, C, H, W), or (N, C, L) in one dimension, in [0, 1]; output: (N, n_classes) scores.
    """

    def __init__(self, config: ConvolutionalConfig, shape: Shape, n_classes: int) -> None:
        """`shape` is the data set's, channels last: (H, W, C), or (F,) for the rows of a table.

        Raises:
            UserError: a layer does not fit what comes before it, or the data are no images.
        """
        shape = _channels_first(config, shape)
        super().__init__(config, shape)
        builder = LayerBuilder(config, shape)
        self.layers = nn.ModuleList()
        for index, layer in enumerate(config.layers):
            try:
                module, shape = builder.build(layer, shape)
            except UserError as error:
                raise UserError(
                    error.what,
                    where=f"network.layers.{index}, {layer.type}",
                    found=error.found,
                    expected=error.expected,
                    fix=error.fix,
                ) from error
            self.layers.append(module)
        self.flatten = nn.Flatten() if len(shape) > 1 else nn.Identity()
        n_features = math.prod(shape)
        self.output = score_layer(config, n_features, n_classes)

    def body(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.flatten(x)


def _channels_first(config: ConvolutionalConfig, shape: Shape) -> Shape:
    """What the windows slide over, channels first, for a data set of this shape."""
    match config.dimensions, shape:
        case 2, (height, width, channels):
            return channels, height, width
        case 1, (height, width, channels):
            return width * channels, height
        case 1, (n_features,):
            return 1, n_features
    raise UserError(
        "windows of two dimensions need images",
        where="network.dimensions",
        found=f"data of shape {shape}",
        fix="set network.dimensions to 1, or take a data set of images",
    )
