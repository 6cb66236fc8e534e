"""A teacher: a copy of a network that follows it slowly."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from study.methods.base import MethodNetwork, Moment


class Teacher(nn.Module):
    """Copies of a network's backbone and heads, without gradient, that learn by averaging alone.

        θ' ← m θ' + (1 - m) θ    for every parameter

    Buffers are not averaged: as in the authors' code of BYOL and DINO, the teacher's batch normalisation uses the
    statistics of what it sees itself and keeps running ones of its own.
    """

    def __init__(self, network: MethodNetwork, *parts: str) -> None:
        """Copy `parts` of `network` as they are now; they are applied one after the other, the backbone first."""
        super().__init__()
        for name in parts:
            self.add_module(name, copy.deepcopy(network.get_submodule(name)))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, view: Tensor, micro_batch_size: int | None) -> Tensor:
        """Map images to the output of the last part; the backbone sees as many at a time as the student's does."""
        backbone, *heads = self.children()
        output = torch.cat([backbone(part) for part in torch.split(view, micro_batch_size or len(view))])
        for head in heads:
            output = head(output)
        return output

    @torch.no_grad()
    def follow(self, network: MethodNetwork, momentum: float) -> None:
        """Move every parameter towards the one of the same name in `network`."""
        for name, parameter in self.named_parameters():
            parameter.lerp_(network.get_parameter(name), 1 - momentum)


def momentum_at(moment: Moment, base: float) -> float:
    """The teacher's momentum: rises from `base` to 1 in pre-training, stays at `base` in continuations.

        m = 1 - (1 - base) (1 + cos(π · share)) / 2,    share = updates so far / all updates

    The rise is that of BYOL (https://arxiv.org/abs/2006.07733, §3.3), which DINO has taken over. No rise in
    continuations is our choice: they begin with a teacher that has all but arrived, and it should follow all the way.
    """
    if moment.is_continuation:
        return base
    return 1 - (1 - base) * (1 + math.cos(math.pi * moment.share)) / 2
