"""MMCR: the mean embeddings of the images span as much of the space as they can."""

from __future__ import annotations

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
class MMCR(Criterion):
    """Maximum manifold capacity: the nuclear norm of the images' centroids.

        total = -weight · ‖C‖_*,    C_n = mean_v e_nv, not normalised again (batch, dim)

    0 ≤ ‖C‖_* ≤ √min(N, D) · √N: it grows with the batch, so a weight belongs to a batch size. Centroids are
    longest where the views of an image agree, so the criterion also aligns views.

    Source: Yerxa, Kuang, Simoncelli & Chung, "Learning Efficient Coding of Natural Images with Maximum
    Manifold Capacity Representations", NeurIPS 2023, https://arxiv.org/abs/2303.03307, without the per-image
    term.

    Attributes:
        weight: ≥ 0.

    Raises:
        ValueError: the weight is negative or not finite.
    """

    weight: float = 0.01

    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(1e-3, 1e-1, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion.

        Raises:
            DivergedError: the embeddings are not finite, so that they have no singular values.
        """
        centroids = views.embeddings.mean(dim=0)
        return weighted_sum(views, Term("nuclear_norm", -self.weight, lambda: _nuclear_norm(centroids)))


def _nuclear_norm(matrix: Tensor) -> Tensor:
    """Sum of singular values; its gradient UVᵀ is finite for matrices of any rank."""
    try:
        singular_values: Tensor = torch.linalg.svdvals(matrix)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # public, not in the stubs
        raise DivergedError(f"nuclear_norm: the embeddings have no singular values ({error})") from error
    return singular_values.sum()
