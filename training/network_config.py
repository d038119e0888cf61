"""The `[network]` table of a config: what kind of network, its layers, and its quantisers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from training.config_table import ConfigTable

# Written out, not imported: reading a config must not wait for torch and brevitas.
QuantiserName = Literal["float", "binary", "int2", "int3", "int4", "int5", "int6", "int7", "int8"]
WeightQuantiserName = Literal[
    QuantiserName,
    "binary_stochastic",
    "twn",
    "twn_channel",
    "quinary",
    "quinary_channel",
    "dorefa1",
    "dorefa2",
    "dorefa3",
    "dorefa4",
    "dorefa5",
    "dorefa6",
    "dorefa7",
    "int2_channel",
    "int3_channel",
    "int4_channel",
    "int5_channel",
    "int6_channel",
    "int7_channel",
    "int8_channel",
    "log2",
    "log3",
    "ttq",
]
ActivationQuantiserName = Literal[
    QuantiserName,
    "binary_learned",
    "int2_learned",
    "int3_learned",
    "int4_learned",
    "int5_learned",
    "int6_learned",
    "int7_learned",
    "int8_learned",
    "quinary",
    "binary_stochastic",
    "dorefa1",
    "dorefa2",
    "dorefa3",
    "dorefa4",
    "dorefa5",
    "dorefa6",
    "dorefa7",
]
Size = Annotated[int, Field(ge=1, le=65536)]
Kernel = Annotated[int, Field(ge=1, le=64)]


class _Quantised(ConfigTable):
    """What all kinds share."""

    input_quantiser: QuantiserName = Field(
        description="Quantiser of the input, after it was taken from [0, 1] to [-1, 1]."
    )
    weight_quantiser: WeightQuantiserName = Field(
        description="Quantiser of all weights; the last layer has one scale where the others have "
        "one per channel."
    )
    activation_quantiser: ActivationQuantiserName = Field(
        description="Quantiser of every hidden layer's output; float is a ReLU."
    )
    normalisation: Literal["batch", "shift", "none"] = Field(
        "batch",
        description="Behind every layer but the last: batch norm; BNN's shift-based one; or none, "
        "where every layer has a bias instead, for networks in floating point.",
    )
    gradient_bits: int | None = Field(
        None,
        ge=2,
        le=16,
        description="Bits of the gradients of all layers but the first and the last, in training; "
        "floating point if not given.",
    )
    gradient_quantiser: Literal["dorefa", "qnn"] = Field(
        "dorefa",
        description="How gradient_bits are reached: DoReFa's way, with its noise, or QNN's, steps "
        "of a power of two.",
    )


class FullyConnectedConfig(_Quantised):
    """Hidden layers on a flat input, and one score per class."""

    kind: Literal["fully_connected"] = Field(
        "fully_connected", description="What the network is: fully_connected or convolutional."
    )
    hidden: tuple[Size, ...] = Field(
        description="Neurons of each hidden layer, from the input on; may be none."
    )
    dropout: float = Field(
        0.2,
        ge=0.0,
        lt=1.0,
        description="Share of the input and of every hidden output set to 0 in training.",
    )
    input_dropout: float | None = Field(
        None, ge=0.0, lt=1.0, description="That of the input, where it is another."
    )


class Convolution(ConfigTable):
    """Convolution without bias, batch norm, activation."""

    type: Literal["convolution"] = Field(description="What the layer is.")
    channels: Size = Field(description="Output channels.")
    kernel: Kernel = Field(3, description="Side of the square kernel; length in one dimension.")
    stride: Kernel = Field(1, description="Pixels from one window to the next.")
    padding: int = Field(0, ge=0, le=32, description="Pixels of real 0 around the map.")


class DepthwiseConvolution(ConfigTable):
    """The same with one kernel per channel; a convolution of kernel 1 makes it separable."""

    type: Literal["depthwise"] = Field(description="What the layer is.")
    kernel: Kernel = Field(3, description="Side of the square kernel; length in one dimension.")
    stride: Kernel = Field(1, description="Pixels from one window to the next.")
    padding: int = Field(0, ge=0, le=32, description="Pixels of real 0 around the map.")


class MaxPool(ConfigTable):
    """The greatest value of each window, per channel; what does not fill a window is left out."""

    type: Literal["max_pool"] = Field(description="What the layer is.")
    size: Kernel = Field(2, description="Side of the square window; length in one dimension.")
    stride: Kernel | None = Field(None, description="Pixels between windows; size if not given.")


class AveragePool(ConfigTable):
    """The mean of each window, per channel, batch norm, activation."""

    type: Literal["average_pool"] = Field(description="What the layer is.")
    size: Kernel | None = Field(None, description="Side of the window; the whole map if not given.")


class Residual(ConfigTable):
    """Two 3-wide convolutions beside a shortcut, both quantised alike; add, batch norm, activation.

    The shortcut is the block's input, or a convolution of kernel 1 where the shape changes.
    """

    type: Literal["residual"] = Field(description="What the layer is.")
    channels: Size = Field(description="Output channels.")
    stride: Kernel = Field(1, description="Of the first convolution, and of the shortcut.")


class Fire(ConfigTable):
    """SqueezeNet's module: a squeeze by kernel 1, two expansions, their channels joined."""

    type: Literal["fire"] = Field(description="What the layer is.")
    squeeze: Size = Field(description="Channels of the squeezing convolution, kernel 1.")
    expand1: Size = Field(description="Channels of the expansion with kernel 1, the first ones.")
    expand3: Size = Field(description="Channels of the expansion with kernel 3, padding 1.")


class Dense(ConfigTable):
    """A linear layer without bias on the flattened map, batch norm, activation, dropout."""

    type: Literal["dense"] = Field(description="What the layer is.")
    neurons: Size = Field(description="Outputs.")


Layer = Annotated[
    Convolution | DepthwiseConvolution | MaxPool | AveragePool | Residual | Fire | Dense,
    Field(discriminator="type"),
]


class ConvolutionalConfig(_Quantised):
    """Layers on an image, or on a row in one dimension, and one score per class."""

    kind: Literal["convolutional"] = Field(
        description="What the network is: fully_connected or convolutional."
    )
    dimensions: Literal[1, 2] = Field(
        2,
        description="2: windows over an image's rows and columns. 1: windows along the rows of an "
        "image, each row's pixels the channels, or along a table's features, one channel.",
    )
    layers: tuple[Layer, ...] = Field(min_length=1, description="From the input on.")
    dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Share of every dense layer's output set to 0 in training.",
    )


def kind_of(table: Any) -> Any:
    """What a network's table says it is; one that doesn't say is fully connected."""
    if isinstance(table, dict):
        return table.get("kind", "fully_connected")
    return getattr(table, "kind", None)


NetworkConfig = Annotated[
    Annotated[FullyConnectedConfig, Tag("fully_connected")]
    | Annotated[ConvolutionalConfig, Tag("convolutional")],
    Discriminator(kind_of),
]
