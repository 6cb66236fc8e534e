"""The evaluation half of an attempt. Only a confirming run may open the test split."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from study.datasets.base import Split
from study.errors import SealedSplitError
from study.evaluations.base import EvaluationTask, Representations
from study.journal.files import create_once, read_json
from study.plan.components import build
from study.plan.model import SCHEMA_VERSION, Component, Phase
from study.training.representations import project, represent
from study.worker.workplace import Workplace


class Evaluator:
    """Evaluates the trained weights of one run; representations of a split are computed once."""

    def __init__(self, work: Workplace) -> None:
        self._work = work
        self._trained = read_json(work.run.trained)
        self._representations: dict[Split, Representations] = {}

    def evaluate(self, request: Mapping[str, Any]) -> bool:
        """Do one evaluation (`evaluation`, `split`, `key`) and write its file, unless the file exists.

        Returns:
            Whether this call wrote the file.

        Raises:
            SealedSplitError: a run of the tuning phase asks for the test split.
        """
        work = self._work
        path = work.run.evaluations / f"{request['key']}.json"
        if path.exists():
            return False
        cpu = time.process_time()
        split = Split(request["split"])
        evaluation = build("evaluations", Component(**request["evaluation"]))
        projections = self._project(split) if evaluation.reads_projections else None
        task = task_of(work, self._represent(Split.TRAIN), self._represent(split), projections)
        metrics = dict(evaluation(task))
        details = dict(evaluation.details(task))
        path.parent.mkdir(exist_ok=True)
        result = {
            "schema_version": SCHEMA_VERSION,
            "evaluation": dict(request["evaluation"]),
            "split": str(split),
            "weights_sha256": self._trained["weights_sha256"],
            "metrics": metrics,
            "labels_sha256": _labels_sha256(evaluation.label_draws(task), task),
            "unit": evaluation.unit,
            "cpu_s": time.process_time() - cpu,
            "t": time.time(),
            "attempt": work.attempt.number,
            **({"details": details} if details else {}),
        }
        return create_once(path, result)

    def _represent(self, split: Split) -> Representations:
        self._check_seal(split)
        if split not in self._representations:
            network = self._work.trained_network(self._work.run)
            backbone = network.backbone.to(self._work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            images = self._work.dataset.labelled(self._work.folder, split)
            self._representations[split] = represent(backbone, images, self._work.device)
        return self._representations[split]

    def _project(self, split: Split) -> NDArray[np.float32]:
        self._check_seal(split)
        network = self._work.trained_network(self._work.run)
        network.to(self._work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return project(network, self._work.dataset.labelled(self._work.folder, split), self._work.device)

    def _check_seal(self, split: Split) -> None:
        if split is Split.TEST and self._work.spec.labels["phase"] != Phase.CONFIRM:
            raise SealedSplitError(
                f"{self._work.spec.run_id} of phase {self._work.spec.labels['phase']} asked for the test split; "
                "only confirming runs may read it"
            )


def task_of(
    work: Workplace, train: Representations, held_out: Representations, projections: NDArray[np.float32] | None = None
) -> EvaluationTask:
    """What an evaluation of this run may look at."""
    name, label_seed = work.spec.training["dataset"]["name"], _label_seed(work.spec.training)
    return EvaluationTask(train, held_out, work.dataset.num_classes, name, label_seed, projections)


def _label_seed(training: Mapping[str, Any]) -> str:
    """What label draws are a function of, beside the dataset and the fraction."""
    seeds = training["seeds"]
    return f"{seeds['base']}.{seeds.get('continuation', 0)}" if training.get("labels_vary") else str(seeds["base"])


def _labels_sha256(draws: Sequence[NDArray[np.int64]], task: EvaluationTask) -> str:
    """sha256 (hex) of the labelled pool and of what was drawn from it: equal across the arms of a pair."""
    content = hashlib.sha256(task.train.labels.astype("<i8").tobytes())
    for draw in draws:
        content.update(np.asarray(draw).astype("<i8").tobytes() + b"/")
    return content.hexdigest()
