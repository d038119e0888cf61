"""The last step of every network: one positive scale and one offset for all scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training import processes


class ScalarNorm(nn.Module):
    """Normalises all scores of a batch by one mean and one variance, not one per channel.

    Training: y = gamma * (x - mean(x)) / sqrt(var(x) + eps) + beta, over all elements of the
    batch, gamma > 0. Evaluation: running statistics in their place, so that y = scale * x + offset
    with one positive scale: the greatest score stays the greatest, and hardware may take the arg
    max of the integers before it.
    """

    def __init__(self, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.ones(()))
        self.beta = nn.Parameter(torch.zeros(()))
        self.register_buffer("running_mean", torch.zeros(()))
        self.register_buffer("running_var", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            if processes.count() == 1:
                var, mean = torch.var_mean(x, correction=0)
            else:
                mean = processes.mean_over(x, (0, 1))
                var = processes.mean_over((x - mean).square(), (0, 1))
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach(), self.momentum)
        return (x - mean) * (self.gamma / torch.sqrt(var + self.eps)) + self.beta


class ScalarAffine(nn.Module):
    """y = scale * x + offset, two float32 constants: what a trained `ScalarNorm` comes to."""

    def __init__(self, norm: ScalarNorm) -> None:
        super().__init__()
        scale = norm.gamma.detach() / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale)
        self.register_buffer("offset", norm.beta.detach() - norm.running_mean * scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.offset
