"""What an evaluation is: a frozen dataclass that maps representations, or the network itself, to named metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.tensors.images import Images


@dataclass(frozen=True)
class Representations:
    """Frozen backbone outputs of clean images.

    Attributes:
        features: float32, shape (num_images, representation_dim); (num_images, 0) for evaluations that do without.
        labels: int64, shape (num_images,).
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Trainable:
    """What an evaluation gets that trains the network itself.

    Attributes:
        backbone: makes a copy of the trained backbone, on `device`, whose weights the evaluation may change.
        representation_dim: width of the backbone's output.
        train: images of the labelled pool, in the order of its labels.
        held_out: those that it is judged on, likewise.
        crop: maps uint8 images, a generator on the CPU and a range of areas to random resized crops, half of them
            flipped: float32, of the same shape, in [-1, 1].
        device: where to train.
        pause: to be called now and then; raises when the process has to stop.
    """

    backbone: Callable[[], nn.Module]
    representation_dim: int
    train: Images
    held_out: Images
    crop: Callable[[Tensor, torch.Generator, tuple[float, float]], Tensor]
    device: torch.device
    pause: Callable[[], None] = lambda: None


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
        trainable: the network and the images; only for evaluations with `trains_network`.
        label_lists: published choices of labels, percentage → increasing indices into the pool; they take the place
            of draws.
        drawn: what `labels_of` was asked for, call by call: kept with the result, so that arms can be compared.
    """

    train: Representations
    held_out: Representations
    num_classes: int
    dataset: str
    label_seed: str
    projections: NDArray[np.float32] | None = None
    trainable: Trainable | None = None
    label_lists: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    drawn: list[NDArray[np.int64]] = field(default_factory=list, compare=False, repr=False)

    def labels_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of some images of the pool; an evaluation on few labels looks at them in no other way."""
        self.drawn.append(rows.copy())
        labels: NDArray[np.int64] = self.train.labels[rows]
        return labels


class Evaluation(ABC):
    """Base of all evaluations; subclasses are frozen dataclasses whose fields are their configuration.

    Attributes:
        unit: unit of every metric, e.g. `percent`.
        reads_features: whether the task must hold features.
        reads_projections: whether the task must hold projections.
        trains_network: whether the task must hold what can be trained; the run's own weights stay as they are.
    """

    unit: ClassVar[str] = "percent"
    reads_features: ClassVar[bool] = True
    reads_projections: ClassVar[bool] = False
    trains_network: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, task: EvaluationTask) -> Mapping[str, float]:
        """Return metric name → value. Deterministic: two calls give equal numbers."""

    def details(self, task: EvaluationTask) -> Mapping[str, Any]:  # noqa: ARG002 - few have any
        """Return what figures need beyond the metrics: JSON of bounded size, kept beside them. Deterministic, too."""
        return {}

    def check_pool(self, num_images: int, num_classes: int) -> None:  # noqa: B027 - few need it
        """Raise ValueError when a labelled pool of this size is too small; asked before anything is trained."""

    def num_trained(self, num_images: int) -> int:  # noqa: ARG002 - few train
        """How often a call trains the network on an image of a pool of `num_images`: for forecasts."""
        return 0

    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics that a call returns, known without data."""
