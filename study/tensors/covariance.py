"""How strongly the columns of a matrix covary, by the smaller of its two product matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def off_diagonal_covariance(samples: Tensor, divisor: int | None = None) -> Tensor:
    """Return (1/D) Σ_{i≠j} C_ij² with the covariance C = X̄ᵀX̄ / divisor of N samples.

    The covariance penalty of VICReg (Bardes et al. 2022, eq. 4). For N < D it follows from the N×N Gram
    matrix, because ‖X̄ᵀX̄‖_F = ‖X̄X̄ᵀ‖_F; no D×D matrix is made. That route subtracts the diagonal's share,
    so a value far below it carries its rounding error, about 1e-7 (float32) of Σ_i C_ii² / D.

    The gradient, 4 / (D · divisor) · X̄ · (C without its diagonal), is written by hand, because it takes one matrix
    product where autograd takes two.

    Args:
        samples: shape (..., N, D), N ≥ 2; centred here.
        divisor: default: N - 1, which makes C unbiased.

    Returns:
        Penalties, shape (...), ≥ 0 up to rounding; differentiable once.

    Raises:
        ValueError: fewer than two samples.
    """
    num_samples = samples.shape[-2]
    if num_samples < 2:
        raise ValueError(f"a covariance needs N >= 2 samples, but got N={num_samples}")
    penalty: Tensor = _OffDiagonalCovariance.apply(samples, num_samples - 1 if divisor is None else divisor)
    return penalty


class _OffDiagonalCovariance(torch.autograd.Function):
    """The rows of X̄ add up to zero, and so do those of the slope: centring needs no backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor, divisor: int) -> Tensor:
        num_samples, dim = samples.shape[-2:]
        centred = samples - samples.mean(dim=-2, keepdim=True)
        scale = 4 / (dim * divisor)
        if num_samples < dim:
            gram = centred @ centred.mT / divisor
            variances = centred.square().sum(dim=-2, keepdim=True) / divisor
            squares = gram.square().sum(dim=(-2, -1)) - variances.square().sum(dim=(-2, -1))
            if ctx.needs_input_grad[0]:
                ctx.save_for_backward((scale * gram @ centred).addcmul_(centred, variances, value=-scale))
        else:
            covariance = centred.mT @ centred / divisor
            covariance.diagonal(dim1=-2, dim2=-1).zero_()
            squares = covariance.square().sum(dim=(-2, -1))
            if ctx.needs_input_grad[0]:
                ctx.save_for_backward(centred @ (scale * covariance))
        return squares / dim

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return gradient[..., None, None] * slope, None
