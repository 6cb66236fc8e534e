"""Wasserstein uniformity: embeddings have the mean and covariance of directions spread evenly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from study.criteria._terms import Term, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.errors import DivergedError
from study.plan.space import FloatRange


@dataclass(frozen=True)
class Wasserstein(Criterion):
    """Wasserstein-2 distance between the Gaussian with the embeddings' mean and covariance and N(0, I/D).

        total = weight · √( ‖μ‖² + 1 + tr Σ - 2/√D · tr Σ^{1/2} )
              = weight · √( ‖μ‖² + Σ_d (σ_d - 1/√D)² ),    σ_d = √(eigenvalue d of Σ)

    μ and Σ (divided by the number of rows) are those of the embeddings of all views together. The term lies in
    [0, √2]; √2 means that all embeddings are equal. The second form cannot become negative by rounding. σ_d are
    singular values of the centred embeddings: their gradient is bounded at any rank, where that of Σ^{1/2} is
    infinite, and in float32 they are exact to 1e-7 of the largest, where roots of eigenvalues are to 3e-4.

    Source: Fang, Li, Sun & Wang, "Rethinking the Uniformity Metric in Self-Supervised Learning", ICLR 2024,
    https://arxiv.org/abs/2403.00642.

    Attributes:
        weight: ≥ 0.

    Raises:
        ValueError: the weight is negative or not finite.
    """

    weight: float = 1.0

    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(0.1, 10.0, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion.

        Raises:
            DivergedError: the embeddings are not finite, so that they have no singular values.
        """
        e = views.embeddings.flatten(0, 1)
        return weighted_sum(views, Term("wasserstein", self.weight, lambda: _distance_to_uniform(e)))


def _distance_to_uniform(e: Tensor) -> Tensor:
    """Wasserstein-2 distance of (rows, dim) samples to N(0, I/D); its gradient is zero where it is zero."""
    num_rows, dim = e.shape
    mean = e.mean(dim=0)
    try:
        singular_values: Tensor = torch.linalg.svdvals(e - mean)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # public, not in the stubs
        raise DivergedError(f"wasserstein: the embeddings have no singular values ({error})") from error
    missing = singular_values.new_zeros(dim - len(singular_values))
    deviations = torch.cat([singular_values / math.sqrt(num_rows), missing])
    distance: Tensor = torch.linalg.vector_norm(torch.cat([mean, deviations - 1 / math.sqrt(dim)]))
    return distance
