"""The loss of methods in which views predict what other views are assigned to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def swapped_cross_entropy(targets: Iterable[Tensor], logits: Sequence[Tensor]) -> Tensor:
    """Let every view predict the targets of the other full-size views.

        mean over full-size v, mean over w ≠ v of  -1/N Σ_n Σ_k targets_v[n, k] · log softmax(logits_w[n])[k]

    Args:
        targets: one per full-size view, shape (batch, outcomes), rows sum to 1; constant.
        logits: one per view, full-size ones first and in the same order, shape (batch, outcomes).
    """
    log_probabilities = [functional.log_softmax(x, dim=-1) for x in logits]
    losses = [
        -(target * log_probability).sum(dim=-1).mean()
        for v, target in enumerate(targets)
        for w, log_probability in enumerate(log_probabilities)
        if w != v
    ]
    return torch.stack(losses).mean()
