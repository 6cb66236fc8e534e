"""Asking a study to stop: through its orchestrator, or directly when that is gone but runs survive it."""

from __future__ import annotations

from study.execution.base import belongs_to_another, claimant_lives
from study.journal.files import read_json, write_text
from study.journal.replay import replay_attempt
from study.orchestration.lease import describe, holder_of
from study.paths import HomePaths, StudyPaths
from study.plan.expand import base_spec
from study.plan.model import Plan

_NOW = "now"


def is_urgent(study: StudyPaths) -> bool:
    """Whether the study is to be stopped at once, saved or not."""
    return study.stop.read_text(encoding="utf-8").strip() == _NOW


def request_stop(home: HomePaths, name: str, *, now: bool = False) -> str:
    """Leave the stop files that apply and say what will happen."""
    study = home.study(name)
    holder = holder_of(study.lease)
    if holder is not None:
        write_text(study.stop, _NOW if now else "")
        if now:
            return f"Asked the orchestrator ({describe(holder)}) to cancel its runs and leave; checkpoints stay."
        return f"Asked the orchestrator ({describe(holder)}) to stop; its runs save a checkpoint and leave."
    stopped = 0
    plan = Plan.from_json(read_json(study.plan))
    bases = [home.base(base_spec(plan, seed).run_id) for seed in plan.base_seeds]
    for run in (*bases, *study.existing_runs()):
        attempts = run.existing_attempts()
        last = replay_attempt(attempts[-1]) if attempts else None
        if last is not None and claimant_lives(last) and not belongs_to_another(last):
            run.stop.touch()
            stopped += 1
    return f"Nobody orchestrates {name}; {stopped or 'no'} surviving runs were asked to stop."
