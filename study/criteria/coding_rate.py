"""Coding rate: embeddings fill as large a volume as they can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from study.criteria._terms import Term, require_positive, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.errors import DivergedError
from study.plan.space import FloatRange


@dataclass(frozen=True)
class CodingRate(Criterion):
    """Total coding rate of the embeddings, in nats, averaged over views; to be maximised, hence the sign.

        total = -weight · mean_v ½ log det(I + D / (N ε) · E_vᵀ E_v)

    0 ≤ rate ≤ ½ min(N, D) log(1 + D / (min(N, D) ε)), which directions spread evenly reach. Rows are not
    centred, so a common mean costs rate. Exact, by the Cholesky factor of the smaller of the two Gram
    matrices; maximum entropy coding (MEC) maximises the same quantity by a Taylor series.

    Source: Yu, Chan, You, Song & Ma, "Learning Diverse and Discriminative Representations via the Principle of
    Maximal Coding Rate Reduction", NeurIPS 2020, eq. 1, https://arxiv.org/abs/2006.08558 (ε² there is ε here),
    as the term of EMP-SSL (Tong, Chen, Ma & LeCun 2023, eq. 3, https://arxiv.org/abs/2304.03977).

    Attributes:
        weight: ≥ 0.
        epsilon: ε > 0, the distortion allowed per row; 0.2 in EMP-SSL. Float32 needs D / ε below about 10⁶.

    Raises:
        ValueError: a field is out of its range.
    """

    weight: float = 0.01
    epsilon: float = 0.2

    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(1e-3, 1e-1, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_positive("epsilon", self.epsilon)

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion.

        Raises:
            DivergedError: the embeddings are not finite, so that there is no Cholesky factor.
        """
        e, epsilon = views.embeddings, self.epsilon
        return weighted_sum(views, Term("coding_rate", -self.weight, lambda: _coding_rate(e, epsilon).mean()))


def _coding_rate(e: Tensor, epsilon: float) -> Tensor:
    """½ log det(I + D / (N ε) EᵀE) of each view of (views, batch, dim); EᵀE and EEᵀ have the same determinant."""
    num_rows, dim = e.shape[1:]
    gram = e.mT @ e if dim <= num_rows else e @ e.mT
    identity = torch.eye(gram.shape[-1], dtype=e.dtype, device=e.device)
    try:
        factor: Tensor = torch.linalg.cholesky(identity + gram * (dim / (num_rows * epsilon)))
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # public, not in the stubs
        raise DivergedError(f"coding_rate: the embeddings have no log-determinant ({error})") from error
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
