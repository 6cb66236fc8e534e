"""The processes that train one run together: who sees which rows of a batch, and how gradients become one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from study.errors import UserError

_BUCKET_SIZE = 2**23  # numbers of one transfer: 32 MB of float32, enough to use a fast network


@dataclass(frozen=True)
class Team:
    """This process among those that train together.

    Attributes:
        rank: which one, from 0.
        size: how many.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Team:
        """The open process group, or a process on its own."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def num_on_this_machine(self) -> int:
        """How many share the processors of this machine, as torchrun and this project's ranks tell it."""
        return 1 if self.size == 1 else min(self.size, int(os.environ.get("LOCAL_WORLD_SIZE", self.size)))

    def require_divides(self, batch_size: int) -> None:
        """Raise UserError unless all processes get equally many rows; losses are averaged over processes."""
        if batch_size % self.size:
            raise UserError(
                f"batch_size {batch_size} cannot be shared by {self.size} processes; write a multiple of it, or "
                "another processes_per_run in the site file"
            )

    def rows(self, batch_size: int) -> slice:
        """The rows of a batch that this process sees; in rank order they are the batch."""
        share = batch_size // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over processes, in few transfers, which cost memory while they last.

        Criteria and methods gather rows so that this mean is the gradient of one process with the whole batch.
        """
        if self.size == 1:
            return
        for gradients in _buckets(parameter.grad for parameter in parameters if parameter.grad is not None):
            if len(gradients) == 1 and gradients[0].is_contiguous():
                for part in torch.split(gradients[0].view(-1), _BUCKET_SIZE):
                    self._average(part)
                continue
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            self._average(flat)
            means = torch.split(flat, [gradient.numel() for gradient in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def mean(self, value: Tensor) -> Tensor:
        """Mean over processes of a detached value."""
        if self.size == 1:
            return value
        value = value.clone()
        self._average(value)
        return value

    def total(self, value: Tensor, device: torch.device) -> Tensor:
        """Sum over processes, which exchange it on `device`; with one process, the value as it is."""
        if self.size == 1:
            return value
        value = value.to(device, copy=True)
        distributed.all_reduce(value)
        return value

    def _average(self, value: Tensor) -> None:
        distributed.all_reduce(value)
        value.div_(self.size)


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one data type together, so that a bucket has at most `_BUCKET_SIZE` numbers, or one tensor."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for gradient in gradients:
        bucket = by_type.setdefault(gradient.dtype, [])
        if bucket and sum(other.numel() for other in bucket) + gradient.numel() > _BUCKET_SIZE:
            yield bucket
            bucket = by_type[gradient.dtype] = []
        bucket.append(gradient)
    yield from by_type.values()
