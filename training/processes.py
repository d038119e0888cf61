"""The processes of one run: this one alone, or those that `torchrun` started, one for each GPU.

All hold the whole network and the whole data set. Each takes its share of every batch; gradients
are summed and the norms' statistics are those of the whole batch, so that all have the same weights
after every step, those of one process but for rounding and for what is drawn at random.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

Told = TypeVar("Told")
_SEEDS_APART = 7_919


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Joins the others where torchrun started more than one process; on its own nothing happens.

    `device` is a config's: "cpu" or "cuda".
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    has_gpus = device == "cuda" and torch.cuda.is_available()
    if has_gpus:
        torch.cuda.set_device(local_rank())
    distributed.init_process_group("nccl" if has_gpus else "gloo")
    yield
    distributed.destroy_process_group()


def rank() -> int:
    """Which one this is; 0 is the first, which alone writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def local_rank() -> int:
    """Which of this machine's GPUs is this process's."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def told(value: Told) -> Told:
    """What the first process gives, in all of them."""
    if count() == 1:
        return value
    values: list[Any] = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def share_of(batch: Tensor) -> Tensor:
    """This process's part of a batch; the parts differ by one sample at most."""
    return batch if count() == 1 else batch.tensor_split(count())[rank()]


def draw_apart(seed: int) -> None:
    """Has each process draw random numbers of its own from here on; the first goes on with its."""
    if rank() > 0:
        torch.manual_seed(seed + _SEEDS_APART * rank())


def backward(loss: Tensor, parameters: Iterable[Tensor], share: float) -> None:
    """Gradients of the whole batch's mean loss; `loss` is that of this process's share of it."""
    if count() == 1:
        loss.backward()
        return
    (loss * share).backward()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    whole = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(whole)
    for gradient, part in zip(
        gradients, whole.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


def total(x: Tensor) -> Tensor:
    """The sum over all processes, in each of them."""
    if count() == 1:
        return x
    x = x.detach().clone()
    distributed.all_reduce(x)
    return x


class _Total(torch.autograd.Function):
    """The same, with its gradient: every process's result depends on every process's x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return total(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return total(gradient)


def mean_over(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean over some axes, the batch's among them, of all processes' x."""
    if count() == 1:
        return x.mean(axes)
    sums = x.sum(axes)
    n = x.new_full((1,), x.numel() / sums.numel())
    whole = _Total.apply(torch.cat([sums.reshape(-1), n]))
    return (whole[:-1] / whole[-1]).view_as(sums)
