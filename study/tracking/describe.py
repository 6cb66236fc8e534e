"""What is said about a run or a study in a tracker: pure functions of what the files hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from study.journal.final import outcome
from study.journal.replay import AttemptStatus, RunState, settled_steps
from study.plan.model import Plan
from study.plan.spec import RunSpec
from study.tracking.base import MetricRow, RunStatus

OUTCOME_TAG = "study.outcome"
NEWEST_TAG = "study.newest_event_s"  # of the run that stands for the study: a frame that ends earlier is out of date
_FAILURE_CHARACTERS = 2000  # a longer tag would be cut, and no JSON any more


def flattened(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values under dotted names; what is not text is JSON."""
    flat: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def study_params(plan: Plan) -> dict[str, str]:
    """What a study is about; the plan itself is an artifact."""
    return flattened(
        {
            "question": plan.question,
            "dataset": plan.dataset.name,
            "method": plan.method.name,
            "backbone": plan.backbone.name,
            "arms": [arm.name for arm in plan.arms],
            "reference": plan.reference,
            "unit": plan.unit,
            "primary": plan.primary,
            "equivalence_margin_pp": plan.equivalence_margin_pp,
            "tune": {"trials_per_arm": plan.tune.trials_per_arm, "base_seeds": plan.tune.base_seeds},
            "confirm": {"base_seeds": plan.confirm.base_seeds},
        }
    )


def nested(flat: Mapping[str, str]) -> dict[str, Any]:
    """Inverse of `flattened`, but for text that reads like JSON: a number, `true`, `null`, a list."""
    data: dict[str, Any] = {}
    for name, text in flat.items():
        *folders, key = name.split(".")
        inner = data
        for folder in folders:
            inner = inner.setdefault(folder, {})
        try:
            inner[key] = json.loads(text)
        except ValueError:
            inner[key] = text
    return data


def run_tags(spec: RunSpec, state: RunState) -> dict[str, str]:
    """Labels, identity, and whatever depends on attempts (parameters could not change).

    `study.outcome` holds what a table says about the run, see `study.journal.final.outcome`, as JSON.
    """
    tags = {f"study.{name}": str(value) for name, value in spec.labels.items()}
    tags |= {"study.identity": spec.identity, "study.num_attempts": str(len(state.attempts))}
    found = outcome(state)
    tags[OUTCOME_TAG] = json.dumps({**found, "failure": found["failure"][:_FAILURE_CHARACTERS]})
    for attempt in state.attempts:
        if attempt.started is not None and attempt.started.get("commit"):
            tags["study.commit"] = str(attempt.started["commit"])
    if state.last is not None and state.last.failure is not None:
        failure = state.last.failure
        tags["study.failure"] = f"{failure.get('kind', 'error')}: {failure.get('message', '')}"
    return tags


def run_status(state: RunState) -> RunStatus:
    """Status of a run; finished means trained and evaluated on all that its last attempt was asked for."""
    last = next((a for a in reversed(state.attempts) if a.status is not AttemptStatus.REVOKED), None)
    if last is None:
        return RunStatus.KILLED if state.attempts else RunStatus.SCHEDULED
    if last.status is AttemptStatus.FINISHED:
        wanted = {e["key"] for e in last.job.get("request", {}).get("evaluations", ())}
        is_complete = state.trained is not None and wanted <= state.evaluations.keys()
        return RunStatus.FINISHED if is_complete else RunStatus.RUNNING
    return {
        AttemptStatus.INTENDED: RunStatus.SCHEDULED,
        AttemptStatus.STARTED: RunStatus.RUNNING,
        AttemptStatus.STOPPED: RunStatus.KILLED,
        AttemptStatus.FAILED: RunStatus.FAILED,
    }[last.status]


def run_start_s(state: RunState) -> float | None:
    """When the first attempt started."""
    return next((float(a.started["t"]) for a in state.attempts if a.started is not None), None)


def run_end_s(state: RunState) -> float | None:
    """When the newest event happened."""
    return max((float(a.last_event["t"]) for a in state.attempts if a.last_event is not None), default=None)


def step_rows(state: RunState, after: int) -> list[MetricRow]:
    """Training metrics of the settled steps above `after`."""
    steps = settled_steps(state.attempts, include_provisional=False)
    return [row for step, t, metrics in steps if step > after for row in _rows(metrics, t, step)]


def evaluation_rows(state: RunState, but: Collection[str]) -> list[MetricRow]:
    """Metrics `<split>/<evaluation>/<metric>`, but those of the evaluations with the keys `but`."""
    step = int(state.trained["step"]) if state.trained is not None else 0
    rows: list[MetricRow] = []
    for key, content in state.evaluations.items():
        if key not in but:
            prefix = f"{content['split']}/{content['evaluation']['name']}/"
            rows += _rows(content["metrics"], content["t"], step, prefix)
    return rows


def _rows(metrics: Mapping[str, Any], t: float, step: int, prefix: str = "") -> Iterator[MetricRow]:
    for name, value in metrics.items():
        if isinstance(value, int | float):
            yield MetricRow(f"{prefix}{name}", float(value), int(t * 1000), step)
