"""InfoNCE: every embedding recognises its other view among all other embeddings."""

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
from study.tensors.contrast import contrast


@dataclass(frozen=True)
class InfoNCE(Criterion):
    """NT-Xent between two views, averaged over pairs of views; optionally decoupled.

        total = weight · mean_i [ -e_i·e_p(i) / T + log Σ_{j∈A(i)} exp(e_i·e_j / T) ],    T = temperature

    i runs over the 2N embeddings of both views and p(i) is the other view of the same image. A(i) holds all
    embeddings but i (NT-Xent), or all but i and p(i) (decoupled), so that a pair that agrees already does not
    dampen the repulsion. The term lies in (0, log(2N-1) + 2/T], decoupled in
    [log(2N-2) - 2/T, log(2N-2) + 2/T]. Its first part aligns views, as the base method does.

    Source: Chen, Kornblith, Norouzi & Hinton, "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020, eq. 1, https://arxiv.org/abs/2002.05709; Yeh, Hong, Hsu, Liu, Chen & LeCun,
    "Decoupled Contrastive Learning", ECCV 2022, eq. 6, https://arxiv.org/abs/2110.06848.

    Attributes:
        weight: ≥ 0.
        temperature: T > 0; 0.1 suits embeddings of images in both sources.
        decoupled: leave the positive out of the denominator.

    Raises:
        ValueError: a field is out of its range.
    """

    weight: float = 1.0
    temperature: float = 0.1
    decoupled: bool = False

    min_views: ClassVar[int] = 2
    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(0.05, 5.0, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_positive("temperature", self.temperature)

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion."""
        e = views.embeddings
        return weighted_sum(views, Term("contrast", self.weight, lambda: self._mean_contrast(e)))

    def _mean_contrast(self, e: Tensor) -> Tensor:
        pairs = combinations(e, 2)
        return torch.stack([contrast(*pair, self.temperature, decoupled=self.decoupled) for pair in pairs]).mean()
