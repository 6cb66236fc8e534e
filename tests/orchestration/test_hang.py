"""A run hangs when it makes no progress for far longer than progress takes, and only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from study.journal.heartbeat import Heartbeat, Stage
from study.orchestration.hang import HangWatch
from tests.fakes.clock import Clock

TRAINING = Heartbeat(phase=Stage.TRAINING, step=5, num_steps=1000)
STARTING = Heartbeat()
EVALUATING = Heartbeat(phase=Stage.EVALUATING, what="knn-test-1a2b", step=80, num_steps=80)
AFTERWARDS = Heartbeat(phase=Stage.TRAINING, step=80, num_steps=80)  # hands over its weights
QUIET = [STARTING, EVALUATING, AFTERWARDS]


def lets(clock: Clock, watch: HangWatch, beat: Heartbeat, seconds: float, *, cpu=0.0, read=0.0, **options: bool):
    """Let time pass, with a look every second; the newest complaint. `cpu` and `read` are what a second uses."""
    complaint = None
    for second in range(1, int(seconds) + 1):
        clock.now += 1
        seen = replace(beat, cpu_s=beat.cpu_s + cpu * second, read_mb=beat.read_mb + read * second, t=clock.now)
        complaint = watch.complaint("a", seen, **options)
        if complaint:
            return complaint
    return complaint


def test_patience_covers_quick_steps(clock: Clock) -> None:
    watch = HangWatch(600, 1800, clock)
    assert lets(clock, watch, TRAINING, 600) is None
    assert lets(clock, watch, TRAINING, 2) == "no step after step 5 for 601 s"


def test_a_training_is_judged_by_its_steps_whatever_else_it_does(clock: Clock) -> None:
    watch = HangWatch(600, 1800, clock)
    assert lets(clock, watch, TRAINING, 700, cpu=1.0, read=100.0) is not None


def test_slow_steps_are_given_twenty_times_the_median(clock: Clock) -> None:
    watch = HangWatch(600, 1800, clock)
    for step in range(1, 12):
        assert lets(clock, watch, replace(TRAINING, step=step), 100) is None
    last = replace(TRAINING, step=11)
    assert lets(clock, watch, last, 1890) is None, "20 x 100 s, 100 of which have passed"
    assert "no step after step 11" in lets(clock, watch, last, 20)


@pytest.mark.parametrize("beat", QUIET, ids=lambda beat: beat.phase)
def test_what_is_no_training_hangs_without_a_sign_of_work(clock: Clock, beat: Heartbeat) -> None:
    """A stopped process, a read that hangs on NFS, threads that wait for each other: beats may come, nothing grows."""
    watch = HangWatch(600, 1800, clock)
    assert lets(clock, watch, beat, 1800, cpu=0.001, read=0.01) is None, "the thread that beats uses a little"
    complaint = lets(clock, watch, beat, 60, cpu=0.001)
    assert complaint is not None and "without a sign of work for 1801 s" in complaint


def test_a_complaint_says_where(clock: Clock) -> None:
    said = []
    for beat in QUIET:
        said.append(lets(clock, HangWatch(1, 1, clock), beat, 10))
    assert [line.split(" without")[0] for line in said] == [
        "before the first step", "evaluating knn-test-1a2b", "after the last step",
    ]  # fmt: skip


@pytest.mark.parametrize("beat", QUIET, ids=lambda beat: beat.phase)
@pytest.mark.parametrize("sign", [{"cpu": 0.05}, {"cpu": 1.0}, {"read": 1.0}], ids=str)
def test_an_hour_of_work_that_no_loop_counts_is_left_alone(clock: Clock, beat: Heartbeat, sign) -> None:
    watch = HangWatch(600, 600, clock)
    assert lets(clock, watch, beat, 3600, **sign) is None


def test_a_unit_of_work_now_and_then_is_enough(clock: Clock) -> None:
    watch = HangWatch(600, 600, clock)
    for done in range(100):
        assert lets(clock, watch, replace(EVALUATING, done=done), 599) is None
    assert lets(clock, watch, replace(EVALUATING, done=99), 10) is not None


def test_another_evaluation_is_progress(clock: Clock) -> None:
    watch = HangWatch(600, 600, clock)
    for number in range(20):
        assert lets(clock, watch, replace(EVALUATING, what=f"e{number}"), 500) is None


def test_threads_that_wait_in_a_loop_are_not_believed_for_ever(clock: Clock) -> None:
    """CPU time alone is weak evidence: of a day with the usual patience."""
    watch = HangWatch(600, 10, clock)
    assert lets(clock, watch, EVALUATING, 480, cpu=1.0) is None
    assert lets(clock, watch, replace(EVALUATING, cpu_s=480.0), 12, cpu=1.0) is not None


def test_time_while_suspended_or_in_line_does_not_count(clock: Clock) -> None:
    watch = HangWatch(600, 600, clock)
    for beat in (TRAINING, STARTING):
        lets(clock, watch, beat, 500)
        assert lets(clock, watch, beat, 5000, is_paused=True) is None
        assert lets(clock, watch, beat, 500) is None
        assert lets(clock, watch, beat, 200) is not None


def test_attempts_are_watched_apart(clock: Clock) -> None:
    watch = HangWatch(10, 10, clock)
    watch.complaint(("a", 1), TRAINING)
    clock.now = 20
    assert watch.complaint(("a", 2), TRAINING) is None
    assert watch.complaint(("a", 1), TRAINING) is not None


def test_beats_of_an_earlier_release_are_those_of_trainings() -> None:
    beat = Heartbeat.from_json({"t": 1.0, "step": 3, "num_steps": 10})
    assert (beat.phase, beat.step, beat.num_steps) == (Stage.TRAINING, 3, 10)
    assert Heartbeat.from_json(EVALUATING.as_json()) == EVALUATING and Heartbeat.from_json(None) == Heartbeat()
