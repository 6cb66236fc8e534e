"""KoLeo: every embedding moves away from its nearest neighbour."""

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
class KoLeo(Criterion):
    """Minus the mean log distance of an embedding to its nearest neighbour in the same view, averaged over views.

        total = -weight · mean_v 1/N Σ_i log( min_{j≠i} ‖e_i - e_j‖ + ε )

    The Kozachenko-Leonenko estimator of differential entropy in D dimensions but for constants: what spacings
    are in one dimension. The term lies in [-log(2 + ε), -log ε]. Only the nearest neighbour matters, so pairs
    of equal rows have the highest value and, as their distance has no direction, no gradient.

    Source: Sablayrolles, Douze, Schmid & Jégou, "Spreading vectors for similarity search", ICLR 2019, eq. 3,
    https://arxiv.org/abs/1806.03198, with ε and the weight of DINOv2 (Oquab et al. 2024,
    https://arxiv.org/abs/2304.07193), which adds up two crops where this averages.

    Attributes:
        weight: ≥ 0.
        epsilon: ε > 0, floor of the distances; the gradient of a distance d grows like 1 / (d + ε).

    Raises:
        ValueError: a field is out of its range.
    """

    weight: float = 0.1
    epsilon: float = 1e-8

    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(0.05, 5.0, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_positive("epsilon", self.epsilon)

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion."""
        e, epsilon = views.embeddings, self.epsilon
        return weighted_sum(views, Term("neighbour_entropy", -self.weight, lambda: _mean_log_distance(e, epsilon)))


def _mean_log_distance(e: Tensor, epsilon: float) -> Tensor:
    """Mean over rows and views of the log distance to the nearest other row of (views, batch, dim) unit vectors.

    The Gram matrix chooses the neighbour, so that in float32 the choice among neighbours nearer than about 5e-4
    is arbitrary; the distance itself comes from the difference of the two rows and is exact.
    """
    with torch.no_grad():
        own = torch.eye(e.shape[1], dtype=torch.bool, device=e.device)
        nearest = (e @ e.mT).masked_fill(own, -math.inf).argmax(dim=-1)
    neighbours = e.gather(1, nearest[..., None].expand_as(e))
    return torch.log(torch.linalg.vector_norm(e - neighbours, dim=-1) + epsilon).mean()
