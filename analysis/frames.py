"""Runs, trials and training steps of a study as tidy tables, read from its journals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.winners import PARAM_PREFIX, has_parameters, tunable_values, winning_parameters
from study.errors import HomeError
from study.journal.files import read_json, read_json_or_none
from study.journal.replay import AttemptStatus, RunState, replay_run, settled_steps
from study.paths import RunPaths, StudyPaths
from study.plan.model import Phase, Plan, RunSpec

RUN_COLUMNS = (
    "run_id", "arm", "phase", "base_seed", "continuation_seed", "status", "num_attempts", "interruptions",
    "cpu_s", "criterion", "code", "commit", "dataset", "cpu_model", "start_t",
)  # fmt: skip
TRIAL_COLUMNS = ("arm", "number", "state", "objective", "run_ids")
Winners = Mapping[str, Mapping[str, float] | None]


class RunStatus(StrEnum):
    """What a run is worth to the analysis."""

    COMPLETED = "completed"  # trained, and every evaluation that its phase asks for exists
    DIVERGED = "diverged"  # left the finite numbers: an outcome
    FAILED = "failed"  # its newest attempt failed for another reason
    INCOMPLETE = "incomplete"


def load_plan(study_root: Path) -> Plan:
    """Read the plan of a study directory.

    Raises:
        HomeError: the directory has no plan.json.
    """
    data = read_json_or_none(StudyPaths(study_root).plan)
    if data is None:
        raise HomeError(f"{study_root} is not the directory of a study: it has no plan.json")
    return Plan.from_json(data)


def runs_frame(study_root: Path, *, include_unused: bool = False) -> pd.DataFrame:
    """Return one row per run that belongs to the plan, sorted by run id.

    Columns: `RUN_COLUMNS` (`interruptions`: the classes of endings that were not the run's own doing, in their order,
    with "; " between; the last four from the run's first attempt that started: git commit, sha256 of the
    training files, CPU model, seconds since the epoch), `param/<dotted name>` for every field of the criterion and
    the recipe, and `<split>/<evaluation>/<metric>`. Runs of other arms or seeds, and confirm runs with other
    parameters than their arm's winner, do not belong; `include_unused` keeps them and adds the column `unused`:
    why, or "".
    """
    plan, trials = load_plan(study_root), trials_frame(study_root)
    winners = {arm.name: winning_parameters(arm, plan, trials) for arm in plan.arms}
    rows = []
    for run in StudyPaths(study_root).existing_runs():
        spec = RunSpec.from_json(read_json(run.spec))
        rows.append({"unused": _why_unused(spec, plan, winners), **_run_row(run, spec, plan)})
    frame = _mark_duplicates(_frame(rows, ("unused", *RUN_COLUMNS)))
    return frame if include_unused else frame[frame["unused"] == ""].drop(columns="unused").reset_index(drop=True)


def trials_frame(study_root: Path) -> pd.DataFrame:
    """Return one row per trial of the plan's arms: `TRIAL_COLUMNS` and `param/<dotted name>`."""
    paths, rows = StudyPaths(study_root), []
    for arm in load_plan(study_root).arms:
        for trial in map(read_json, paths.trials(arm.name)):
            params = {PARAM_PREFIX + name: value for name, value in trial["params"].items()}
            rows.append({name: trial[name] for name in TRIAL_COLUMNS} | params)
    frame = _frame(rows, TRIAL_COLUMNS)
    return frame.assign(objective=frame["objective"].astype(float))


def steps_frame(study_root: Path, run_ids: Iterable[str]) -> pd.DataFrame:
    """Return the settled training steps of some runs, tidy: `run_id`, `step`, `metric`, `value`."""
    paths = StudyPaths(study_root)
    rows = [
        (run_id, step, metric, value)
        for run_id in run_ids
        for step, _, metrics in settled_steps(replay_run(paths.run(run_id)).attempts, include_provisional=False)
        for metric, value in metrics.items()
    ]
    return pd.DataFrame(rows, columns=["run_id", "step", "metric", "value"])


def required_evaluations(plan: Plan, phase: str) -> set[tuple[str, str]]:
    """(split, evaluation) pairs that a run of `phase` needs before its numbers count."""
    if phase == Phase.CONFIRM:
        return {("test", evaluation.name) for evaluation in plan.evaluations}
    return {("validation", plan.tune.objective.split("/")[0])}


