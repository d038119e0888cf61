"""What the factors of matrix products and convolutions are rounded to while a network trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Within it, products of float32 tensors round their factors to the number format `name`.

    "float32" rounds nothing. "bfloat16" keeps 8 bits of each factor, on processors that can (on
    GPUs TF32's 11), and sums in float32: forward products of unscaled levels of up to 8 bits stay
    exact, gradients and scaled levels are rounded. Elsewhere it changes nothing.
    """
    convolutions = torch.backends.mkldnn.conv
    kept = torch.get_float32_matmul_precision(), convolutions.fp32_precision
    rounded = name == "bfloat16"
    torch.set_float32_matmul_precision("medium" if rounded else "highest")
    convolutions.fp32_precision = "bf16" if rounded else "ieee"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(kept[0])
        convolutions.fp32_precision = kept[1]
