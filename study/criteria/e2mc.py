"""E2MC: maximal entropy of every dimension, minimal covariance of every pair, on the unit hypercube."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from study.criteria._terms import Term, require_positive, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.plan.space import FloatRange
from study.tensors.covariance import off_diagonal_covariance
from study.tensors.spacings import default_spacing, spacing_entropy

Map = Literal["normal", "sigmoid"]


@dataclass(frozen=True)
class E2MC(Criterion):
    """Effective entropy maximisation criterion.

        total = covariance_weight · Σ_v R(U_v) - entropy_weight · mean_v H(U_v),    U_v = map(view v)

    H is the mean over dimensions of the m-spacing entropy, in nats (0 = uniform, log ε = collapsed); R is the
    sum of squared off-diagonal covariances divided by the number of dimensions. m = round(√N) and the
    covariance use the actual number of rows N.

    Source: Chakraborty, LeCun, Rudner & Learned-Miller, "Improving Pre-trained Self-Supervised Embeddings
    Through Effective Entropy Maximization", AISTATS 2025, https://arxiv.org/abs/2411.15931, with the details
    of the authors' code (https://github.com/deepc94/e2mc, commit 875d8de): entropy is averaged over views
    and covariance is summed, ε is added to scaled spacings, projections are not standardised, and there is
    no bias correction.

    Attributes:
        entropy_weight: ≥ 0; the authors' default for SwAV and VICReg is 10.
        covariance_weight: ≥ 0; the authors' default for SwAV and VICReg is 1.
        map: from the line to (0, 1): `normal` (CDF; SwAV, SimSiam) or `sigmoid` (VICReg).
        epsilon: > 0, floor of the scaled spacings.

    Raises:
        ValueError: a field is out of its range.
    """

    entropy_weight: float = 10.0
    covariance_weight: float = 1.0
    map: Map = "normal"
    epsilon: float = 1e-7

    search_space: ClassVar[Mapping[str, FloatRange]] = {
        "entropy_weight": FloatRange(0.05, 5.0, log=True),
        "covariance_weight": FloatRange(0.05, 5.0, log=True),
    }
    components: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "entropy": {"entropy_weight": 0.0},
        "covariance": {"covariance_weight": 0.0},
    }

    def __post_init__(self) -> None:
        require_weight("entropy_weight", self.entropy_weight)
        require_weight("covariance_weight", self.covariance_weight)
        require_positive("epsilon", self.epsilon)
        if self.map not in get_args(Map):
            raise ValueError(f"map must be one of {', '.join(get_args(Map))}, but got map={self.map!r}")

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion.

        Raises:
            ValueError: there are no more rows than the spacing m.
        """
        hypercube = _to_unit_interval(views.projections, self.map)
        return weighted_sum(
            views,
            Term("entropy", -self.entropy_weight, lambda: _entropy(hypercube, self.epsilon)),
            Term("covariance", self.covariance_weight, lambda: off_diagonal_covariance(hypercube).sum()),
        )


def _to_unit_interval(z: Tensor, name: Map) -> Tensor:
    """Map the line to (0, 1), elementwise."""
    return torch.sigmoid(z) if name == "sigmoid" else 0.5 * (1 + torch.erf(z / math.sqrt(2)))


def _entropy(hypercube: Tensor, epsilon: float) -> Tensor:
    """Mean entropy over views and dimensions of (views, batch, dim) samples."""
    return spacing_entropy(hypercube.mT, default_spacing(hypercube.shape[1]), epsilon).mean()
