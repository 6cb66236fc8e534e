"""What an evaluation is: a frozen dataclass that maps frozen representations to named metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Representations:
    """Frozen backbone outputs of clean images.

    Attributes:
        features: float32, shape (num_images, representation_dim).
        labels: int64, shape (num_images,).
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class EvaluationTask:
    """Everything an evaluation may look at.

    Attributes:
        train: the labelled pool.
        held_out: what the evaluation is judged on; validation while tuning, test when confirming.
        num_classes: number of classes.
        dataset: the dataset's name; with `label_seed` it decides which labels are drawn, never the arm.
        label_seed: equal across arms, new for every unit of the statistics: the base seed, and where the unit is the
            continuation, `<base seed>.<continuation seed>`.
        projections: projector outputs of the held-out images, not normalised, float32, shape (num_images,
            projection_dim); only for evaluations with `reads_projections`.
    """

    train: Representations
    held_out: Representations
    num_classes: int
    dataset: str
    label_seed: str
    projections: NDArray[np.float32] | None = None


class Evaluation(ABC):
    """Base of all evaluations; subclasses are frozen dataclasses whose fields are their configuration.

    Attributes:
        unit: unit of every metric, e.g. `percent`.
        reads_projections: whether the task must hold projections.
    """

    unit: ClassVar[str] = "percent"
    reads_projections: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, task: EvaluationTask) -> Mapping[str, float]:
        """Return metric name → value. Deterministic: two calls give equal numbers."""

    def label_draws(self, task: EvaluationTask) -> Sequence[NDArray[np.int64]]:  # noqa: ARG002 - few draw
        """Return the indices into the labelled pool of every draw that a call makes; none when it reads it whole."""
        return ()

    def details(self, task: EvaluationTask) -> Mapping[str, Any]:  # noqa: ARG002 - few have any
        """Return what figures need beyond the metrics: JSON of bounded size, kept beside them. Deterministic, too."""
        return {}

    def check_pool(self, num_images: int, num_classes: int) -> None:  # noqa: B027 - few need it
        """Raise ValueError when a labelled pool of this size is too small; asked before anything is trained."""

    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that a call returns, known without data."""
