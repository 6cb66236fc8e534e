"""Uniformity: embeddings repel each other on the unit sphere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from study.criteria._terms import Term, require_positive, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.plan.space import FloatRange


@dataclass(frozen=True)
class Uniformity(Criterion):
    """Logarithm of the mean Gaussian potential between the embeddings of a view, averaged over views.

        total = weight · mean_v log( mean_{i<j} exp(-t ‖e_i - e_j‖²) ),    t = kernel_scale

    Source: Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity
    on the Hypersphere", ICML 2020, §4.1, https://arxiv.org/abs/2005.10242.

    Attributes:
        weight: ≥ 0.
        kernel_scale: t > 0; 2 in the source.

    Raises:
        ValueError: a field is out of its range.
    """

    weight: float = 1.0
    kernel_scale: float = 2.0

    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(0.05, 5.0, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_positive("kernel_scale", self.kernel_scale)

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion; the term lies in [-4t, 0]."""
        e, t = views.embeddings, self.kernel_scale
        return weighted_sum(views, Term("uniformity", self.weight, lambda: _log_potential(e, t)))


def _log_potential(e: Tensor, kernel_scale: float) -> Tensor:
    """Log mean potential over pairs of different rows of (views, batch, dim), averaged over views.

    Squared distances come from the Gram matrix: unlike the root of a distance they have a gradient at zero.
    """
    num_rows = e.shape[1]
    squares = e.square().sum(dim=-1)
    distances = squares[:, :, None] + squares[:, None, :] - 2 * (e @ e.mT)
    own = torch.eye(num_rows, dtype=torch.bool, device=e.device)
    logits = (-kernel_scale * distances).masked_fill(own, -math.inf)
    return (torch.logsumexp(logits, dim=(1, 2)) - math.log(num_rows * (num_rows - 1))).mean()
