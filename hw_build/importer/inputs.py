"""The Input layer, once the first layer asks for integers: an image or a vector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploy.errors import UserError
from hw_build.graph import Input
from hw_build.importer.affine import Affine
from hw_build.importer.layout import Layout
from hw_build.importer.levels import dequantisation
from hw_build.importer.network import Network
from hw_build.importer.values import Node, Signal, in_text
from hw_build.input_quantiser import InputQuantiser
from hw_build.scalar import Step


def settle_input(network: Network, signal: Signal, node: Node, image: bool) -> Signal:
    """A signal of the model's input, from the integers of the Input layer.

    The layer is made by the first who asks; all others have to begin with the same quantiser, and
    to read the same kind of tensor.
    """
    index = signal.last_quantiser
    head = signal.steps[: index + 1] if index is not None else ()
    if network.quantiser is None:
        if index is None and network.integer_input is None:
            raise _unquantised(network, node)
        _make_input(network, signal, head, image, node)
    else:
        head = network.input_steps
        begins = signal.steps[: len(head)]
        if len(begins) != len(head) or not all(map(same_step, begins, head)):
            raise node.refuse(
                "the network's input is quantised in two ways",
                found=f"tensor {signal.tensor}, beside {network.meanings['input'].tensor}",
                expected="one quantiser, before the paths part",
                fix="put one quantiser first (Brevitas: QuantIdentity)",
            )
    layout = Layout(network.input_places[signal.layout.places], network.infos["input"].shape)
    if image and not layout.is_image:
        raise node.refuse(
            "the network's input is read in two arrangements",
            found=f"(batch, {in_text(signal.shape)}) of an input laid out as "
            f"(batch, {in_text(layout.shape)})",
            expected="images of the same channels, height and width for all readers",
        )
    tail = tuple(_relaid(step, network, node) for step in signal.steps[len(head) :])
    if head:
        steps = (*dequantisation(network.quantiser.steps[-1]), *tail)
    else:
        sent = network.quantiser
        steps = tail if sent.scale == 1 else (sent.meaning, *tail)
    return replace(signal, source="input", layout=layout, steps=steps)


def _make_input(
    network: Network, signal: Signal, head: tuple[Step, ...], image: bool, node: Node
) -> None:
    flat = signal.layout.places
    shape: tuple[int, ...] = (flat.size,)
    network.input_places = np.arange(flat.size)
    channels_first = False
    if image:
        if flat.ndim not in (2, 3):
            raise node.refuse(
                "its input is no image",
                found=f"(batch, {in_text(flat.shape)})",
                expected="(batch, channels, length) or (batch, channels, height, width)",
            )
        usual = Layout.image(flat.shape)
        shape = usual.shape
        channels_first = signal.layout.channels_first is False
        if channels_first:
            network.input_places = usual.places.reshape(-1)
        elif not np.array_equal(usual.places, flat):
            raise node.refuse(
                "the network's input is rearranged in a way that hosts don't know",
                found=f"(batch, {in_text(flat.shape)})",
                expected="(batch, channels, height, width) or (batch, height, width, channels)",
            )
    network.input_steps = head
    if head:
        last = head[-1]
        network.quantiser = InputQuantiser(
            network.input_shape, last.level_type, last.low, last.high, head
        )
    else:
        network.quantiser = network.integer_input
        if network.seen_type:
            text = f"input: {network.seen_type}, as its values are; the file does not say"
            network.notes.append(text)
    kind = network.quantiser.type
    network.append(Input("input", shape, kind))
    network.activations.add("input")
    steps = tuple(_relaid(step, network, None) for step in head)
    image_shape = shape if image else None
    network.quantiser = replace(
        network.quantiser, steps=steps, image=image_shape, channels_first=channels_first
    )
    if head:
        network.mean("input", head[-1].tensor, Affine.of_quantiser(steps[-1]))
    else:
        meant = Affine.identity().then(network.quantiser.meaning)
        network.mean("input", network.input_name, meant)


def _relaid(step: Step, network: Network, node: Node | None) -> Step:
    """A step with parameters of the model's values, (n,), as parameters of the layer's channels.

    Where they differ from pixel to pixel the host, for whom `node` is None, takes them as an image.
    """
    shape = network.infos["input"].shape
    if len(shape) == 1:
        return step
    layout = Layout(network.input_places, shape)
    made = {}
    for key, value in step.parameters.items():
        if np.ndim(value) == 0:
            made[key] = value
            continue
        made[key] = layout.by_channel(value)
        if made[key] is None and node is not None:
            raise node.refuse(
                "a parameter differs from pixel to pixel",
                found=f"{key} of node {step.node}",
                expected="one value, or one for each channel, behind the input's quantiser",
            )
        if made[key] is None:
            made[key] = value[np.argsort(network.input_places)].reshape(shape)
    return replace(step, parameters=made)


def same_step(a: Step, b: Step) -> bool:
    """Whether two steps compute the same of everything."""
    return (
        a.op == b.op
        and a.parameters.keys() == b.parameters.keys()
        and all(np.array_equal(a.parameters[key], b.parameters[key]) for key in a.parameters)
    )


def _unquantised(network: Network, node: Node) -> UserError:
    if network.input_refusal is not None:
        return network.input_refusal
    return node.refuse(
        "the network's input reaches it without a quantiser",
        found=f"real numbers from input {network.input_name}",
        expected="integers",
        fix="put a quantiser first (Brevitas: QuantIdentity), or say which integers the "
        "input takes: --input-type UINT8 (or BIPOLAR, INT4, TERNARY, FIXED<16,6> ...), "
        "or the same as a quantization_annotation finn_datatype in the file",
    )
