"""How the columns of two views of the same rows correlate."""

from __future__ import annotations

import torch
from torch import Tensor


def standardise(samples: Tensor, epsilon: float) -> Tensor:
    """Give every column of (..., N, D) samples zero mean and unit variance: (X - mean) / √(var + ε).

    Batch normalisation without affine part; var is divided by N.
    """
    variance, mean = torch.var_mean(samples, dim=-2, correction=0, keepdim=True)
    return (samples - mean) / (variance + epsilon).sqrt()


def redundancy(first: Tensor, second: Tensor) -> Tensor:
    """Return Σ_{i≠j} C_ij² with C = Xᵀ Y / N, for standardised X and Y, by the smaller of the two product matrices.

    Barlow Twins' redundancy reduction term (Zbontar et al. 2021, eq. 1 and 2, https://arxiv.org/abs/2103.03230).
    For N < D, Σ_ij C_ij² = Σ_nm (X Xᵀ)_nm (Y Yᵀ)_nm / N², from which the diagonal's share is subtracted; a value far
    below that share carries its rounding error.

    Args:
        first: X, shape (N, D), from `standardise`.
        second: Y, the same.
    """
    num_rows, dim = first.shape
    if num_rows < dim:
        grams = (first @ first.mT / num_rows) * (second @ second.mT / num_rows)
        return grams.sum() - (first * second).mean(dim=0).square().sum()
    diagonal = torch.eye(dim, dtype=torch.bool, device=first.device)
    return (first.mT @ second / num_rows).masked_fill(diagonal, 0.0).square().sum()
