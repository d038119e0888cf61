"""A trained network as a QONNX model: Brevitas' export, with names that say what a tensor is."""

from __future__ import annotations

import logging
import warnings

import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.nn import QuantIdentity
from torch import nn

from training.network import Network, frozen

INPUT = "input"
SCORES = "scores"
_QUANT_OPS = ("Quant", "BipolarQuant")
_QUANT_INPUTS = ("x", "scale", "zero_point", "bit_width")


def to_qonnx(network: Network) -> onnx.ModelProto:
    """The QONNX model: `input` float32 (1, *input_shape) in [0, 1], `scores` float32 (1, K).

    The tensor of a quantised activation has the name of its module (`input_quantiser`,
    `hidden.0.activation`, ...). The batch is the static 1 that FINN wants; every operator in it
    takes any batch. The same weights give the same bytes.

    Raises:
        UserError: the weights are TTQ's.
    """
    network = frozen(network)
    sample = torch.zeros(1, *network.input_shape)
    names = _names_in_execution_order(network, sample)
    # The TorchScript exporter keeps MatMul and the modules' names; its deprecation is a warning.
    torch_log = logging.getLogger("torch.onnx")
    level = torch_log.level
    torch_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = export_qonnx(
                network,
                args=sample,
                dynamo=False,
                input_names=[INPUT],
                output_names=[SCORES],
                keep_initializers_as_inputs=False,
            )
    finally:
        torch_log.setLevel(level)
    _name_tensors(model, names, parameters=set(network.state_dict()))
    onnx.checker.check_model(model)
    return model


def _names_in_execution_order(network: nn.Module, sample: torch.Tensor) -> list[str]:
    """Module names of the activation quantisers, in the order in which they run."""
    names: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, module in network.named_modules()
        if isinstance(module, QuantIdentity)
    ]
    with torch.no_grad():
        network(sample)
    for handle in handles:
        handle.remove()
    return names


def _name_tensors(model: onnx.ModelProto, activations: list[str], parameters: set[str]) -> None:
    """Gives every tensor a name that says what it is, and the same one on every export.

    Outputs of the activations' quantisers get their modules' names, other outputs their nodes';
    constants, which the optimiser names at random, are named after the node that takes them.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    quantisers = [
        node for node in graph.node if node.op_type in _QUANT_OPS and node.input[0] not in constants
    ]
    if len(quantisers) != len(activations):
        found = f"{len(quantisers)} in QONNX, {len(activations)} in the network"
        raise ValueError(f"activation quantisers: {found}")
    names = {node.output[0]: name for node, name in zip(quantisers, activations, strict=True)}
    for node in graph.node:
        node.name = node.name.strip("/").replace("/", ".").replace(".export_handler", "")
        for i, tensor in enumerate(node.input):
            if tensor in constants - parameters:
                input_name = _QUANT_INPUTS[i] if node.op_type in _QUANT_OPS else f"constant{i}"
                names.setdefault(tensor, f"{node.name}.{input_name}")
        if node.output[0] != SCORES:
            names.setdefault(node.output[0], node.name)
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(tensor, tensor) for tensor in tensors]
    for tensor in (*graph.initializer, *graph.value_info):
        tensor.name = names.get(tensor.name, tensor.name)
    graph.initializer.sort(key=lambda tensor: tensor.name)
    graph.value_info.sort(key=lambda info: info.name)
