"""All-gather of batch rows across processes, with the gradient that makes W processes equal one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable


def gather_rows(x: Tensor, dim: int = 0) -> Tensor:
    """Concatenate the shards of all ranks along `dim`, in rank order; identity without a process group.

    Every rank then computes the same loss of the whole batch. The backward pass sums the gradients of all
    ranks and keeps the own rows, so that gradients of parameters, averaged over ranks as
    DistributedDataParallel does, are those of a single process with the whole batch.

    Args:
        x: this rank's shard; ranks may hold different numbers of rows, everything else is equal.
        dim: the batch dimension.

    Returns:
        The whole batch: the shape of `x` but for `dim`, whose size is the sum over ranks.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return x
    gathered: Tensor = _GatherRows.apply(x.movedim(dim, 0))
    return gathered.movedim(0, dim)


def own_rows(x: Tensor, dim: int = 0) -> slice:
    """Where the rows of this rank's shard stand in the result of `gather_rows`."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return slice(0, x.shape[dim])
    sizes = _shard_sizes(x.shape[dim], x.device)
    start = sum(sizes[: distributed.get_rank()])
    return slice(start, start + x.shape[dim])


def _shard_sizes(own: int, device: torch.device) -> list[int]:
    """Rows of every rank, in rank order."""
    size = torch.tensor([own], device=device)
    sizes = [torch.empty_like(size) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, size)
    return [int(size) for size in sizes]


class _GatherRows(torch.autograd.Function):
    """Gather rows of the first dimension; shards are padded to the longest, gathered and cut."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        world_size, rank = distributed.get_world_size(), distributed.get_rank()
        sizes = _shard_sizes(len(x), x.device)
        ctx.start, ctx.size = sum(sizes[:rank]), sizes[rank]

        padded = x.new_zeros((max(sizes), *x.shape[1:]))
        padded[: len(x)] = x
        shards = [torch.empty_like(padded) for _ in range(world_size)]
        distributed.all_gather(shards, padded)
        return torch.cat([shard[:size] for shard, size in zip(shards, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        distributed.all_reduce(summed)
        return summed.narrow(0, ctx.start, ctx.size)
