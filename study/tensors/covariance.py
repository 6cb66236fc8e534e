"""How strongly the columns of a matrix covary, by the smaller of its two product matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def off_diagonal_covariance(samples: Tensor) -> Tensor:
    """Return (1/D) Σ_{i≠j} C_ij² with the unbiased covariance C = X̄ᵀX̄ / (N-1) of N samples.

    The covariance penalty of VICReg (Bardes et al. 2022, eq. 4). For N < D it follows from the N×N Gram
    matrix, because ‖X̄ᵀX̄‖_F = ‖X̄X̄ᵀ‖_F; no D×D matrix is made. That route subtracts the diagonal's share,
    so a value far below it carries its rounding error, about 1e-7 (float32) of Σ_i C_ii² / D.

    Args:
        samples: shape (..., N, D), N ≥ 2; centred here.

    Returns:
        Penalties, shape (...), ≥ 0 up to rounding.

    Raises:
        ValueError: fewer than two samples.
    """
    num_samples, dim = samples.shape[-2:]
    if num_samples < 2:
        raise ValueError(f"a covariance needs N >= 2 samples, but got N={num_samples}")
    centred = samples - samples.mean(dim=-2, keepdim=True)
    if num_samples < dim:
        gram = centred @ centred.mT / (num_samples - 1)
        variances = centred.square().sum(dim=-2) / (num_samples - 1)
        squares = gram.square().sum(dim=(-2, -1)) - variances.square().sum(dim=-1)
    else:
        covariance = centred.mT @ centred / (num_samples - 1)
        own = torch.eye(dim, dtype=torch.bool, device=samples.device)
        squares = covariance.masked_fill(own, 0.0).square().sum(dim=(-2, -1))
    return squares / dim
