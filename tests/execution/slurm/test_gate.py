"""Nothing is tried again and again without a pause, and nothing is given up that has not lasted."""

from __future__ import annotations

from study.execution.slurm import gate
from study.execution.slurm.gate import Gate, Persistence
from study.execution.slurm.pauses import Pauses
from study.execution.slurm.reasons import Obstacle, Reason
from tests.fakes.clock import Clock

LASTS, PASSES = (Reason(obstacle, "so", "because") for obstacle in (Obstacle.LASTING, Obstacle.PASSING))


def test_pauses_grow_to_a_limit_and_differ(clock: Clock) -> None:
    pauses = Pauses(2, 300, clock)
    lengths = [pauses.begin() for _ in range(100)]
    for k, length in enumerate(lengths):
        assert 0.8 * min(2 * 2**k, 300) <= length <= 1.2 * min(2 * 2**k, 300)
    assert len({round(length, 6) for length in lengths[20:]}) > 50, "studies do not ask in step"
    assert not pauses.is_over
    pauses.cut_short()
    assert pauses.is_over and pauses.begin() > 200, "it has not worked yet"
    pauses.forget()
    assert pauses.is_over and pauses.begin() < 3


def tries_in(clock: Clock, door: Gate, seconds: float, then) -> int:
    """How often something is done in so many seconds, asking five times a second."""
    tries = 0
    for _ in range(int(seconds * 5)):
        clock.now += 0.2
        if door.is_open:
            tries += 1
            then()
    return tries


def test_a_day_of_refusals_is_some_hundred_questions(clock: Clock) -> None:
    door = Gate(clock)
    assert 200 < tries_in(clock, door, 86400, lambda: door.refuse(PASSES, counts=True)) < 400
    assert not door.is_hopeless, "it passes, whenever that is"
    door.accept()
    assert door.is_open and door.refusal is None


def test_jobs_that_end_at_once_are_replaced_ever_more_slowly(clock: Clock) -> None:
    door = Gate(clock)
    door.end(was_fruitful=False)
    assert door.is_open, "the first is replaced at once"
    assert tries_in(clock, door, 3600, lambda: door.end(was_fruitful=False)) < 15
    assert tries_in(clock, door, 86400, lambda: door.end(was_fruitful=False)) < 190
    door.end(was_fruitful=True)
    assert door.is_open


def test_what_lasts_is_given_up_after_minutes(clock: Clock) -> None:
    door = Gate(clock)
    while not door.is_hopeless:
        clock.now += 0.2
        if door.is_open:
            door.refuse(LASTS, counts=True)
        assert clock.now < 3 * gate.PERSISTS_S
    assert clock.now >= gate.PERSISTS_S


def test_a_refusal_that_may_be_due_to_avoided_nodes_does_not_count(clock: Clock) -> None:
    door = Gate(clock)
    tries_in(clock, door, 3600, lambda: door.refuse(LASTS, counts=False))
    assert not door.is_hopeless


def test_only_what_holds_at_every_look_lasts(clock: Clock) -> None:
    persistence = Persistence(clock)
    for k in range(100):
        clock.now += 60
        persistence.see(holds=k % 5 != 4)
        assert not persistence.has_lasted
    persistence.see(holds=False)
    persistence.see(holds=True)
    clock.now += 10 * gate.PERSISTS_S
    assert not persistence.has_lasted, "it was seen once"
    persistence.see(holds=True)
    persistence.see(holds=True)
    assert persistence.has_lasted
