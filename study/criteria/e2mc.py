"""E2MC: maximal entropy of every dimension, minimal covariance of every pair, on the unit hypercube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from study.criteria._terms import Term, require_positive, require_weight, weighted_sum
from study.criteria.base import Criterion, CriterionResult, Views
from study.plan.space import FloatRange
from study.tensors.correlation import standardise
from study.tensors.covariance import off_diagonal_covariance
from study.tensors.normal import normal_cdf
from study.tensors.spacings import default_spacing, spacing_entropy
from study.tensors.streams import stream

Map = Literal["normal", "sigmoid"]
Spacing = Literal["sqrt"] | int | tuple[int, ...]
BiasCorrection = Literal["none", "digamma"]
Samples = Literal["each", "first", "pooled"]

_VARIANCE_FLOOR = 1e-5  # of `standardise`, as in batch normalisation
_FLOAT32_EPSILON = 2.0**-23  # `torch.finfo(torch.float32).eps`


@dataclass(frozen=True)
class E2MC(Criterion):
    """Effective entropy maximisation criterion.

        total = covariance_weight · Σ_v R(U_v) - entropy_weight · mean_v H(U_v),    U_v = map(view v)

    H is the mean over dimensions of the m-spacing entropy, in nats (0 = uniform, log ε = collapsed; on a fixed batch
    at most about log((N+1)/(N-m))); R is the sum of squared off-diagonal covariances divided by the number of
    dimensions, about (D-1) / (144 (N-1)) for independent uniform ones.

    Source: Chakraborty, LeCun, Rudner & Learned-Miller, "Improving Pre-trained Self-Supervised Embeddings
    Through Effective Entropy Maximization", AISTATS 2025, https://arxiv.org/abs/2411.15931, with the details
    of the authors' code (https://github.com/deepc94/e2mc, commit 875d8de): entropy is averaged over views
    and covariance is summed, ε is added to scaled spacings, projections are not standardised, and there is
    no bias correction. The defaults are that formula with the actual number of rows N; everything else is an
    option. The presets `swav`, `vicreg` and `simsiam` are the authors' three trainers at their default weights;
    with `nominal_batch_size=512` also for the short last batches of their VICReg trainer.

    What it cannot see: more than pairwise linear dependence, and clusters of up to m tied points, which it even
    prefers to uniform ones on a fixed batch. Several spacings at once see the latter.

    Attributes:
        entropy_weight: ≥ 0; the authors' default is 10 for SwAV and VICReg, 1 for SimSiam.
        covariance_weight: ≥ 0; the authors' default is 1 for SwAV and VICReg, 25 for SimSiam.
        map: from the line to (0, 1): `normal` (CDF; SwAV, SimSiam) or `sigmoid` (VICReg).
        epsilon: > 0, floor of the scaled spacings.
        spacing: m: `sqrt` for round(√N), a number, or several numbers whose estimates are averaged.
        bias_correction: `digamma` adds log m - ψ(m), so that values of different batch sizes are comparable; a
            constant, so gradients stay the same.
        nominal_batch_size: covariances divide by this minus 1, as the authors' code does with its configured
            batch size; None: by N - 1.
        standardise: bring every dimension to zero mean and unit variance over the batch before the map.
        num_rotations: compute both terms after so many random rotations of the projections, the same for all views,
            and average; 0: the axes as they are. Each costs a QR decomposition of a D × D matrix. Like the directions
            of `SIGReg`, they are a function of `torch.initial_seed()`, D and their number, and so new in every step.
        samples: `each` view on its own, the `first` alone, or all views `pooled` into one sample; the latter two count
            their one covariance as often as there are views, so that a weight keeps its meaning.

    Raises:
        ValueError: a field is out of its range.
    """

    entropy_weight: float = 10.0
    covariance_weight: float = 1.0
    map: Map = "normal"
    epsilon: float = 1e-7
    spacing: Spacing = "sqrt"
    bias_correction: BiasCorrection = "none"
    nominal_batch_size: int | None = None
    standardise: bool = False
    num_rotations: int = 0
    samples: Samples = "each"

    search_space: ClassVar[Mapping[str, FloatRange]] = {
        "entropy_weight": FloatRange(0.1, 30.0, log=True),
        "covariance_weight": FloatRange(0.1, 30.0, log=True),
    }
    components: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "entropy": {"entropy_weight": 0.0},
        "covariance": {"covariance_weight": 0.0},
    }
    reported_fields: ClassVar[tuple[str, ...]] = ("bias_correction",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "swav": {"epsilon": _FLOAT32_EPSILON},
        "vicreg": {"map": "sigmoid", "epsilon": 1e-7},
        "simsiam": {"entropy_weight": 1.0, "covariance_weight": 25.0, "epsilon": _FLOAT32_EPSILON},
    }

    def __post_init__(self) -> None:
        require_weight("entropy_weight", self.entropy_weight)
        require_weight("covariance_weight", self.covariance_weight)
        require_positive("epsilon", self.epsilon)
        for name, kind in (("map", Map), ("bias_correction", BiasCorrection), ("samples", Samples)):
            value = getattr(self, name)
            if value not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, but got {name}={value!r}")
        numbers = self.spacing if isinstance(self.spacing, tuple) else (self.spacing,)
        if self.spacing != "sqrt" and not (numbers and all(isinstance(m, int) and m >= 1 for m in numbers)):
            raise ValueError(f"spacing must be sqrt, or whole numbers >= 1, but got spacing={self.spacing!r}")
        if isinstance(self.spacing, tuple) and not 1 < len(set(numbers)) == len(numbers):
            raise ValueError(f"several spacings must be different numbers, but got spacing={self.spacing!r}")
        if self.nominal_batch_size is not None and self.nominal_batch_size < 2:
            raise ValueError(f"nominal_batch_size must be >= 2, but got nominal_batch_size={self.nominal_batch_size}")
        if self.num_rotations < 0:
            raise ValueError(f"num_rotations must be >= 0, but got num_rotations={self.num_rotations}")

    def check_batch(self, num_rows: int) -> None:
        """Raise ValueError when a spacing is as large as the batch."""
        if max(self._spacings(num_rows)) >= num_rows:
            raise ValueError(f"spacing must be below the batch's {num_rows} rows, but got spacing={self.spacing!r}")

    def compute(self, views: Views) -> CriterionResult:
        """Compute the criterion.

        Raises:
            ValueError: there are no more rows than the spacing m.
        """
        z = self._sampled(views.projections)
        rotated = z @ self.rotations(z.shape[-1]).to(z)[:, None] if self.num_rotations else z[None]
        hypercube = torch.sigmoid(rotated) if self.map == "sigmoid" else normal_cdf(rotated)
        return weighted_sum(
            views,
            Term("entropy", -self.entropy_weight, lambda: self._entropy(hypercube)),
            Term("covariance", self.covariance_weight, lambda: len(views.projections) * self._covariance(hypercube)),
        )

    def _sampled(self, z: Tensor) -> Tensor:
        """The samples that are judged one by one, shape (samples, rows, dim)."""
        if self.samples == "first":
            z = z[:1]
        elif self.samples == "pooled":
            z = z.flatten(0, 1)[None]
        return standardise(z, _VARIANCE_FLOOR) if self.standardise else z

    def rotations(self, dim: int) -> Tensor:
        """Random orthogonal matrices, float64, shape (num_rotations, dim, dim); drawn on the CPU, like `SIGReg`'s.

        They are uniformly distributed but for the signs of their columns, which neither term sees.
        """
        generator = stream("e2mc", torch.initial_seed())
        drawn = torch.randn(self.num_rotations, dim, dim, dtype=torch.float64, generator=generator)
        orthogonal: Tensor = torch.linalg.qr(drawn).Q
        return orthogonal

    def _entropy(self, hypercube: Tensor) -> Tensor:
        """Mean over rotations, samples and dimensions of (rotations, samples, rows, dim)."""
        spacings = self._spacings(hypercube.shape[-2])
        corrects_bias = self.bias_correction == "digamma"
        return spacing_entropy(hypercube.mT, spacings, self.epsilon, corrects_bias=corrects_bias).mean()

    def _spacings(self, num_rows: int) -> tuple[int, ...]:
        spacing = default_spacing(num_rows) if self.spacing == "sqrt" else self.spacing
        return spacing if isinstance(spacing, tuple) else (spacing,)

    def _covariance(self, hypercube: Tensor) -> Tensor:
        """Mean over rotations and samples."""
        divisor = None if self.nominal_batch_size is None else self.nominal_batch_size - 1
        return off_diagonal_covariance(hypercube, divisor).mean()
