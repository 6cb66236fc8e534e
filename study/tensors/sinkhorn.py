"""Soft assignments of rows to columns of which every column gets about the same share."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, num_iterations: int) -> Tensor:
    """Turn scores into assignments by the algorithm of Sinkhorn and Knopp.

        Q = exp(scores / ε), then `num_iterations` times: divide every column by its sum, then every row by its sum

    Many iterations approach the maximiser of Σ_nk Q_nk scores_nk + ε · entropy(Q) among the Q whose rows sum to 1 and
    whose columns have equal sums; a few make the columns' sums nearly equal. Computed with logarithms, so that no
    score overflows and no column becomes 0 / 0.

    Source: Cuturi, "Sinkhorn Distances", NeurIPS 2013, https://arxiv.org/abs/1306.0895; as in Caron et al. 2020,
    https://arxiv.org/abs/2006.09882, eq. 3-5, whose factors 1/N and 1/K the last division cancels.

    Args:
        scores: shape (..., N, K); matrices are treated one by one.
        epsilon: ε > 0; the smaller, the harder the assignments.
        num_iterations: at least 1.

    Returns:
        Assignments of the shape of `scores`, in [0, 1]; rows sum to 1. Without gradient.
    """
    log_shares = scores / epsilon
    for _ in range(num_iterations):
        log_shares = log_shares.log_softmax(dim=-2).log_softmax(dim=-1)
    return log_shares.exp()
