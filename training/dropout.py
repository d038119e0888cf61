"""Dropout by 16 random bits an element."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Training: y = x * m, m = 0 with probability p, else 1 / (1 - p), p to the next 1 / 65,536.

    Evaluation: y = x. Draws from torch's global generator of the device, a number of 64 bits for
    four elements; `nn.Dropout` draws one for each, which costs more than a narrow layer itself.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.n_dropped = round(p * 65536)  # of all values of 16 bits

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.n_dropped == 0:
            return x
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        bits.random_(-(2**63), None)
        drawn = bits.view(torch.int16)[: x.numel()].view(x.shape).to(x.dtype)
        kept = x.new_full((), 65536 / (65536 - self.n_dropped)).expand_as(x)
        # `kept` where what was drawn, from -32,768 on, is greater; several times as fast as where.
        mask = torch.ops.aten.threshold_backward(kept, drawn, self.n_dropped - 32769)
        return x * mask
