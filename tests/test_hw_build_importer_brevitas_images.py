"""Convolutional networks as Brevitas exports them: golden model, oracle and PyTorch alike."""

from collections.abc import Callable
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.core.restrict_val import RestrictValueType
from brevitas.export import export_qonnx
from brevitas.quant import Int8ActPerTensorFloat, SignedBinaryWeightPerTensorConst
from torch import nn

from hw_build.executors import check_software
from hw_build.golden import execute
from hw_build.graph_file import Imported
from hw_build.importer import import_qonnx
from hw_build.vectors import Vectors

SHAPE = (3, 12, 12)


class PowerOfTwoAct(Int8ActPerTensorFloat):
    """Scales that are powers of two: ties are common."""

    restrict_scaling_type = RestrictValueType.POWER_OF_TWO


def conv(n: int, m: int, kernel: int, bits: int = 4, **given: object) -> qnn.QuantConv2d:
    return qnn.QuantConv2d(n, m, kernel, weight_bit_width=bits, **{"bias": False, **given})


def relu(bits: int, **given: object) -> qnn.QuantReLU:
    return qnn.QuantReLU(bit_width=bits, return_quant_tensor=False, **given)


def lenet() -> nn.Module:
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8),
        conv(3, 4, 3, bias=True),
        relu(4),
        nn.MaxPool2d(2),
        conv(4, 6, 3, weight_scaling_per_output_channel=True),
        nn.BatchNorm2d(6),
        nn.MaxPool2d(3),
        relu(4),
        nn.Flatten(),
        qnn.QuantLinear(6, 5, bias=True, weight_bit_width=4),
    )


def binary() -> nn.Module:
    """Binary weights with zero padding."""
    weights = {"weight_quant": SignedBinaryWeightPerTensorConst, "padding": 1}
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8),
        conv(3, 4, 3, **weights),
        nn.BatchNorm2d(4),
        qnn.QuantIdentity(bit_width=2),
        conv(4, 4, 3, stride=2, **weights),
        nn.BatchNorm2d(4),
        relu(2),
        nn.AvgPool2d(2),
        qnn.QuantIdentity(bit_width=4),
        nn.Flatten(),
        qnn.QuantLinear(36, 5, bias=False, weight_bit_width=2),
    )


class Residual(nn.Module):
    """A block whose two branches share their quantiser; a mean over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(qnn.QuantIdentity(bit_width=8), conv(3, 4, 3, padding=1))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
        self.shared = qnn.QuantIdentity(bit_width=4)
        self.inner = conv(4, 4, 3, padding=1)
        self.relu = relu(4)
        self.mean = qnn.QuantIdentity(bit_width=6)
        self.last = qnn.QuantLinear(4, 5, bias=False, weight_bit_width=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.norms[0](self.first(x)))
        y = self.shared(self.norms[1](self.inner(x)))
        x = self.relu(x + y)
        return self.last(self.mean(x.mean(dim=(2, 3))))


def separable() -> nn.Module:
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8, act_quant=PowerOfTwoAct),
        conv(3, 6, 3, groups=3, padding=1, weight_scaling_per_output_channel=True),
        nn.BatchNorm2d(6),
        relu(4),
        conv(6, 8, 1),
        nn.BatchNorm2d(8),
        relu(4),
        nn.Upsample(scale_factor=2, mode="nearest"),
        conv(8, 4, 5, stride=3, dilation=2, groups=2),
        relu(3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        qnn.QuantIdentity(bit_width=5),
        qnn.QuantLinear(4, 5, bias=True, weight_bit_width=4),
    )


class Fire(nn.Module):
    """Concatenated branches, each with the one quantiser of both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(qnn.QuantIdentity(bit_width=8), conv(3, 4, 3), relu(3))
        self.one, self.three = conv(4, 3, 1), conv(4, 5, 3, padding=1)
        self.shared = relu(3)
        self.last = conv(8, 5, 1, bias=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = torch.cat([self.shared(self.one(x)), self.shared(self.three(x))], dim=1)
        return torch.nn.functional.adaptive_avg_pool2d(self.last(x), 1).flatten(1)


def truncated() -> nn.Module:
    """TruncAvgPool2d, which takes the integers of the quantiser before it."""
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8),
        conv(3, 4, 3),
        qnn.QuantReLU(bit_width=4, return_quant_tensor=True),
        qnn.TruncAvgPool2d(5, stride=5, bit_width=4, float_to_int_impl_type="floor"),
        nn.Flatten(),
        qnn.QuantLinear(16, 5, bias=False, weight_bit_width=4),
    )


class Signal(nn.Module):
    """One dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            qnn.QuantIdentity(bit_width=8),
            qnn.QuantConv1d(3, 6, 5, stride=2, padding=2, bias=False, weight_bit_width=3),
            nn.BatchNorm1d(6),
            relu(3),
            nn.MaxPool1d(2),
            qnn.QuantConv1d(6, 6, 3, groups=6, bias=False, weight_bit_width=3),
            relu(3),
            nn.Flatten(),
            qnn.QuantLinear(66, 5, bias=False, weight_bit_width=3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet": lenet,
    "binary": binary,
    "residual": Residual,
    "separable": separable,
    "fire": Fire,
    "truncated": truncated,
    "signal": Signal,
}


def trained(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network with statistics and scales of some random batches, and its input's shape."""
    torch.manual_seed(3)
    model = NETWORKS[name]()
    shape = (3, 52) if name == "signal" else SHAPE
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(-1.5, 1.5)
    for _ in range(10):
        model(torch.randn(8, *shape))
    return model.eval(), shape


def exported(name: str, folder: Path, dynamo: bool = False) -> tuple[nn.Module, Path, Imported]:
    model, shape = trained(name)
    path = folder / f"{name}.onnx"
    export_qonnx(model, torch.randn(1, *shape), str(path), opset_version=13, dynamo=dynamo)
    return model, path, import_qonnx(path)


@pytest.mark.parametrize("name", NETWORKS)
def test_brevitas_exports(name: str, tmp_path: Path) -> None:
    """The gates pass, and PyTorch in float32 sees the same but for its own rounding."""
    model, path, network = exported(name, tmp_path)
    x = network.quantiser.random_inputs(300)
    checked = check_software(network, path, Vectors(x, len(x), "random"))
    assert checked.gates[0].vectors == 300
    # Inputs on the grid: float32 puts others beside a tie on either side of it.
    q = np.random.default_rng(1).integers(-100, 101, (200, *network.input_shape))
    x = network.graph.meanings["input"].to_real(q).astype(np.float32)
    integers = execute(network.graph, network.quantiser(x))[network.graph.output.name]
    scores = network.graph.meanings[network.graph.output.name].to_real(integers)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    near = np.isclose(scores, expected, rtol=1e-4, atol=1e-4).all(axis=1)
    assert near.mean() > 0.9
