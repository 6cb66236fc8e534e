"""The standard normal distribution function."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def normal_cdf(z: Tensor) -> Tensor:
    """Return Φ(z) = ½ (1 + erf(z/√2)), elementwise and differentiable once.

    The derivative, exp(-z²/2) / √(2π), is written by hand: autograd would keep and make several tensors as large as z
    on the way, which is most of what E2MC needs in memory.
    """
    cdf: Tensor = _NormalCDF.apply(z)
    return cdf


class _NormalCDF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return (z / math.sqrt(2)).erf_().add_(1).mul_(0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        density = z.square().mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
        slope: Tensor = density.mul_(gradient)
        return slope
