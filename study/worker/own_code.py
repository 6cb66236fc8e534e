"""Before anything is computed: this process executes the code that its job was submitted with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.errors import CodeChangedError
from study.plan.model import PlannedEvaluation
from study.plan.spec import RunSpec
from study.provenance.identity import evaluation_code, training_code


def require_same_code(spec: RunSpec, job: Mapping[str, Any]) -> None:
    """Compare the code of this process with what the attempt's job.json says; jobs of earlier code say nothing.

    A file that is edited while a study runs would else be executed by the processes that start after that, under
    the hash that its orchestrator has read before.

    Raises:
        CodeChangedError: they differ; says what to type.
    """
    expected = job.get("code")
    if expected is None:
        return
    different = [] if expected["training"] == training_code(spec.training).hash else ["its training"]
    for request in job["request"]["evaluations"]:
        planned = PlannedEvaluation.from_json(request["evaluation"])
        if expected["evaluations"][request["key"]] != evaluation_code(planned, spec.training).hash:
            different.append(f"evaluation {planned.name}")
    if different:
        raise CodeChangedError(
            f"the code of {', '.join(different)} was edited after the study was started, and its results would be of "
            "other code than their record says; stop the study and start the same command again"
        )
