"""Networks whose weights and thresholds the host can replace, and others for the same hardware.

Hardware for `writable` layers holds any weights of their types, so that a network of the same
structure, retrained, runs on the bitstream that is there: `onto` gives it that hardware's form.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from deploy.errors import UserError

from .graph import Depthwise, Graph, Layer, MatVec, TensorInfo, Threshold

_OWN = {"name", "source", "sources", "first", "second", "writable"}
"""Fields that a layer has from where it stands; of arrays the shape alone must be the same."""


MOST_SUM_BITS = 31
"""Of the sums of a layer whose weights may be any of their type."""


def writable(graph: Graph) -> Graph:
    """The same network, its weights and thresholds held in memories that the host can write.

    Raises:
        UserError: a layer's sums would have more than `MOST_SUM_BITS` bits.
    """
    layers = tuple(_writable(layer) for layer in graph)
    infos: dict[str, TensorInfo] = {}
    for layer in layers:
        if isinstance(layer, MatVec | Depthwise):
            _require_sums_fit(layer, infos[layer.source])
        infos[layer.name] = layer.infer(*(infos[source] for source in layer.sources))
    return replace(graph, layers=layers)


def _require_sums_fit(layer: MatVec | Depthwise, x: TensorInfo) -> None:
    """UserError unless any two sums of `layer` are less than 2**MOST_SUM_BITS apart."""
    n_inputs, held = layer.weights.shape[1], layer.weight_type
    least, greatest = held.products(x.lo, x.hi)
    if n_inputs * int((greatest - least).max()) >= 1 << MOST_SUM_BITS:
        raise UserError(
            f"sums with any weights have more than {MOST_SUM_BITS} bits",
            where=f"layer {layer.name}",
            found=f"{n_inputs} inputs of {x.type} times {held} weights",
            fix="quantise the inputs or the weights to fewer bits, or leave out --writable",
        )


def onto(graph: Graph, hardware: Graph, where: str) -> Graph:
    """The network as one for the hardware of another: its layers under the other's names.

    Args:
        hardware: a `writable` network, in whose form the hardware was built.
        where: the run that it comes from, for messages.

    Raises:
        UserError: the hardware holds its weights fixed, or the first layer of another kind, type
            or size, or with weights that its memory does not hold.
    """
    new, old = graph.layers, hardware.layers
    if not any(getattr(layer, "writable", None) for layer in old):
        raise UserError(
            "the hardware holds its weights fixed",
            where=where,
            fix=f"build it with memories to write: python -m hw_build.flow run {where} --writable",
        )
    if len(new) != len(old):
        raise _another(where, "the network", f"{len(new)} layers", str(len(old)))
    names = {mine.name: its.name for mine, its in zip(new, old, strict=True)}
    layers = tuple(
        _in_place_of(its, mine, names, where) for mine, its in zip(new, old, strict=True)
    )
    meanings = {names[name]: meaning for name, meaning in graph.meanings.items()}
    return Graph(layers, meanings)


def _writable(layer: Layer) -> Layer:
    if isinstance(layer, MatVec | Depthwise):
        return replace(layer, writable=layer.weight_type)
    return replace(layer, writable=True) if isinstance(layer, Threshold) else layer


def _in_place_of(its: Layer, mine: Layer, names: dict[str, str], where: str) -> Layer:
    """`mine` with the name, the sources and the memories of `its`."""
    layer = f"layer {mine.name}, in the place of {its.name}"
    if type(mine) is not type(its):
        raise _another(where, layer, type(mine).__name__, type(its).__name__)
    if tuple(names[source] for source in mine.sources) != its.sources:
        raise _another(where, layer, f"reads {', '.join(mine.sources)}", ", ".join(its.sources))
    for name in (field.name for field in fields(its) if field.name not in _OWN):
        found, expected = (_shape(getattr(either, name)) for either in (mine, its))
        if found != expected:
            raise _another(where, layer, f"{name} {found}", str(expected))
    if not isinstance(mine, MatVec | Depthwise | Threshold):
        return its
    held = getattr(its, "writable", None)
    if isinstance(mine, MatVec | Depthwise) and not held.holds(mine.weights):
        raise _another(where, layer, f"{mine.weight_type} weights", f"{held}, what memory holds")
    return replace(mine, name=its.name, source=its.source, writable=held)


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, np.ndarray) else value


def _another(where: str, layer: str, found: str, expected: str) -> UserError:
    return UserError(
        "the network is not one for this hardware",
        where=f"{where}: {layer}",
        found=found,
        expected=expected,
        fix="give it hardware of its own: run it without --onto",
    )
