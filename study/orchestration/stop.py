"""Asking a study to stop: through its orchestrator, or directly when that is gone but runs survive it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from study.errors import UserError, counted
from study.execution.base import belongs_to_another, claimant_lives, seems_alive
from study.journal.files import read_json, read_json_or_none, write_text
from study.journal.replay import AttemptState, AttemptStatus, replay_attempt
from study.journal.summary import brief_states
from study.orchestration.actions import revoke
from study.orchestration.lease import describe, holder_of
from study.paths import AttemptPaths, HomePaths, StudyPaths
from study.plan.expand import base_spec
from study.plan.model import Plan

_NOW = "now"


def is_urgent(study: StudyPaths) -> bool:
    """Whether the study is to be stopped at once, saved or not."""
    return study.stop.read_text(encoding="utf-8").strip() == _NOW


def request_stop(home: HomePaths, name: str, *, now: bool = False) -> str:
    """Leave the stop files that apply and say what was done, and what runs all the same.

    Raises:
        UserError: SLURM does not cancel what it should.
    """
    study = home.study(name)
    holder = holder_of(study.lease)
    if holder is not None:
        write_text(study.stop, _NOW if now else "")
        if now:
            return f"Asked the orchestrator ({describe(holder)}) to cancel its runs and leave; checkpoints stay."
        return f"Asked the orchestrator ({describe(holder)}) to stop; its runs save a checkpoint and leave."
    for worker in study.existing_workers():
        worker.stop.touch()  # before the runs are walked through, so that none is taken meanwhile
    plan = Plan.from_json(read_json(study.plan))
    bases = [home.base(base_spec(plan, seed).run_id) for seed in plan.base_seeds]
    runs = [*bases, *study.existing_runs()]
    newest = zip(runs, (state.last for state in brief_states(runs)), strict=True)
    unknown = [(run, last) for run, last in newest if last is not None and _may_live(last)]
    stopped = 0
    for run, last in unknown:
        if last.is_over or belongs_to_another(last) or last.job.get("study", name) != name:
            continue
        if last.status is AttemptStatus.INTENDED:
            revoke(run.attempt(last.number))
        elif not now and seems_alive(last):
            run.stop.touch()
            stopped += 1
        elif claimant_lives(last) and last.claim is not None:
            with suppress(ProcessLookupError):
                os.kill(int(last.claim["pid"]), signal.SIGKILL)
            stopped += 1
    waiting, running = _jobs_of(study, [run.attempt(last.number) for run, last in unknown])
    done = [_were(stopped, "run", "killed, its checkpoint stays" if now else "asked to stop")] if stopped else []
    if doomed := [*waiting, *running] if now else waiting:
        done += _cancelled(doomed)
    return f"Nobody orchestrates {name}; {'; '.join(done) or 'nothing of it runs'}."


def _cancelled(job_ids: Sequence[str]) -> list[str]:
    """Cancel the jobs that are still there, and say what has become of them."""
    from study.execution.slurm.commands import cancel
    from study.execution.slurm.queries import in_queue

    there = in_queue(job_ids)
    doomed = list(job_ids) if there is None else [job_id for job_id in job_ids if job_id in there]
    if not cancel(doomed):
        raise UserError(f"SLURM did not cancel {counted(len(doomed), 'job')}; try again: scancel {' '.join(doomed)}")
    if not doomed:
        return []
    left = in_queue(doomed)
    done = _were(len(doomed), "SLURM job", "cancelled")
    if left is None:
        return [f"{done}, and SLURM does not say what has become of it: squeue --me"]
    return [done, *([f"{counted(len(left), 'job')} still to end: squeue -j {','.join(sorted(left))}"] if left else [])]


def _were(number: int, noun: str, done: str) -> str:
    return f"{counted(number, noun)} {'was' if number == 1 else 'were'} {done}"


def _may_live(attempt: AttemptState) -> bool:
    """Whether an attempt, or the job that was to start it, is not known to be over."""
    return not attempt.is_over or attempt.status is AttemptStatus.REVOKED


def _jobs_of(study: StudyPaths, attempts: Sequence[AttemptPaths]) -> tuple[list[str], list[str]]:
    """SLURM jobs of a study that are not known to be over: those that have done nothing yet, and the others."""
    waiting: list[str] = []
    running: list[str] = []
    for worker in study.existing_workers():
        job = read_json_or_none(worker.job)
        if job is None or job["over"] is not None:
            continue
        if job["job_id"] is not None:
            (running if worker.started.exists() else waiting).append(job["job_id"])
    for attempt in attempts:
        state = replay_attempt(attempt, with_steps=False)
        binding = state.job.get("job") or {}
        is_ours = state.job.get("study") == study.root.name
        if binding.get("batch") and binding["job_id"] and _may_live(state) and is_ours:
            (waiting if state.started is None else running).append(binding["job_id"])
    return waiting, running
