"""When every attempt of a study ran, how it ended, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from study.journal.replay import AttemptState, AttemptStatus, RunState
from study.journal.side_by_side import side_by_side
from study.journal.summary import final_state
from study.paths import HomePaths, RunPaths, StudyPaths
from study.plan.expand import base_spec
from study.plan.model import Phase, Plan
from study.plan.spec import RunSpec

BASES = "(bases)"  # stands for an arm; no arm can be called so
COLUMNS = ("run_id", "arm", "phase", "attempt", "start_t", "end_t", "ending", "is_outcome", "cpu_s", "host")
OUTCOMES = ("finished", "running", "diverged")


def attempts_frame(study_root: Path, plan: Plan) -> pd.DataFrame:
    """Return one row per attempt that started, by start: `COLUMNS`.

    `start_t` and `end_t` are seconds since the epoch, the end being the last that its journal says; `ending` is
    `finished`, `running` (nobody has said otherwise), or how it ended instead; `is_outcome` says whether that is what
    was wanted of it or an outcome, as divergence is; `cpu_s` is what it used. Runs that the plan has no use for are
    there too: they cost as well. The base pre-trainings that were made for this study have the arm `BASES`.
    """
    frame = pd.DataFrame(list(_rows(study_root, plan)), columns=list(COLUMNS))
    return frame.sort_values(["start_t", "run_id", "attempt"], ignore_index=True)


def spending_frame(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return `arm`, `phase`, `num_runs`, `num_attempts`, `cpu_s`, and of that `broken_cpu_s`.

    That is the cost of attempts that were interrupted or failed; what they had saved in checkpoints was not lost.
    """
    broken = attempts["cpu_s"].where(~attempts["is_outcome"].astype(bool), 0.0)
    grouped = attempts.assign(broken_cpu_s=broken).groupby(["arm", "phase"], sort=True)
    return grouped.agg(
        num_runs=("run_id", "nunique"), num_attempts=("run_id", "size"), cpu_s=("cpu_s", "sum"),
        broken_cpu_s=("broken_cpu_s", "sum"),
    ).reset_index()  # fmt: skip


def _rows(study_root: Path, plan: Plan) -> Iterator[dict[str, object]]:
    runs = list(StudyPaths(study_root).existing_runs())
    for run, (spec, state) in zip(runs, side_by_side(final_state, runs), strict=True):
        labels = RunSpec.from_json(spec).labels
        yield from _attempts(run, state, str(labels["arm"]), str(labels["phase"]))
    home = HomePaths(study_root.parent)
    for seed in plan.base_seeds:
        base = home.base(base_spec(plan, seed).run_id)
        if base.spec.exists():
            yield from _attempts(base, final_state(base).state, BASES, str(Phase.PREPARE), plan.study)


def _attempts(
    run: RunPaths, state: RunState, arm: str, phase: str, study: str | None = None
) -> Iterator[dict[str, object]]:
    """Those that were made for `study`: a base may be another one's."""
    for attempt in state.attempts:
        if study is not None and attempt.job.get("study", study) != study:
            continue
        if attempt.started is None or attempt.last_event is None or "t" not in attempt.started:
            continue
        ending = _ending(attempt)
        yield {
            "run_id": run.root.name,
            "arm": arm,
            "phase": phase,
            "attempt": attempt.number,
            "start_t": float(attempt.started["t"]),
            "end_t": float(attempt.last_event.get("t", math.nan)),
            "ending": ending,
            "is_outcome": ending in OUTCOMES,
            "cpu_s": attempt.cpu_s,
            "host": str((attempt.started.get("process") or {}).get("host", "")),
        }


def _ending(attempt: AttemptState) -> str:
    if attempt.status is AttemptStatus.STARTED:
        return str(attempt.verdict.kind) if attempt.verdict else "running"
    if attempt.status is AttemptStatus.FAILED:
        return str((attempt.failure or {}).get("kind", "failed"))
    return str(attempt.status)
