"""How the projections are distributed, without labels: marginals, correlations, effective rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.evaluations.base import Evaluation, EvaluationTask
from study.tensors.normal import normal_cdf
from study.tensors.spacings import default_spacing, spacing_entropy

_EPSILON = 1e-7
_MAX_DIMS = 1024  # a matrix of as many rows and columns; as many as the training's own diagnostics look at
_CONSTANT = 1e-6  # standard deviation, relative to the largest entry, below which a dimension is constant
_DECIMALS = 3  # of what is kept of a correlation
_QUANTILES = {"low": 0.1, "median": 0.5, "high": 0.9}


@dataclass(frozen=True)
class EmbeddingStatistics(Evaluation):
    """Statistics of the projections of the held-out images, one clean view each; no label is read.

    Of the first 1,024 dimensions:

    - `entropy_mean`, `entropy_min`: over the dimensions, marginal entropy in nats after the normal map u = Φ(z), by
      m-spacings with m = round(√N); 0 or a little below for standard normal marginals. For one image it is ln 1e-7,
      as for equal ones.
    - `correlation_rms`: root mean square of the correlations of distinct dimensions, in [0, 1]; of independent ones
      about 1/√N. A constant dimension correlates with nothing.
    - `effective_rank`: exp of the entropy of σ / Σσ over the singular values σ of the centred projections (Roy and
      Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007, §2); between 1 and the number
      of dimensions, and 1 where nothing varies.

    `details` are what figures need: the histogram of u in equal bins over [0, 1], as density, its 10 %, 50 % and
    90 % quantile over the dimensions, and the correlation matrix of the first dimensions.

    Attributes:
        num_bins: of the histogram.
        num_dims: of the correlation matrix that is kept.
    """

    num_bins: int = 40
    num_dims: int = 64

    unit: ClassVar[str] = "nats (entropy), none (others)"
    reads_projections: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("num_bins", "num_dims"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= _MAX_DIMS:
                raise ValueError(f"{name} must be a whole number from 1 to {_MAX_DIMS}, got {value!r}")

    def metric_names(self) -> tuple[str, ...]:
        """Entropies, correlation, rank."""
        return ("entropy_mean", "entropy_min", "correlation_rms", "effective_rank")

    def __call__(self, task: EvaluationTask) -> Mapping[str, float]:
        """Return the statistics.

        Raises:
            ValueError: the task has no projections, or something in it is not finite.
        """
        z = _projections(task)
        entropies = _entropies(z)
        correlations = _correlations(z)
        dim = len(correlations)
        squares = max(0.0, float((correlations**2).sum() - (np.diag(correlations) ** 2).sum()))
        return {
            "entropy_mean": float(entropies.mean()),
            "entropy_min": float(entropies.min()),
            "correlation_rms": min(1.0, (squares / max(dim * (dim - 1), 1)) ** 0.5),
            "effective_rank": _effective_rank(z),
        }

    def details(self, task: EvaluationTask) -> Mapping[str, Any]:
        """Return `num_images`, `dim`, `density` (`low`, `median`, `high`, one number a bin) and `correlation`."""
        z = _projections(task)
        cells = np.minimum((_mapped(z).numpy() * self.num_bins).astype(int), self.num_bins - 1)
        counts = np.apply_along_axis(np.bincount, 0, cells, minlength=self.num_bins)
        density = counts * self.num_bins / len(z)
        kept = _correlations(z[:, : self.num_dims])
        return {
            "num_images": len(z),
            "dim": z.shape[1],
            "density": {name: np.quantile(density, q, axis=1).tolist() for name, q in _QUANTILES.items()},
            "correlation": np.round(kept, _DECIMALS).tolist(),
        }


def _projections(task: EvaluationTask) -> NDArray[np.float64]:
    """At most `_MAX_DIMS` columns, shape (num_images, dim)."""
    if task.projections is None:
        raise ValueError("the projections of the held-out images are needed, but the task has none")
    for values in (task.projections, task.train.features, task.held_out.features):
        if not np.isfinite(values).all():
            raise ValueError("projections and features must be finite, got NaN or infinity")
    return np.asarray(task.projections[:, :_MAX_DIMS], dtype=np.float64)


def _mapped(z: NDArray[np.float64]) -> Tensor:
    return normal_cdf(torch.from_numpy(z))


def _entropies(z: NDArray[np.float64]) -> NDArray[np.float64]:
    num_images, dim = z.shape
    if num_images == 1:
        return np.full(dim, np.log(_EPSILON))
    entropies = spacing_entropy(_mapped(z).mT.contiguous(), (default_spacing(num_images),), _EPSILON)
    return entropies.numpy()


def _correlations(z: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = z - z.mean(axis=0)
    deviations = centred.std(axis=0)
    varies = deviations > _CONSTANT * np.abs(z).max(initial=0.0)
    standardised = np.where(varies, centred / np.where(varies, deviations, 1.0), 0.0)
    return np.clip(standardised.T @ standardised / len(z), -1.0, 1.0)


def _effective_rank(z: NDArray[np.float64]) -> float:
    centred = z - z.mean(axis=0)
    centred = np.where(centred.std(axis=0) > _CONSTANT * np.abs(z).max(initial=0.0), centred, 0.0)
    gram = centred.T @ centred if len(z) >= z.shape[1] else centred @ centred.T
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None))
    if not singular.any():
        return 1.0
    shares = singular[singular > 0] / singular.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
