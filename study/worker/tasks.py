"""What an evaluation of a run may look at: features, projections, or the network itself with the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from study.datasets.base import Dataset, Split
from study.errors import SealedSplitError
from study.evaluations.base import Evaluation, EvaluationTask, Representations
from study.methods.base import MethodNetwork
from study.plan.model import Phase
from study.training.assemble import component
from study.training.representations import project, represent
from study.training.trainable import trainable
from study.worker.looked_at import Watched
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
        self._represented: dict[tuple[ImageSource, Split], tuple[Representations, Watched]] = {}

    def task(
        self, evaluation: Evaluation, split: Split, images: ImageSource | None = None
    ) -> tuple[EvaluationTask, Sequence[Watched]]:
        """What `evaluation` may look at on a split of `images`, by default the run's own.

        Returns:
            The task; and the images behind it, which know what has been read of them, see `looked_at`.

        Raises:
            SealedSplitError: a run of the tuning phase asks for the test split.
        """
        work, training, source = self._work, self._work.spec.training, images or self._own
        self._check_seal(split)
        read = self._represent if evaluation.reads_features else self._labels
        (train, of_train), (held_out, of_held_out) = read(source, Split.TRAIN), read(source, split)
        task = EvaluationTask(
            train, held_out, source.dataset.num_classes, source.name, _label_seed(training),
            label_lists=source.dataset.label_lists_in(source.folder),
        )  # fmt: skip
        extra: dict[str, Any] = {}
        watched = [of_train, of_held_out]
        if evaluation.reads_projections:
            shown = self._images(source, split)
            extra["projections"] = self._project(shown)
            watched.append(shown)
        if evaluation.trains_network:
            dim = component(training, "backbones", "backbone").representation_dim
            pair = self._images(source, Split.TRAIN), self._images(source, split)
            extra["trainable"] = trainable(self._network().backbone, dim, *pair, work.device, self._pause)
            watched += pair
        return replace(task, **extra), watched

    def _represent(self, source: ImageSource, split: Split) -> tuple[Representations, Watched]:
        key = (source, split)
        if key not in self._represented:
            backbone = self._network().backbone.to(self._work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            shown = self._images(source, split)
            self._represented[key] = represent(backbone, shown, self._work.device, self._pause), shown
        return self._represented[key]

    def _labels(self, source: ImageSource, split: Split) -> tuple[Representations, Watched]:
        shown = self._images(source, split)
        labels = shown.labels.numpy()
        return Representations(np.zeros((len(labels), 0), dtype=np.float32), labels), shown

    def _project(self, shown: Watched) -> NDArray[np.float32]:
        network = self._network()
        network.to(self._work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return project(network, shown, self._work.device, self._pause)

    def _images(self, source: ImageSource, split: Split) -> Watched:
        self._check_seal(split)
        return Watched.of(source.dataset.labelled(source.folder, split))

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
