"""What a real orchestrator notices from one turn to the next, though it does not look at every run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from study.orchestration import orchestrator, rounds
from study.orchestration.lease import Lease
from study.orchestration.orchestrator import Orchestrator, Settings
from study.orchestration.progress import Progress
from study.orchestration.snapshot import RunStatus
from study.paths import HomePaths
from study.plan.expand import base_spec
from study.plan.model import Plan
from tests.fakes.idle_orchestrator import Full, write_study
from tests.fakes.study_home import StudyHome


class _Enough(Exception):  # noqa: N818 - it is no error
    pass


def orchestrate(home: HomePaths, plan: Plan, show: Callable[[Progress, int], bool], slots: int = 0) -> Progress:
    """Turn until `show`, which is told the number of the turn, has seen enough; at most 100 times."""
    seen: list[Progress] = []

    def each(progress: Progress) -> None:
        seen.append(progress)
        assert len(seen) < 100, "it was never noticed"
        if show(progress, len(seen)):
            raise _Enough

    lease = Lease.acquire(home.study(plan.study).lease)
    with pytest.raises(_Enough):
        Orchestrator(plan, home, Full(slots), lease, Settings(home.root), each).run()
    lease.release()
    return seen[-1]


@pytest.fixture
def study(home: HomePaths, monkeypatch: pytest.MonkeyPatch) -> StudyHome:
    monkeypatch.setattr(orchestrator, "_POLL_S", 0.0)
    monkeypatch.setattr(rounds, "_BASE_EVERY_S", 0.0)
    return write_study(home, num_seeds=3, num_active=2)


def test_a_base_that_another_study_trains_is_noticed(home: HomePaths, study: StudyHome) -> None:
    spec = base_spec(study.plan, 3)
    run = home.base(spec.run_id)
    run.root.rename(run.root.with_name("elsewhere"))

    def show(progress: Progress, turn: int) -> bool:
        status = progress.runs[spec.run_id][2].status
        assert turn > 5 or status is RunStatus.WAITING
        if turn == 5:
            run.root.with_name("elsewhere").rename(run.root)
        return status is RunStatus.COMPLETED

    orchestrate(home, study.plan, show)


def test_a_base_that_was_trained_meanwhile_is_not_trained_again(home: HomePaths, study: StudyHome) -> None:
    """It has not been noticed when its turn comes."""
    run = home.base(base_spec(study.plan, 3).run_id)
    run.root.rename(run.root.with_name("elsewhere"))

    def show(progress: Progress, turn: int) -> bool:
        if turn == 1:  # what was looked at before this turn said that it waits
            run.root.with_name("elsewhere").rename(run.root)
        return turn == 4

    progress = orchestrate(home, study.plan, show, slots=3)
    assert progress.runs[run.root.name][2].status is RunStatus.COMPLETED
    assert len(run.existing_attempts()) == 1
