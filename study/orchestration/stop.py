"""Asking a study to stop: through its orchestrator, or directly when that is gone but runs survive it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from study.execution.base import belongs_to_another, claimant_lives, seems_alive
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
        if last is None or not seems_alive(last) or belongs_to_another(last):
            continue
        stopped += 1
        if not now:
            run.stop.touch()
        elif claimant_lives(last) and last.claim is not None:
            with suppress(ProcessLookupError):
                os.kill(int(last.claim["pid"]), signal.SIGKILL)
    jobs = _jobs_of(study) if now else []
    if jobs:
        from study.execution.slurm.commands import cancel

        cancel(jobs)
        return f"Nobody orchestrates {name}; {len(jobs)} SLURM jobs were cancelled, checkpoints stay."
    what = "killed, checkpoints stay" if now else "asked to stop"
    return f"Nobody orchestrates {name}; {stopped or 'no'} surviving runs were {what}."


def _jobs_of(study: StudyPaths) -> list[str]:
    """SLURM jobs of a study that are not known to be over."""
    workers = [read_json(worker.job) for worker in study.existing_workers() if worker.job.exists()]
    jobs = [worker["job_id"] for worker in workers if worker["job_id"] is not None and worker["over"] is None]
    for run in study.existing_runs():
        for attempt in run.existing_attempts()[-1:]:
            state = replay_attempt(attempt)
            job_id = (state.job.get("job") or {}).get("job_id")
            if job_id is not None and not state.is_over:
                jobs.append(job_id)
    return list(dict.fromkeys(jobs))
