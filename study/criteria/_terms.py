"""Weighted sums of terms, the shape that all criteria share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from study.criteria.base import CriterionResult, Views


@dataclass(frozen=True)
class Term:
    """One summand of a criterion.

    Attributes:
        name: what the logs call it.
        weight: signed factor in the total.
        compute: returns the unweighted scalar.
    """

    name: str
    weight: float
    compute: Callable[[], Tensor]


def weighted_sum(views: Views, *terms: Term) -> CriterionResult:
    """Add up weighted terms.

    A term of weight zero is still computed and reported, so that all ablations log the same things, but
    without gradient, and it leaves the total alone even when it is not finite. Reported terms are detached.

    Terms of projections that are not finite, or whose sum is not, are NaN, also where a formula maps infinity to a
    number. Nothing is raised here, because asking for the value would make a GPU wait in every step: the training loop
    does so where it fetches the terms, and names them.
    """
    is_finite = views.projections.detach().sum().isfinite()
    total = views.projections.new_zeros(())
    reported = {}
    for term in terms:
        counts = term.weight != 0
        with torch.set_grad_enabled(torch.is_grad_enabled() and counts):
            value = torch.where(is_finite, term.compute(), math.nan)
        if counts:
            total = total + term.weight * value
        reported[term.name] = value.detach()
    return CriterionResult(total, reported)


def require_weight(name: str, value: float) -> None:
    """Raise ValueError unless `value` is finite and not negative."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and >= 0, but got {name}={value:g}")


def require_positive(name: str, value: float) -> None:
    """Raise ValueError unless `value` is finite and positive."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and > 0, but got {name}={value:g}")
