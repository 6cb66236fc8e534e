"""Ending a trial early: at the end of each epoch its objective is compared with the median of trials before it.

The thresholds were fixed when the attempt was submitted, so that what is pruned does not depend on who runs beside it.
Looking at the network changes nothing of its training.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from study.datasets.base import Split
from study.errors import PrunedError
from study.journal.events import EventWriter
from study.methods.base import MethodNetwork
from study.plan.components import build
from study.plan.model import PlannedEvaluation
from study.tensors.streams import global_stream
from study.worker.tasks import Tasks
from study.worker.workplace import Workplace


class Pruner:
    """Judges one trial's run between its epochs, on the validation split alone."""

    def __init__(self, work: Workplace, request: Mapping[str, Any], events: EventWriter) -> None:
        self._work, self._events = work, events
        self._evaluation = build("evaluations", PlannedEvaluation.from_json(request["evaluation"]).component)
        self._metric = str(request["metric"])
        self._thresholds = {int(epoch): float(value) for epoch, value in request["thresholds"].items()}

    @classmethod
    def of(cls, work: Workplace, request: Mapping[str, Any] | None, events: EventWriter) -> Pruner | None:
        """The pruner that a job asks for, if it does."""
        return None if request is None else cls(work, request, events)

    def judge(self, network: MethodNetwork, epoch: int) -> None:
        """Write down the objective after `epoch` epochs.

        Raises:
            PrunedError: it is below the threshold.
        """
        pulse = self._work.pulse
        with pulse.evaluating(f"interim-{epoch}"):
            tasks = Tasks(self._work, lambda: copy.deepcopy(network), pulse.count)
            task, _ = tasks.task(self._evaluation, Split.VALIDATION)
            with global_stream("evaluation", task.dataset, task.label_seed):
                value = float(self._evaluation(task)[self._metric])
        self._events.append("interim", durable=True, epoch=epoch, objective=value)
        threshold = self._thresholds.get(epoch)
        if threshold is not None and value < threshold:
            raise PrunedError(
                f"after {epoch} epochs the objective is {value:.4g}, below {threshold:.4g}, the median of trials before"
            )
