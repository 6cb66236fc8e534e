"""One run of an arm goes first: what is wrong with an arm shows before the fleet has paid for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.orchestration.snapshot import RunStatus, RunView
from study.plan.identity import arm_of
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState

_ENDED = (TrialState.COMPLETE, TrialState.INFEASIBLE)


class Canaries:
    """Which arms have shown that they work: a run of theirs has made a step, or a trial has ended.

    Of any other arm one run at a time is started, and none after one has failed. A step is enough: waiting for whole
    runs would make studies with one run per arm and day slower for little, and what comes after training, the
    evaluations, is the same for all arms.
    """

    def __init__(self, trials: Mapping[str, Sequence[Trial]], runs: Mapping[str, RunView]) -> None:
        self._proven = {name for name, own in trials.items() if any(trial.state in _ENDED for trial in own)}
        self._held: set[str] = set()
        for run_id, view in runs.items():
            arm = arm_of(run_id)
            if arm is None:
                continue
            if view.step > 0 or view.status in (RunStatus.COMPLETED, RunStatus.INFEASIBLE):
                self._proven.add(arm)
            elif view.status in (RunStatus.ACTIVE, RunStatus.FAILED):
                self._held.add(arm)

    def allow(self, spec: RunSpec) -> bool:
        """Whether this run may start; of an arm that has not shown anything yet, the first that asks may."""
        arm = spec.labels.get("arm")
        if arm is None or arm in self._proven:
            return True
        is_first = arm not in self._held
        self._held.add(arm)
        return is_first
