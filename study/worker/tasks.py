"""What an evaluation of a run may look at: features, projections, or the network itself with the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from study.datasets.base import Dataset, LabelledImages, Split
from study.errors import SealedSplitError
from study.evaluations.base import Evaluation, EvaluationTask, Representations
from study.methods.base import MethodNetwork
from study.plan.model import Phase
from study.training.assemble import component
from study.training.representations import project, represent
from study.training.trainable import trainable
from study.worker.workplace import Workplace


@dataclass(frozen=True)
class ImageSource:
    """A dataset, its name, and where it lies."""

    name: str
    dataset: Dataset
    folder: Path


class Tasks:
    """Makes the tasks of one network; representations of a split are computed once."""

    def __init__(self, work: Workplace, network: Callable[[], MethodNetwork], pause: Callable[[], None]) -> None:
        """Compute nothing yet.

        Args:
            work: the run's surroundings.
            network: returns the trained network; what comes out is changed when projections are wanted.
            pause: called after every batch; raises when the process has to stop, see `Trainable`.
        """
        self._work, self._network, self._pause = work, network, pause
        self._own = ImageSource(work.spec.training["dataset"]["name"], work.dataset, work.folder)
        self._representations: dict[tuple[ImageSource, Split], Representations] = {}

    def task(self, evaluation: Evaluation, split: Split, images: ImageSource | None = None) -> EvaluationTask:
        """What `evaluation` may look at on a split of `images`, by default the run's own.

        Raises:
            SealedSplitError: a run of the tuning phase asks for the test split.
        """
        work, training, source = self._work, self._work.spec.training, images or self._own
        self._check_seal(split)
        read = self._represent if evaluation.reads_features else self._labels
        task = EvaluationTask(
            read(source, Split.TRAIN),
            read(source, split),
            source.dataset.num_classes,
            source.name,
            _label_seed(training),
            label_lists=source.dataset.label_lists_in(source.folder),
        )
        extra: dict[str, Any] = {}
        if evaluation.reads_projections:
            extra["projections"] = self._project(source, split)
        if evaluation.trains_network:
            dim = component(training, "backbones", "backbone").representation_dim
            pair = self._images(source, Split.TRAIN), self._images(source, split)
            extra["trainable"] = trainable(self._network().backbone, dim, *pair, work.device, self._pause)
        return replace(task, **extra)

    def _represent(self, source: ImageSource, split: Split) -> Representations:
        key = (source, split)
        if key not in self._representations:
            backbone = self._network().backbone.to(self._work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._representations[key] = represent(
                backbone, self._images(source, split), self._work.device, self._pause
            )
        return self._representations[key]

    def _labels(self, source: ImageSource, split: Split) -> Representations:
        labels = self._images(source, split).labels.numpy()
        return Representations(np.zeros((len(labels), 0), dtype=np.float32), labels)

    def _project(self, source: ImageSource, split: Split) -> NDArray[np.float32]:
        network = self._network()
        network.to(self._work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return project(network, self._images(source, split), self._work.device, self._pause)

    def _images(self, source: ImageSource, split: Split) -> LabelledImages:
        self._check_seal(split)
        return source.dataset.labelled(source.folder, split)

    def _check_seal(self, split: Split) -> None:
        if split is Split.TEST and self._work.spec.labels["phase"] != Phase.CONFIRM:
            raise SealedSplitError(
                f"{self._work.spec.run_id} of phase {self._work.spec.labels['phase']} asked for the test split; "
                "only confirming runs may read it"
            )


def _label_seed(training: Mapping[str, Any]) -> str:
    """What label draws are a function of, beside the dataset and the fraction."""
    seeds = training["seeds"]
    return f"{seeds['base']}.{seeds.get('continuation', 0)}" if training.get("labels_vary") else str(seeds["base"])
