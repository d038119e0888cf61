"""One layer as JSON, its arrays kept in an archive beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import numpy as np

from .graph import IntType, Layer
from .int_type import WeightType

KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Layer)}


def layer_to_json(layer: Layer, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The layer's fields by name; its arrays go into `arrays` in their narrowest type."""
    document: dict[str, Any] = {"kind": type(layer).__name__}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, np.ndarray):
            key = f"{layer.name}.{field.name}"
            arrays[key] = _narrow(value)
            value = {"array": key, "shape": list(value.shape)}
        elif isinstance(value, IntType | WeightType):
            value = str(value)
        elif isinstance(value, tuple):
            value = list(value)
        document[field.name] = value
    return document


def layer_from_json(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Layer:
    """The inverse of `layer_to_json`; KeyError or ValueError for what it never writes."""
    if document["kind"] not in KINDS:
        raise ValueError(f"no layer of kind {document['kind']!r}")
    kind = KINDS[document["kind"]]
    values = {field.name: _read(document[field.name], field.type, arrays) for field in fields(kind)}
    return kind(**values)


def _read(value: Any, kind: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """`value` as the field's annotation has it."""
    if kind == "np.ndarray":
        return arrays[value["array"]].astype(np.int64)
    if kind == "IntType":
        return IntType.parse(value)
    if kind == "WeightType | None":
        return None if value is None else WeightType.parse(value)
    if kind == "bool":
        return bool(value)
    if kind.startswith("tuple"):
        return tuple(value) if "str" in kind else tuple(int(n) for n in value)
    return int(value) if kind == "int" else str(value)


def _narrow(integers: np.ndarray) -> np.ndarray:
    for kind in (np.int8, np.int16, np.int32):
        bounds = np.iinfo(kind)
        if integers.size and bounds.min <= integers.min() and integers.max() <= bounds.max:
            return integers.astype(kind)
    return integers
