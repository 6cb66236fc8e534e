"""Everything that may have news is looked at, soon or later, and a bounded number of runs in each turn."""

from __future__ import annotations

from study.orchestration.rounds import Rounds
from tests.fakes.clock import Clock


def test_few_running_ones_are_looked_at_in_every_turn(clock: Clock) -> None:
    rounds = Rounds(clock)
    assert all(rounds.due(["a", "b", "c"], []) == ["a", "b", "c"] for _ in range(5))


def test_many_take_turns(clock: Clock) -> None:
    rounds, running = Rounds(clock), {str(i): None for i in range(50)}
    turns = [rounds.due(running, []) for _ in range(8)]
    assert {len(turn) for turn in turns} == {16}
    for start in range(len(turns) - 3):
        assert set().union(*turns[start : start + 4]) == set(running), (
            "all of them within four turns, wherever it begins"
        )


def test_news_come_first_once(clock: Clock) -> None:
    rounds, running = Rounds(clock), [str(i) for i in range(50)]
    rounds.tell(["40", "new", "40"])
    due = rounds.due(running, [])
    assert due[:2] == ["40", "new"] and len(due) == len(set(due)) == 18
    assert "new" not in rounds.due(running, [])


def test_bases_that_lack_are_looked_at_one_a_second(clock: Clock) -> None:
    rounds, seen = Rounds(clock), []
    for _ in range(40):
        clock.now += 0.25
        seen += rounds.due([], ["x", "y", "z"])
    assert seen == ["x", "y", "z", "x", "y", "z", "x", "y", "z", "x"]


def test_what_shrinks_is_no_trouble(clock: Clock) -> None:
    rounds = Rounds(clock)
    for number in range(60, 0, -1):
        due = rounds.due([str(i) for i in range(number)], [])
        assert len(due) == len(set(due)) == min(16, number)
