"""What can be said of attempts of other hosts: their processes cannot be seen, their news can."""

from __future__ import annotations

import time

import pytest

from study.execution.base import intender_lives, seems_alive
from study.journal.endings import Ending, EndKind
from study.journal.process import this_process
from study.journal.replay import AttemptState, AttemptStatus

ELSEWHERE = {"host": "elsewhere", "boot_id": "another", "pid": 1, "start_time": 1.0}


def claimed(news_age_s: float, **changes: object) -> AttemptState:
    event = {"t": time.time() - news_age_s, "event": "step"}
    return AttemptState(1, AttemptStatus.STARTED, {}, claim=ELSEWHERE, last_event=event, **changes)


def intended(age_s: float, owner: object, executor: str = "local") -> AttemptState:
    job = {"intent_t": time.time() - age_s, "orchestrator": owner, "executor": executor}
    return AttemptState(1, AttemptStatus.INTENDED, job)


def test_an_attempt_elsewhere_lives_as_long_as_it_has_news() -> None:
    assert seems_alive(claimed(10))
    assert not seems_alive(claimed(1000))
    assert not seems_alive(claimed(10, verdict=Ending(EndKind.LOST, "so it goes")))


@pytest.mark.parametrize(("age_s", "is_believed"), [(10, True), (500, True), (700, False)])
def test_an_orchestrator_elsewhere_is_believed_for_minutes(age_s: float, is_believed: bool) -> None:
    """Else two studies on two hosts would revoke each other's attempts at a base that they share, again and again."""
    assert intender_lives(intended(age_s, ELSEWHERE)) is is_believed


def test_a_job_of_slurm_may_wait_as_long_as_its_orchestrator_lives() -> None:
    parent = {**this_process(), "pid": 1}
    parent["start_time"] = _start_of_init()
    assert intender_lives(intended(5000, parent, "slurm"))
    assert not intender_lives(intended(5000, parent, "local"))
    assert not intender_lives(intended(5000, {**parent, "start_time": -1.0}, "slurm")), "another process by now"


def _start_of_init() -> float:
    from study.journal.process import _start_time

    return _start_time(1)
