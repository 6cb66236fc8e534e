"""Linear probe: how much of the class can a linear classifier read from the frozen representation?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.evaluations._labels import chosen_labels, require_percents, subset_size
from study.evaluations.base import Evaluation, EvaluationTask

# L-BFGS stops when no gradient entry exceeds this. Measured on three sets of 10,000 × 128 Fashion-MNIST
# features against a float64 solve at 1e-8: each fraction's accuracy is within 0.01 points (1e-4: 0.04), for
# 2 CPU-seconds in all; a smaller one gains nothing in float32.
_TOLERANCE = 3e-5
# A limit that no fit should meet: the hardest features tried (512 correlated dimensions) need 800 iterations.
_MAX_ITERATIONS = 5_000


@dataclass(frozen=True)
class LinearProbe(Evaluation):
    """Multinomial logistic regression on frozen features, for several label fractions.

    Minimises mean cross-entropy + λ/2·‖W‖² over W of shape (num_classes, representation_dim) and an
    unpenalised bias, with L-BFGS: the problem is convex, so no learning rate or number of epochs stands
    between two arms. Low-shot logistic regression on cached features is the protocol of MSN
    (https://arxiv.org/abs/2204.07141).

    Features are standardised with mean and standard deviation of the whole pool's features (no labels enter).
    Criteria change the scale of a representation, and with a fixed λ a mere change of scale would look like
    better or worse features.

    Attributes:
        label_percent: label fractions, in percent of the pool; class-balanced draws, equal for all arms, or the
            dataset's list where it has one.
        num_draws: draws that each fraction averages over. Default: 10 up to 1 %, 3 up to 10 %, else 1 (our
            choice: the fewer labels, the noisier the draw).
        weight_decay: λ of each fraction. Default: 3e-2 up to 1 %, 1e-2 up to 10 %, else 1e-3 (our choice,
            fixed in advance on another base; tuning λ per arm would be one more way for arms to differ).
    """

    label_percent: tuple[int, ...] = (1, 10, 100)
    num_draws: tuple[int, ...] | None = None
    weight_decay: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        percents = self.label_percent
        require_percents(percents)
        if self.num_draws is None:
            object.__setattr__(self, "num_draws", tuple(10 if p <= 1 else 3 if p <= 10 else 1 for p in percents))
        if self.weight_decay is None:
            decays = tuple(3e-2 if p <= 1 else 1e-2 if p <= 10 else 1e-3 for p in percents)
            object.__setattr__(self, "weight_decay", decays)
        self._check_per_percent()

    def _check_per_percent(self) -> None:
        for name in ("num_draws", "weight_decay"):
            values = getattr(self, name)
            if len(values) != len(self.label_percent):
                raise ValueError(
                    f"{name} must hold one value per label_percent {self.label_percent}, got {values}; "
                    "leave it out for the defaults"
                )
        for percent, num_draws, decay in self._fractions:
            if not isinstance(num_draws, int) or num_draws < 1:
                raise ValueError(f"num_draws must hold whole numbers ≥ 1, got {num_draws!r}")
            if percent == 100 and num_draws != 1:
                raise ValueError(f"num_draws must be 1 at 100 %, where every draw is the whole pool, got {num_draws}")
            if not 0 < decay < math.inf:
                raise ValueError(f"weight_decay must hold finite numbers > 0, got {decay!r}")

    @property
    def _fractions(self) -> tuple[tuple[int, int, float], ...]:
        """(percent, number of draws, λ) of every label fraction."""
        return tuple(zip(self.label_percent, self.num_draws or (), self.weight_decay or (), strict=True))

    def check_pool(self, num_images: int, num_classes: int) -> None:
        """Raise ValueError when a label fraction is smaller than one label per class."""
        for percent in self.label_percent:
            subset_size(num_images, percent, num_classes)

    def metric_names(self) -> tuple[str, ...]:
        """`top1_<n>pct` of every label fraction, and their mean `top1_mean`."""
        return (*(f"top1_{percent}pct" for percent in self.label_percent), "top1_mean")

    def __call__(self, task: EvaluationTask) -> Mapping[str, float]:
        """Return top-1 accuracy in percent on the held-out images, averaged over draws; last, the mean.

        Raises:
            ValueError: a label fraction is smaller than one label per class, or features are not finite.
        """
        pool, held_out = _standardised(task)
        top1 = []
        for percent, num_draws, decay in self._fractions:
            draws = chosen_labels(task, percent, num_draws)
            top1.append(float(np.mean([_top1(task, pool, held_out, rows, decay) for rows in draws])))
        return dict(zip(self.metric_names(), [*top1, float(np.mean(top1))], strict=True))


def _standardised(task: EvaluationTask) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of pool and held-out images on the pool's scale; dimensions that are constant over the pool become 0."""
    from sklearn.preprocessing import StandardScaler  # late: 1 s of import

    scaler = StandardScaler().fit(task.train.features)
    return scaler.transform(task.train.features), scaler.transform(task.held_out.features)


def _top1(
    task: EvaluationTask, pool: NDArray[np.float32], held_out: NDArray[np.float32], rows: NDArray[np.int64],
    weight_decay: float,
) -> float:  # fmt: skip
    """Fit on the chosen images; return the accuracy on the held-out ones in percent."""
    classifier = _fitted(pool[rows], task.labels_of(rows), weight_decay)
    return 100 * float(np.mean(classifier.predict(held_out) == task.held_out.labels))


def _fitted(features: NDArray[np.float32], labels: NDArray[np.int64], weight_decay: float) -> Any:
    """Return scikit-learn's classifier at the minimum of mean cross-entropy + λ/2·‖W‖².

    Scikit-learn minimises C·Σ cross-entropy + ‖W‖²/2, hence C = 1/(λ·num_images). For two classes it keeps
    only w = w₁ - w₀; the softmax optimum has w₁ = -w₀ = w/2 and so ‖W‖² = ‖w‖²/2, hence twice that C.
    """
    from sklearn.linear_model import LogisticRegression  # late: 1 s of import

    inverse_decay = (2 if len(np.unique(labels)) == 2 else 1) / (weight_decay * len(labels))
    classifier = LogisticRegression(C=inverse_decay, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, solver="lbfgs")
    return classifier.fit(features, labels)
