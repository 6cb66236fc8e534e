"""The evaluation half of an attempt. Only a confirming run may open the test split."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.datasets.base import Split
from study.evaluations.base import EvaluationTask
from study.journal.files import create_once, read_json
from study.plan.components import build
from study.plan.model import SCHEMA_VERSION, PlannedEvaluation
from study.worker.tasks import ImageSource, Tasks
from study.worker.workplace import Workplace


class InterruptedEvaluation(Exception):  # noqa: N818 - no error: the process has to stop
    """An evaluation that takes long was left in the middle; nothing of it is kept."""


class Evaluator:
    """Evaluates the trained weights of one run; representations of a split are computed once."""

    def __init__(self, work: Workplace, must_stop: Callable[[], bool] = lambda: False) -> None:
        self._work = work
        self._trained = read_json(work.run.trained)
        self._must_stop = must_stop
        self._tasks = Tasks(work, lambda: work.trained_network(work.run), self._pause)

    def evaluate(self, request: Mapping[str, Any]) -> bool:
        """Do one evaluation (`evaluation`, `split`, `key`) and write its file, unless the file exists.

        Returns:
            Whether this call wrote the file.

        Raises:
            InterruptedEvaluation: the process has to stop, and this evaluation trains.
            SealedSplitError: a run of the tuning phase asks for the test split.
        """
        work = self._work
        path = work.run.evaluations / f"{request['key']}.json"
        if path.exists():
            return False
        cpu = time.process_time()
        split = Split(request["split"])
        planned = PlannedEvaluation.from_json(request["evaluation"])
        evaluation = build("evaluations", planned.component)
        images = self._images(planned, request)
        with work.pulse.evaluating(request["key"]):
            task = self._tasks.task(evaluation, split, images)
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
            **({} if images is None else {"dataset_fingerprint": images.dataset.fingerprint(images.folder)}),
            **({"details": details} if details else {}),
        }
        return create_once(path, result)

    @staticmethod
    def _images(planned: PlannedEvaluation, request: Mapping[str, Any]) -> ImageSource | None:
        """The evaluation's own dataset, if it has one."""
        own = planned.dataset
        return None if own is None else ImageSource(own.name, build("datasets", own), Path(request["data_folder"]))

    def _pause(self) -> None:
        self._work.pulse.count()
        if self._must_stop():
            raise InterruptedEvaluation


def _labels_sha256(draws: Sequence[NDArray[np.int64]], task: EvaluationTask) -> str:
    """sha256 (hex) of the labelled pool and of what was drawn from it: equal across the arms of a pair."""
    content = hashlib.sha256(task.train.labels.astype("<i8").tobytes())
    for draw in draws:
        content.update(np.asarray(draw).astype("<i8").tobytes() + b"/")
    return content.hexdigest()
