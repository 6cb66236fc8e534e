"""One run of an arm goes first: what is wrong with an arm shows before the fleet has paid for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.orchestration.ledger import Ledger
from study.search.trial import Trial, TrialState

_ENDED = (TrialState.COMPLETE, TrialState.INFEASIBLE)


class Canaries:
    """Which arms have shown that they work: a run of theirs has made a step, or a trial has ended.

    Of any other arm one run at a time is started, and none after one has failed. A step is enough: waiting for whole
    runs would make studies with one run per arm and day slower for little, and what comes after training, the
    evaluations, is the same for all arms.
    """

    def __init__(self, trials: Mapping[str, Sequence[Trial]], runs: Ledger) -> None:
        self._trials, self._runs = trials, runs
        self._first: set[str] = set()

    def allow(self, arm: str) -> bool:
        """Whether a run of this arm may start; of one that has not shown anything yet, the first that asks may."""
        if self._runs.is_proven(arm) or any(trial.state in _ENDED for trial in self._trials.get(arm, ())):
            return True
        is_first = arm not in self._first and not self._runs.is_held(arm)
        self._first.add(arm)
        return is_first
