"""SIGReg: random one-dimensional projections look standard normal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from study.criteria._terms import Term, require_positive, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.plan.space import FloatRange
from study.tensors.streams import stream


@dataclass(frozen=True)
class SIGReg(Criterion):
    """Sketched isotropic Gaussian regularisation: the Epps-Pulley test of normality on random directions.

        total = weight · mean_{v,a} T(Z_v a),    a uniform on the unit sphere, the same for all views
        T(x) = N ∫_{-K}^{K} | 1/N Σ_n exp(i t x_n) - exp(-t²/2) |² exp(-t²/2) dt,    K = max_frequency

    The integral is a trapezoid sum over `num_knots` points in [0, K], doubled. T ≥ 0; for standard normal rows
    its mean is ∫ (1 - exp(-t²)) exp(-t²/2) dt ≈ 1.05 at any N, otherwise it grows like N. By the central limit
    theorem random directions hardly see the shape of marginals.

    Source: Balestriero & LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics",
    2025, https://arxiv.org/abs/2511.08544, with the numbers of its minimal example; Epps & Pulley, "A test for
    normality based on the empirical characteristic function", Biometrika 70, 1983.

    The directions are a function of (`seed`, `torch.initial_seed()`, D, `num_directions`). The training loop
    seeds torch anew for every step, from the run's seeds, epoch and step: every step has new directions, and a
    resumed run and all processes of a group draw the same. Torch's own generator is not advanced.

    Attributes:
        weight: ≥ 0.
        num_directions: how many directions, ≥ 1.
        num_knots: points of the trapezoid sum, ≥ 2.
        max_frequency: K > 0, where the integral is cut.
        seed: of the directions, ≥ 0.

    Raises:
        ValueError: a field is out of its range.
    """

    weight: float = 0.02
    num_directions: int = 256
    num_knots: int = 17
    max_frequency: float = 3.0
    seed: int = 0

    search_space: ClassVar[Mapping[str, FloatRange]] = {"weight": FloatRange(2e-3, 2e-1, log=True)}

    def __post_init__(self) -> None:
        require_weight("weight", self.weight)
        require_positive("max_frequency", self.max_frequency)
        for name, low in (("num_directions", 1), ("num_knots", 2), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, but got {name}={getattr(self, name)}")

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion."""
        return weighted_sum(views, Term("epps_pulley", self.weight, lambda: self._mean_statistic(views.projections)))

    def _mean_statistic(self, z: Tensor) -> Tensor:
        samples = z @ self.directions(z.shape[-1]).to(z)
        return _epps_pulley(samples, self.max_frequency, self.num_knots).mean()

    def directions(self, dim: int) -> Tensor:
        """Unit columns, float64, shape (dim, num_directions); drawn on the CPU, so that every device has the same."""
        generator = stream("sigreg", self.seed, torch.initial_seed())
        drawn = torch.randn(dim, self.num_directions, dtype=torch.float64, generator=generator)
        return functional.normalize(drawn, dim=0)


def _epps_pulley(samples: Tensor, max_frequency: float, num_knots: int) -> Tensor:
    """Statistic T of (..., N, directions) samples, shape (..., directions); the knot at zero contributes nothing."""
    statistic = torch.zeros_like(samples[..., 0, :])
    step = max_frequency / (num_knots - 1)
    for knot in range(1, num_knots):
        normal = math.exp(-((knot * step) ** 2) / 2)
        phases = samples * (knot * step)
        distance = (phases.cos().mean(dim=-2) - normal).square() + phases.sin().mean(dim=-2).square()
        width = 2 * step if knot < num_knots - 1 else step
        statistic = statistic + width * normal * distance
    return statistic * samples.shape[-2]
