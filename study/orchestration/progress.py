"""Where a study stands: what boards and status messages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.orchestration.ledger import Entry, Ledger
from study.orchestration.snapshot import RunStatus
from study.plan.model import Phase
from study.search.trial import Trial


@dataclass(frozen=True)
class Progress:
    """What a board shows.

    Attributes:
        ledger: every known run, as it is now.
        trials: the trials of every tuned arm.
        is_stopping: running attempts are saving and leaving.
        news: what the executor has to say.
        is_over_budget: the study was stopped because it has used up its hours.
        halted: why the study was stopped without being asked to; None: it was not.
    """

    ledger: Ledger
    trials: Mapping[str, list[Trial]]
    is_stopping: bool = False
    news: tuple[str, ...] = ()
    is_over_budget: bool = False
    halted: str | None = None

    @property
    def runs(self) -> Mapping[str, Entry]:
        """Every known run with its phase and view."""
        return self.ledger.entries

    def spent_s(self) -> float:
        """Seconds for which the study's attempts have kept slots busy; bases count for whoever needs them."""
        return self.ledger.spent_s

    def failures(self) -> Mapping[str, Entry]:
        """Runs without which the study has no result: those that failed, and bases that nobody can continue."""
        troubled = {run_id: self.runs[run_id] for run_id in self.ledger.troubled}
        return {
            run_id: (spec, phase, view)
            for run_id, (spec, phase, view) in troubled.items()
            if view.status is RunStatus.FAILED or phase is Phase.PREPARE
        }

    @property
    def num_in_line(self) -> int:
        """How many attempts wait for a process."""
        return sum(self.ledger[run_id].beat is None for run_id in self.ledger.active)

    def count(self, status: RunStatus) -> int:
        """How many known runs have this status."""
        return self.ledger.count(status)
