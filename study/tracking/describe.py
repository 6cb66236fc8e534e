"""What is said about a run or a study in a tracker: pure functions of what the files hold."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from study.journal.final import outcome
from study.journal.replay import AttemptStatus, RunState
from study.plan.identity import digest
from study.plan.model import Plan
from study.plan.spec import RunSpec
from study.tracking.base import STUDY_TAG, MetricRow, RunStatus, Tracked
from study.tracking.journals import Step
from study.tracking.progress import RunProgress

OUTCOME_TAG, FAILURE_TAG, WEIGHTS_TAG = "study.outcome", "study.failure", "study.weights"
PLAN_TAG = "study.plan"  # hash of what cannot change in a study
INSTANCE_TAG = "study.instance"  # identity of the study's folder
NEWEST_TAG = "study.newest_event_s"  # of the run that stands for the study: a frame that ends earlier is out of date
_MAY_CHANGE = ("confirm", "evaluations", "amendments")
_CUT, _LONGEST = 250, 5000  # characters: a store may have cut longer parameters, or may cut longer tags
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
    """What a study is about, as far as it cannot change, because parameters cannot; the plan itself is an artifact."""
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
        }
    )


def study_tags(plan: Plan) -> dict[str, str]:
    """The rest of it: what a study may gain, and a hash of what it may not; short enough for any store."""
    fixed = {key: value for key, value in plan.as_json().items() if key not in _MAY_CHANGE}
    fixed["imported"] = None if plan.imported is None else plan.imported.as_identity()
    tags = {STUDY_TAG: plan.study, "mlflow.note.content": plan.question, PLAN_TAG: digest(fixed)[:12]}
    tags |= {f"study.{name}": value for name, value in _later(plan).items()}
    return {name: value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…" for name, value in tags.items()}


def _later(plan: Plan) -> dict[str, str]:
    """What a study may gain, and where its checkpoint lies."""
    seeds = {"base_seeds": plan.confirm.base_seeds, "continuation_seeds": plan.confirm.continuation_seeds}
    evaluations = [evaluation.name for evaluation in plan.evaluations]
    later = {"confirm": seeds, "evaluations": evaluations, "num_amendments": len(plan.amendments)}
    return flattened(later | ({} if plan.imported is None else {"checkpoint": plan.imported.checkpoint}))


def other_params(tracked: Tracked, plan: Plan) -> list[str]:
    """Parameters that say something else than the plan, those that earlier code wrote of what can change among them."""
    now = study_params(plan) | _later(plan)
    known = [(key, value, now[key]) for key, value in tracked.params.items() if key in now]
    return sorted(
        key for key, before, after in known if before != after[: len(before) if len(before) >= _CUT else len(after)]
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


def run_tags(spec: RunSpec, state: RunState) -> dict[str, str | None]:
    """Labels, identity, and whatever depends on attempts (parameters could not change); None: no such tag.

    `study.outcome` holds what a table says about the run, see `study.journal.final.outcome`, as JSON.
    """
    tags: dict[str, str | None] = {f"study.{name}": str(value) for name, value in spec.labels.items()}
    tags |= {"study.identity": spec.identity, "study.num_attempts": str(len(state.attempts))}
    found = outcome(state)
    tags[OUTCOME_TAG] = json.dumps({**found, "failure": found["failure"][:_FAILURE_CHARACTERS]})
    for attempt in state.attempts:
        if attempt.started is not None and attempt.started.get("commit"):
            tags["study.commit"] = str(attempt.started["commit"])
    if weights := trained_weights(state):
        tags[WEIGHTS_TAG] = weights
    if state.last is not None and state.last.failure is not None:
        failure = state.last.failure
        tags[FAILURE_TAG] = f"{failure.get('kind', 'error')}: {failure.get('message', '')}"
    elif any(attempt.failure is not None for attempt in state.attempts):
        tags[FAILURE_TAG] = None  # of an earlier attempt
    return tags


def trained_weights(state: RunState) -> str:
    """Hash of the trained weights; "" when there are none."""
    return str((state.trained or {}).get("weights_sha256", ""))


def unlike_tracked(tracked: Tracked, state: RunState) -> str:
    """Why a tracked run is about another training than the run's files; "" when it is about theirs."""
    return _other_training(_tracked_start_t(tracked), tracked.tags.get(WEIGHTS_TAG, ""), state)


def is_tracked(tracked: Tracked, state: RunState) -> bool:
    """Whether a tracked run is about the training of the run's files for certain."""
    return _tracked_start_t(tracked) is not None and not unlike_tracked(tracked, state)


def unlike_published(progress: RunProgress, state: RunState) -> str:
    """Why what was published is about another training, or other evaluations, than the run's files; or ""."""
    if why := _other_training(progress.start_t, progress.weights, state):
        return why
    for key, t in progress.evaluations.items():
        if t is not None and (state.evaluations.get(key) or {}).get("t") != t:
            return f"its evaluation {key} was made anew, or removed"
    return ""


def _tracked_start_t(tracked: Tracked) -> float | None:
    try:
        start_t = float(json.loads(tracked.tags[OUTCOME_TAG])["start_t"])
    except (KeyError, ValueError, TypeError):
        return None
    return None if math.isnan(start_t) else start_t


def _other_training(start_t: float | None, weights: str, state: RunState) -> str:
    if start_t is not None and start_t not in {a.started["t"] for a in state.attempts if a.started is not None}:
        return "the run was trained anew"
    return "its weights were replaced" if weights and weights != trained_weights(state) else ""


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
        AttemptStatus.STARTED: RunStatus.RUNNING if last.verdict is None else RunStatus.KILLED,
        AttemptStatus.STOPPED: RunStatus.KILLED,
        AttemptStatus.FAILED: RunStatus.FAILED,
    }[last.status]


def run_start_s(state: RunState) -> float | None:
    """When the first attempt started."""
    return next((float(a.started["t"]) for a in state.attempts if a.started is not None), None)


def run_end_s(state: RunState) -> float | None:
    """When the newest event happened."""
    return max((float(a.last_event["t"]) for a in state.attempts if a.last_event is not None), default=None)


def step_rows(steps: Iterable[Step]) -> Iterator[MetricRow]:
    """Training metrics of some steps."""
    return (row for step, t, metrics in steps for row in _rows(metrics, t, step))


def evaluation_rows(state: RunState, but: Container[str]) -> list[MetricRow]:
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
