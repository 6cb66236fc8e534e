"""The evaluation half of an attempt. Only a confirming run may open the test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from study import registry
from study.datasets.base import Split
from study.errors import StudyError, shown
from study.evaluations.base import Evaluation
from study.journal.files import create_once, read_json
from study.plan.components import build
from study.plan.model import SCHEMA_VERSION, PlannedEvaluation
from study.provenance.identity import evaluation_code
from study.tensors.streams import global_stream
from study.worker.looked_at import images_sha256, labels_sha256
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
            task, looked_at = self._tasks.task(evaluation, split, images)
            with global_stream("evaluation", task.dataset, task.label_seed):  # scikit-learn draws from numpy's
                metrics = _promised(evaluation, evaluation(task))
                seen = {"labels_sha256": labels_sha256(task), "images_sha256": images_sha256(task, looked_at)}
            details = dict(evaluation.details(task))
        path.parent.mkdir(exist_ok=True)
        result = {
            "schema_version": SCHEMA_VERSION,
            "evaluation": dict(request["evaluation"]),
            "split": str(split),
            "weights_sha256": self._trained["weights_sha256"],
            "code": evaluation_code(planned, work.spec.training).hash,
            "metrics": metrics,
            **seen,
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


def _promised(evaluation: Evaluation, metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics, which must be those that the plan knows of.

    Raises:
        StudyError: others were returned, or something that is no number.
    """
    names, found = evaluation.metric_names(), dict(metrics)
    file = registry.file_of("evaluations", type(evaluation).__module__.rpartition(".")[2])
    if set(found) != set(names):
        raise StudyError(f"{file} returned the metrics {sorted(found)}, but its metric_names() are {sorted(names)}")
    wrong = {name: value for name, value in found.items() if not isinstance(value, (int, float))}
    if wrong:
        raise StudyError(f"{file} returned metrics that are no Python numbers: {shown(wrong)}; write float(…)")
    return found
