"""What runs on the board, and what the other packages share: packing, run directories, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.accelerator import Accelerator as Accelerator
    from deploy.bundle import Bundle as Bundle

_PLACES = {"Accelerator": "accelerator", "Bundle": "bundle"}


def __getattr__(name: str) -> Any:
    """`deploy.Accelerator` and `deploy.Bundle`, imported when first asked for."""
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module 'deploy' has no attribute {name!r}")
    return getattr(importlib.import_module(f"deploy.{_PLACES[name]}"), name)
