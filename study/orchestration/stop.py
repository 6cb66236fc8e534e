"""Asking a study to stop: through its orchestrator, or directly when that is gone but runs survive it."""

from __future__ import annotations

from study.execution.base import claimant_lives
from study.journal.replay import replay_attempt
from study.orchestration.lease import describe, holder_of
from study.paths import HomePaths


def request_stop(home: HomePaths, name: str) -> str:
    """Leave the stop files that apply and say what will happen."""
    study = home.study(name)
    holder = holder_of(study.lease)
    if holder is not None:
        study.stop.touch()
        return f"Asked the orchestrator ({describe(holder)}) to stop; its runs save a checkpoint and leave."
    stopped = 0
    for run in study.existing_runs():
        attempts = run.existing_attempts()
        if attempts and claimant_lives(replay_attempt(attempts[-1])):
            run.stop.touch()
            stopped += 1
    return f"Nobody orchestrates {name}; {stopped or 'no'} surviving runs were asked to stop."
