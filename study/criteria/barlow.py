"""Barlow: a dimension of one view does not correlate with the other dimensions of another view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from study.criteria._terms import Term, require_positive, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.plan.space import FloatRange
from study.tensors.correlation import redundancy, standardise


@dataclass(frozen=True)
class Barlow(Criterion):
    """Redundancy term of Barlow Twins: squared off-diagonal cross-correlations, averaged over pairs of views.

        total = weight · mean_{v<w} Σ_{i≠j} (C^{vw}_ij)²,    C^{vw} = Ẑ_vᵀ Ẑ_w / N
        Ẑ = (Z - mean) / √(var + ε) per dimension, var divided by N

    The diagonal of C, which aligns the views, is left to the base method. 0 ≤ redundancy < D (D-1), and about
    D (D-1) / (N-1) for independent dimensions. It sees neither the scale nor the mean of the projections.

    Source: Zbontar, Jing, Misra, LeCun & Deny, "Barlow Twins: Self-Supervised Learning via Redundancy
    Reduction", ICML 2021, eq. 1 and 2, https://arxiv.org/abs/2103.03230, with the weight λ of their code.

    Attributes:
        weight: ≥ 0.
        epsilon: ε > 0, of the batch normalisation.

    Raises:
        ValueError: a field is out of its range.
    """

    weight: float = 0.0051
    epsilon: float = 1e-5

    min_views: ClassVar[int] = 2
    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(1e-4, 1e-2, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_positive("epsilon", self.epsilon)

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion."""
        z = views.projections
        return weighted_sum(views, Term("redundancy", self.weight, lambda: self._mean_redundancy(z)))

    def _mean_redundancy(self, z: Tensor) -> Tensor:
        pairs = combinations(standardise(z, self.epsilon), 2)
        return torch.stack([redundancy(*pair) for pair in pairs]).mean()
