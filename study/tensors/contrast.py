"""The contrast between two views of the same images."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def contrast(first: Tensor, second: Tensor, temperature: float, *, decoupled: bool = False) -> Tensor:
    """Return mean_i [ -e_i·e_p(i) / T + log Σ_{j∈A(i)} exp(e_i·e_j / T) ] over the 2N embeddings of both views.

    p(i) is the other view of the same image. A(i) holds all embeddings but i: NT-Xent (Chen et al. 2020, eq. 1,
    https://arxiv.org/abs/2002.05709); or all but i and p(i): decoupled (Yeh et al. 2022, eq. 6,
    https://arxiv.org/abs/2110.06848). The value lies in (0, log(2N-1) + 2/T], decoupled in
    [log(2N-2) - 2/T, log(2N-2) + 2/T].

    Args:
        first: embeddings on the unit sphere, shape (N, dim), N ≥ 2.
        second: those of the same images' other views, in the same order.
        temperature: T > 0.
        decoupled: leave the positive out of the denominator.
    """
    e = torch.cat([first, second])
    logits = e @ e.mT / temperature
    positives = logits.diagonal(len(first)).mean()
    excluded = torch.eye(len(e), dtype=torch.bool, device=e.device)
    if decoupled:
        excluded = excluded | excluded.roll(len(first), dims=1)
    return logits.masked_fill(excluded, -math.inf).logsumexp(dim=1).mean() - positives
