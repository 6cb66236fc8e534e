"""All trials of an arm diverge: the command says so at every start, ends with 3, and what it advises works."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from study.journal.files import read_json
from tests.fakes.command import Sweep

MakeSweep = Callable[..., Sweep]
TOO_STRONG = (
    "confirm.base_seeds=[1]",
    "continuation.optimizer={name: sgd, lr: 0.001}",
    "arms.uniformity={criterion: uniformity, start: {weight: 1.0e+15}, space: {weight: {low: 1.0e+14, high: 1.0e+16}}}",
)


def test_a_search_without_a_winner(sweep: MakeSweep) -> None:
    first = sweep(*TOO_STRONG)
    command = first.start()
    assert command.wait() == 3, command.output
    again = first.start()
    assert again.wait() == 3, "another start says it as well"
    status = first.manage("status").output
    for said in (command.output, again.output, status):
        assert "uniformity has no winner: all 2 trials diverged (step " in said
        assert "Tried: weight 1e+15, " in said
    assert "no result: uniformity; see above" in command.output
    assert "no result: uniformity; see above" in again.output
    assert "Starting workers" not in again.output, "at once"
    assert "over, though not every arm has a result" in status
    assert read_json(first.study.finished)["lost"] == ["uniformity"]


@pytest.mark.slow
def test_what_is_advised_works(sweep: MakeSweep) -> None:
    first = sweep(*TOO_STRONG)
    command = first.start()
    assert command.wait() == 3, command.output
    lines = [line for line in command.output.splitlines() if line.startswith("To try other values, add to the command")]
    better = sweep(*TOO_STRONG, *shlex.split(lines[0].partition("command: ")[2]))
    command = better.start()
    assert command.wait() == 0, command.output
    assert "3 of 3 confirm runs completed" in command.output
    assert len(list(first.home.bases.iterdir())) == 2, "the bases of the first were used"
