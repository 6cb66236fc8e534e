"""When every attempt of a study ran, how it ended, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from study.journal.files import read_json
from study.journal.replay import AttemptState, AttemptStatus, replay_run
from study.paths import HomePaths, RunPaths, StudyPaths
from study.plan.expand import base_spec
from study.plan.model import Phase, Plan, RunSpec

BASES = "(bases)"  # stands for an arm; no arm can be called so
COLUMNS = ("run_id", "arm", "phase", "attempt", "start_t", "end_t", "ending", "is_kept", "cpu_s", "host")
_FINISHED = "finished"


def attempts_frame(study_root: Path, plan: Plan) -> pd.DataFrame:
    """Return one row per attempt that started, by start: `COLUMNS`.

    `start_t` and `end_t` are seconds since the epoch, the end being the last that its journal says; `ending` is
    `finished`, `running` (nobody has said otherwise), or how it ended instead; `is_kept` says whether the run finished
    in this attempt; `cpu_s` is what it used. Runs that the plan has no use for are there too: they cost as well. The
    base pre-trainings have the arm `BASES`; other studies of the home may have used or made them.
    """
    frame = pd.DataFrame(list(_rows(study_root, plan)), columns=list(COLUMNS))
    return frame.sort_values(["start_t", "run_id", "attempt"], ignore_index=True)


def spending_frame(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return `arm`, `phase`, `num_runs`, `num_attempts`, `cpu_s`, and `lost_cpu_s` of attempts that were not kept."""
    lost = attempts["cpu_s"].where(~attempts["is_kept"].astype(bool), 0.0)
    grouped = attempts.assign(lost_cpu_s=lost).groupby(["arm", "phase"], sort=True)
    return grouped.agg(
        num_runs=("run_id", "nunique"), num_attempts=("run_id", "size"), cpu_s=("cpu_s", "sum"),
        lost_cpu_s=("lost_cpu_s", "sum"),
    ).reset_index()  # fmt: skip


def _rows(study_root: Path, plan: Plan) -> Iterator[dict[str, object]]:
    for run in StudyPaths(study_root).existing_runs():
        labels = RunSpec.from_json(read_json(run.spec)).labels
        yield from _attempts(run, str(labels["arm"]), str(labels["phase"]))
    home = HomePaths(study_root.parent)
    for seed in plan.base_seeds:
        yield from _attempts(home.base(base_spec(plan, seed).run_id), BASES, str(Phase.PREPARE))


def _attempts(run: RunPaths, arm: str, phase: str) -> Iterator[dict[str, object]]:
    state = replay_run(run)
    for attempt in state.attempts:
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
            "is_kept": ending in (_FINISHED, "running"),
            "cpu_s": attempt.cpu_s,
            "host": str((attempt.started.get("process") or {}).get("host", "")),
        }


def _ending(attempt: AttemptState) -> str:
    if attempt.status is AttemptStatus.STARTED:
        return str(attempt.verdict.kind) if attempt.verdict else "running"
    if attempt.status is AttemptStatus.FAILED:
        return str((attempt.failure or {}).get("kind", "failed"))
    return str(attempt.status)
