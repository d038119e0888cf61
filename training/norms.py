"""What normalises a layer's sums: batch norm, or the shift-based one whose factors are shifts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training import processes
from training.weight_methods import straight_through

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)


def nearest_power(x: Tensor) -> Tensor:
    """AP2: sign(x) * 2^round(log2|x|), half to even; 0 where x = 0. dL/dx = dL/dy."""
    z = x.detach()
    return straight_through(x, z.sign() * torch.exp2(torch.log2(z.abs()).round()))


class ShiftNorm(nn.Module):
    """BNN's shift-based batch norm, (N, C, ...) to the same; AP2 is `nearest_power`.

    c = x - mean(x), var = mean(c * AP2(c)), y = c * AP2(1 / sqrt(var + eps)) * AP2(weight) + bias,
    means over all axes but the channels'; running means in their place in evaluation. Every
    factor is a power of two.
    """

    def __init__(
        self, n_dimensions: int, channels: int, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.n_dimensions, self.eps, self.momentum = n_dimensions, eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *(1,) * (x.dim() - 2))
        if not self.training:
            centred = x - self.running_mean.reshape(shape)
            return centred * self.scale(self.running_var).reshape(shape) + self.bias.reshape(shape)
        axes = (0, *range(2, x.dim()))
        mean = processes.mean_over(x, axes)
        centred = x - mean.reshape(shape)
        var = processes.mean_over(centred * nearest_power(centred), axes)
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(var.detach(), self.momentum)
        return centred * self.scale(var).reshape(shape) + self.bias.reshape(shape)

    def scale(self, var: Tensor) -> Tensor:
        """A power of two, or its negative, or 0, per channel."""
        return nearest_power(torch.rsqrt(var + self.eps)) * nearest_power(self.weight)

    @torch.no_grad()
    def as_batch_norm(self) -> nn.Module:
        """The same function in evaluation, exactly: variance 1, eps 0, the scale its weight."""
        norm = _BATCH_NORMS[self.n_dimensions](len(self.weight), eps=0.0).eval()
        norm.running_mean.copy_(self.running_mean)
        norm.weight.copy_(self.scale(self.running_var))
        norm.bias.copy_(self.bias)
        return norm


class SharedBatchNorm(_BatchNorm):
    """Batch norm over the batch of all processes; PyTorch's own for that is for GPUs alone."""

    def _check_input_dim(self, x: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        shape, axes = (1, -1, *(1,) * (x.dim() - 2)), (0, *range(2, x.dim()))
        mean = processes.mean_over(x, axes)
        centred = x - mean.reshape(shape)
        var = processes.mean_over(centred.square(), axes)
        n = processes.total(x.new_full((), x.numel() / x.shape[1]))
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(var.detach() * n / (n - 1.0), self.momentum)
        self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(var + self.eps)
        return centred * scale.reshape(shape) + self.bias.reshape(shape)


def norm_of(normalisation: str, n_dimensions: int, channels: int) -> nn.Module:
    """A new norm behind a linear layer (0 dimensions) or a convolution; "none" leaves all as is."""
    match normalisation:
        case "none":
            return nn.Identity()
        case "shift":
            return ShiftNorm(n_dimensions, channels)
    if processes.count() > 1:
        return SharedBatchNorm(channels)
    return _BATCH_NORMS[n_dimensions](channels)