def _run_row(run: RunPaths, spec: RunSpec, plan: Plan) -> dict[str, Any]:
    state = replay_run(run)
    metrics = _metrics(state, plan)
    started = next((a.started for a in state.attempts if a.started is not None), {})
    return {
        "run_id": spec.run_id,
        **{name: spec.labels[name] for name in ("arm", "phase", "base_seed", "continuation_seed")},
        "status": _status(state, metrics.keys() >= required_evaluations(plan, spec.labels["phase"])),
        "num_attempts": sum(attempt.status is not AttemptStatus.REVOKED for attempt in state.attempts),
        "interruptions": "; ".join(a.verdict.kind for a in state.attempts if a.verdict and a.verdict.is_trouble),
        "cpu_s": state.cpu_s,
        "criterion": spec.training["criterion"]["name"],
        "code": (state.trained or {}).get("code", ""),
        "commit": started.get("commit") or "",
        "dataset": started.get("dataset_fingerprint", ""),
        "cpu_model": started.get("cpu_model", ""),
        "start_t": float(started.get("t", math.nan)),
        **{PARAM_PREFIX + name: _scalar(value) for name, value in tunable_values(spec.training).items()},
        **{f"{split}/{name}/{key}": v for (split, name), values in metrics.items() for key, v in values.items()},
    }


def _metrics(state: RunState, plan: Plan) -> dict[tuple[str, str], Mapping[str, float]]:
    """Metrics by (split, evaluation): of evaluations in the plan, read from the weights this run kept."""
    wanted = {evaluation.name: _plain(evaluation.params) for evaluation in plan.evaluations}
    weights = (state.trained or {}).get("weights_sha256")
    return {
        (record["split"], record["evaluation"]["name"]): record["metrics"]
        for record in state.evaluations.values()
        if wanted.get(record["evaluation"]["name"]) == record["evaluation"]["params"]
        and record["weights_sha256"] == weights
    }


def _status(state: RunState, is_evaluated: bool) -> RunStatus:
    if state.trained is not None and is_evaluated:
        return RunStatus.COMPLETED
    if state.last is not None and state.last.status is AttemptStatus.FAILED:
        return RunStatus.DIVERGED if (state.last.failure or {}).get("kind") == "diverged" else RunStatus.FAILED
    return RunStatus.INCOMPLETE


def _why_unused(spec: RunSpec, plan: Plan, winners: Winners) -> str:
    arm, phase = spec.labels["arm"], spec.labels["phase"]
    if arm not in winners:
        return "the plan has no such arm"
    if phase not in (Phase.TUNE, Phase.CONFIRM):
        return f"phase {phase} is not compared"
    seeds = plan.confirm if phase == Phase.CONFIRM else plan.tune
    continuation_seeds = seeds.continuation_seeds if plan.arm(arm).continued else (0,)
    if spec.labels["base_seed"] not in seeds.base_seeds or spec.labels["continuation_seed"] not in continuation_seeds:
        return "the plan has no such seeds"
    if phase == Phase.TUNE:
        return ""
    winner = winners[arm]
    if winner is None:
        return "the search has no winner yet"
    return "" if has_parameters(spec.training, winner) else "not trained with the winner's parameters"


def _mark_duplicates(frame: pd.DataFrame) -> pd.DataFrame:
    """Of several confirm runs for one arm and seeds keep a completed one, then the first by name."""
    confirm = frame[(frame["phase"] == Phase.CONFIRM) & (frame["unused"] == "")]
    order = confirm.assign(rank=confirm["status"] != RunStatus.COMPLETED).sort_values(["rank", "run_id"])
    losers = order.index[order.duplicated(["arm", "base_seed", "continuation_seed"])]
    frame.loc[losers, "unused"] = "another run has the same arm and seeds"
    return frame


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Build a frame that starts with `columns`, then parameters, then metrics, each in alphabetical order."""
    found = {name for row in rows for name in row} - set(columns)
    extra = sorted(found, key=lambda name: (not name.startswith(PARAM_PREFIX), name))
    return pd.DataFrame(list(rows), columns=[*columns, *extra])


def _plain(value: Any) -> Any:
    """What `value` becomes after a round trip through JSON: tuples turn into lists."""
    return json.loads(json.dumps(value))


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else json.dumps(value, sort_keys=True)
