"""Where a study stands: what boards and status messages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.orchestration.snapshot import RunStatus, RunView
from study.plan.model import Phase
from study.plan.spec import RunSpec
from study.search.trial import Trial


@dataclass(frozen=True)
class Progress:
    """What a board shows.

    Attributes:
        runs: every known run with its phase and view.
        trials: the trials of every tuned arm.
        is_stopping: running attempts are saving and leaving.
        news: what the executor has to say.
        is_over_budget: the study was stopped because it has used up its hours.
        halted: why the study was stopped without being asked to; None: it was not.
    """

    runs: Mapping[str, tuple[RunSpec, Phase, RunView]]
    trials: Mapping[str, list[Trial]]
    is_stopping: bool = False
    news: tuple[str, ...] = ()
    is_over_budget: bool = False
    halted: str | None = None

    def spent_s(self) -> float:
        """Seconds for which the study's attempts have kept slots busy; bases count for whoever needs them."""
        return sum(view.spent_s for _, _, view in self.runs.values())

    def failures(self) -> Mapping[str, tuple[RunSpec, Phase, RunView]]:
        """Runs without which the study has no result: those that failed, and bases that nobody can continue."""
        return {
            run_id: (spec, phase, view)
            for run_id, (spec, phase, view) in self.runs.items()
            if view.status is RunStatus.FAILED or (view.status is RunStatus.INFEASIBLE and phase is Phase.PREPARE)
        }

    @property
    def num_in_line(self) -> int:
        """How many attempts wait for a process."""
        views = [view for _, _, view in self.runs.values() if view.status is RunStatus.ACTIVE]
        return sum(view.beat is None for view in views)

    def count(self, status: RunStatus) -> int:
        """How many known runs have this status."""
        return sum(view.status is status for _, _, view in self.runs.values())
