"""From a config to its network."""

from __future__ import annotations

import math

from training.convolutional import Convolutional
from training.fully_connected import FullyConnected
from training.network import Network
from training.network_config import FullyConnectedConfig, NetworkConfig


def build_network(config: NetworkConfig, shape: tuple[int, ...], n_classes: int) -> Network:
    """A new network with weights drawn from torch's global random state.

    `shape` is the data set's, channels last: (H, W, C), or (F,) for the rows of a table.

    Raises:
        UserError: the network does not fit the data.
    """
    if isinstance(config, FullyConnectedConfig):
        return FullyConnected(config, math.prod(shape), n_classes)
    return Convolutional(config, shape, n_classes)
