"""A run hangs when it takes no step for far longer than steps take, and only then."""

from __future__ import annotations

import pytest

from study.orchestration.hang import HangWatch
from study.orchestration.snapshot import RunStatus, RunView


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def view(step: int, num_steps: int = 1000) -> RunView:
    return RunView(RunStatus.ACTIVE, step, num_steps)


def silence(clock: Clock, watch: HangWatch, step: int, seconds: float, num_steps: int = 1000, **options: bool):
    """Let time pass, asking every second; the newest answer."""
    answer = None
    for _ in range(int(seconds)):
        clock.now += 1
        answer = watch.silent_s("a", view(step, num_steps), **options)
    return answer


def test_patience_covers_quick_steps(clock: Clock) -> None:
    watch = HangWatch(600, clock)
    assert silence(clock, watch, 5, 600) is None
    assert silence(clock, watch, 5, 2) == pytest.approx(601)


def test_slow_steps_are_given_twenty_times_the_median(clock: Clock) -> None:
    watch = HangWatch(600, clock)
    for step in range(1, 12):
        assert silence(clock, watch, step, 100) is None
    assert silence(clock, watch, 11, 1890) is None, "20 x 100 s, 100 of which have passed"
    assert silence(clock, watch, 11, 20) > 2000


def test_the_first_step_and_evaluations_take_their_time(clock: Clock) -> None:
    watch = HangWatch(600, clock)
    assert silence(clock, watch, 0, 5000) is None
    assert silence(clock, watch, 1000, 5000) is None


def test_time_while_suspended_does_not_count(clock: Clock) -> None:
    watch = HangWatch(600, clock)
    silence(clock, watch, 5, 500)
    assert silence(clock, watch, 5, 5000, is_paused=True) is None
    assert silence(clock, watch, 5, 500) is None
    assert silence(clock, watch, 5, 200) is not None


def test_attempts_are_watched_apart(clock: Clock) -> None:
    watch = HangWatch(10, clock)
    watch.silent_s(("a", 1), view(5))
    clock.now = 20
    assert watch.silent_s(("a", 2), view(5)) is None
    assert watch.silent_s(("a", 1), view(5)) == 20
