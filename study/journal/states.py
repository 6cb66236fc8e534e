"""States of runs as JSON objects, whole or as much of them as judges a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from study.journal.endings import Ending
from study.journal.replay import AttemptState, AttemptStatus, RunState

_USUAL = vars(AttemptState(0, AttemptStatus.INTENDED, job={}))


def brief(state: RunState) -> RunState:
    """What judges a run: how its attempts began and ended, its costs, and its metrics.

    Of attempts `job` and `claim` are left out, and of what else their events, the training and the evaluations say all
    but `t`, `resumed_step`, `event`, `kind`, `message`, `step`, `code`, `cpu_s` and `metrics`.
    """
    return RunState(
        attempts=tuple(
            replace(
                attempt,
                job={},
                claim=None,
                steps=(),
                started=_only(attempt.started, "t", "resumed_step"),
                last_event=_only(attempt.last_event, "t", "event"),
                failure=_only(attempt.failure, "kind", "message"),
            )
            for attempt in state.attempts
        ),
        trained=_only(state.trained, "step", "code", "cpu_s"),
        evaluations={
            key: _only(content, "metrics", "cpu_s", "code") or {} for key, content in state.evaluations.items()
        },
        reused=state.reused,
    )


def state_as_json(state: RunState) -> dict[str, Any]:
    """Plain dicts, lists and scalars, without training steps and `details` of evaluations."""
    return {
        "attempts": [_attempt_as_json(attempt) for attempt in state.attempts],
        "trained": state.trained,
        "evaluations": {
            key: {name: value for name, value in content.items() if name != "details"}
            for key, content in state.evaluations.items()
        },
        "reused": state.reused,
    }


def state_from_json(data: Mapping[str, Any]) -> RunState:
    """What `state_as_json` wrote."""
    return RunState(
        tuple(map(_attempt_from_json, data["attempts"])), data["trained"], data["evaluations"], data["reused"]
    )


def _attempt_as_json(attempt: AttemptState) -> dict[str, Any]:
    told = {name: value for name, value in vars(attempt).items() if name != "steps" and value != _USUAL[name]}
    told["status"] = str(attempt.status)
    if attempt.verdict is not None:
        told["verdict"] = attempt.verdict.as_json()
    return told


def _attempt_from_json(data: Mapping[str, Any]) -> AttemptState:
    told = {"job": {}, **data, "status": AttemptStatus(data["status"])}
    if "verdict" in data:
        told["verdict"] = Ending.from_json(data["verdict"])
    if "interim" in data:
        told["interim"] = {int(epoch): value for epoch, value in data["interim"].items()}
    return AttemptState(**told)


def _only(content: Mapping[str, Any] | None, *names: str) -> dict[str, Any] | None:
    return None if content is None else {name: content[name] for name in names if name in content}
