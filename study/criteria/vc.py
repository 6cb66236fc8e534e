"""VC: every dimension keeps its standard deviation, no two dimensions covary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from study.criteria._terms import Term, require_positive, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.plan.space import FloatRange
from study.tensors.covariance import off_diagonal_covariance
from study.tensors.variance import std_shortfall

Domain = Literal["sphere", "projector"]


@dataclass(frozen=True)
class VC(Criterion):
    """Variance and covariance regularisation, as E2MC's alternative: VICReg without its invariance term.

        total = std_weight · mean_v S(X_v) + covariance_weight · Σ_v R(X_v)
        S(X) = 1/D Σ_d max(0, τ - √(var_d(X) + ε)),    R(X) = 1/D Σ_{i≠j} cov_ij(X)²

    On the `sphere` X are the normalised embeddings and τ = 1/√D, the standard deviation of directions spread
    evenly; on the `projector` X are the projections and τ = 1. Variances and covariances divide by N-1 for the
    actual number of rows N. 0 ≤ S ≤ τ and 0 ≤ R. Embeddings do not see the projections' scale.

    On the sphere S is smaller by a factor of √D and R by one of D², so their weights must be larger: the declared
    ranges suit the projector. There, too, the default ε = 1e-4 is 1.3 % of the target variance 1/D when D = 128:
    the hinge is satisfied that much too early, and for D > 10⁴ always.

    Source: Bardes, Ponce & LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
    Learning", ICLR 2022, eq. 1 and 4, https://arxiv.org/abs/2105.04906, averaged (S) and summed (R) over views
    and with the defaults of E2MC's authors (https://github.com/deepc94/e2mc, commit 875d8de,
    main_swav_vc_ft.py).

    Attributes:
        std_weight: ≥ 0.
        covariance_weight: ≥ 0.
        domain: `sphere` or `projector`.
        epsilon: ε > 0; bounds the slope of the root where a dimension is constant.

    Raises:
        ValueError: a field is out of its range.
    """

    std_weight: float = 1.0
    covariance_weight: float = 0.01
    domain: Domain = "sphere"
    epsilon: float = 1e-4

    search_space: ClassVar[Mapping[str, FloatRange]] = {
        "std_weight": FloatRange(0.1, 100.0, log=True),
        "covariance_weight": FloatRange(1e-3, 10.0, log=True),
    }
    components: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "std": {"std_weight": 0.0},
        "covariance": {"covariance_weight": 0.0},
    }

    def __post_init__(self) -> None:
        require_weight("std_weight", self.std_weight)
        require_weight("covariance_weight", self.covariance_weight)
        require_positive("epsilon", self.epsilon)
        if self.domain not in get_args(Domain):
            raise ValueError(f"domain must be one of {', '.join(get_args(Domain))}, but got domain={self.domain!r}")

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion."""
        on_sphere = self.domain == "sphere"
        x = views.embeddings if on_sphere else views.projections
        target = 1 / math.sqrt(x.shape[-1]) if on_sphere else 1.0
        return weighted_sum(
            views,
            Term("std", self.std_weight, lambda: std_shortfall(x, target, self.epsilon)),
            Term("covariance", self.covariance_weight, lambda: off_diagonal_covariance(x).sum()),
        )
