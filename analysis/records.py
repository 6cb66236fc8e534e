"""Records of runs → frames: which runs belong to the plan, and what each is worth, wherever the records come from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd

from analysis.columns import PARAM_PREFIX, RUN_COLUMNS, SEEN_COLUMNS, TRIAL_COLUMNS, tidy
from analysis.provenance import Provenance, code_differences, codes_of
from analysis.winners import holds, tunable_values, winning_parameters
from study.errors import JournalError
from study.plan.model import Phase, Plan

Winners = Mapping[str, Mapping[str, float] | None]
Metrics = Mapping[tuple[str, str], Mapping[str, float]]  # (split, evaluation) → metric → value


class RunStatus(StrEnum):
    """What a run is worth to the analysis."""

    COMPLETED = "completed"  # trained, and every evaluation that its phase asks for exists
    DIVERGED = "diverged"  # left the finite numbers: an outcome
    PRUNED = "pruned"  # ended early because earlier trials had been better: an outcome, of the tuning phase alone
    FAILED = "failed"  # its newest attempt failed for another reason
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class RunRecord:
    """What is known about one run.

    Attributes:
        run_id: its name.
        labels: what it is for, see `study.plan.spec.RunSpec`; empty when its files cannot be read.
        training: what was trained; at least its `analysis.winners.tunable_part`.
        outcome: see `study.journal.final.outcome`.
        metrics: of the evaluations in the plan.
        problem: why its files cannot be read, or "".
    """

    run_id: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)
    problem: str = ""


def runs_of(records: Iterable[RunRecord], plan: Plan, trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row per record, sorted by run id, with the column `unused`: why it does not count, or "".

    `code_differs` is empty, see `with_code_differences`. Of thousands of records each is let go once it is a row.
    """
    winners = {arm.name: winning_parameters(arm, plan, trials) for arm in plan.arms}
    required = {str(phase): required_evaluations(plan, phase) for phase in (Phase.TUNE, Phase.CONFIRM)}
    rows = ({**_row(record, plan, winners, required), "code_differs": ""} for record in records)
    found = tidy(rows, ("unused", *RUN_COLUMNS)).sort_values("run_id", kind="stable", ignore_index=True)
    return _mark_duplicates(found)


def codes_in(runs: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Run id → role → hash of code, see `analysis.provenance.codes_of`."""
    columns = (runs[name] for name in ("run_id", "code", "evaluation_code"))
    return {
        run_id: codes_of({"code": code, "evaluation_code": evaluation_code})
        for run_id, code, evaluation_code in zip(*columns, strict=True)
    }


def with_code_differences(runs: pd.DataFrame, provenance: Provenance) -> pd.DataFrame:
    """Say of every run in which files and libraries its code differs from that of most others."""
    differences = code_differences(codes_in(runs), provenance.code)
    return runs.assign(code_differs=runs["run_id"].map(lambda run_id: differences.get(run_id, "")).astype("str"))


def trials_of(trials: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per trial record: `TRIAL_COLUMNS` and `param/<dotted name>`."""
    rows = []
    for trial in trials:
        try:
            params = {PARAM_PREFIX + name: value for name, value in trial["params"].items()}
            rows.append({name: trial[name] for name in TRIAL_COLUMNS} | params)
        except (KeyError, AttributeError) as error:
            where = f"trial {trial.get('number')} of arm {trial.get('arm')!r}"
            raise JournalError(
                f"the record of {where} is damaged ({error!r}); was it written by other code?"
            ) from error
    return tidy(rows, TRIAL_COLUMNS)


def required_evaluations(plan: Plan, phase: str) -> set[tuple[str, str]]:
    """(split, evaluation) pairs that a run of `phase` needs before its numbers count."""
    if phase == Phase.CONFIRM:
        return {("test", evaluation.name) for evaluation in plan.evaluations}
    return {("validation", plan.tune.objective.split("/")[0])}


def plain(value: Any) -> Any:
    """What `value` becomes after a round trip through JSON: tuples turn into lists."""
    return json.loads(json.dumps(value))


def shared(value: Any) -> Any:
    """An equal value whose texts are those of all equal ones: thousands of runs say nearly the same."""
    if type(value) is str:
        return sys.intern(value)
    return {sys.intern(name): shared(v) for name, v in value.items()} if isinstance(value, Mapping) else value


def _row(
    record: RunRecord, plan: Plan, winners: Winners, required: Mapping[str, set[tuple[str, str]]]
) -> dict[str, Any]:
    if record.problem:
        unknown = {"arm": "", "phase": "", "base_seed": -1, "continuation_seed": -1, "num_attempts": 0, "cpu_s": 0.0}
        texts = dict.fromkeys(RUN_COLUMNS, "") | {"run_id": record.run_id, "status": RunStatus.INCOMPLETE}
        return {**texts, **unknown, "start_t": None, "end_t": None, "unused": f"cannot be read: {record.problem}"}
    labels, outcome = record.labels, record.outcome
    values = tunable_values(record.training)
    is_evaluated = record.metrics.keys() >= required.get(labels["phase"], {("", "")})
    return {
        "unused": _why_unused(labels, values, plan, winners),
        "run_id": record.run_id,
        **{name: labels[name] for name in ("arm", "phase", "base_seed", "continuation_seed", "study")},
        "status": _status(outcome, is_evaluated=is_evaluated),
        "criterion": record.training["criterion"]["name"],
        **dict.fromkeys(SEEN_COLUMNS, ""),  # which earlier code did not publish all
        **{name: value for name, value in outcome.items() if name not in ("is_trained", "failure_kind", "failure")},
        "failure": ": ".join(filter(None, (outcome["failure_kind"], outcome["failure"]))),
        **{sys.intern(PARAM_PREFIX + name): value for name, value in values.items()},
        **{
            sys.intern(f"{split}/{name}/{key}"): value
            for (split, name), found in record.metrics.items()
            for key, value in found.items()
        },
    }


def _status(outcome: Mapping[str, Any], *, is_evaluated: bool) -> RunStatus:
    if outcome["is_trained"] and is_evaluated:
        return RunStatus.COMPLETED
    if outcome["failure_kind"]:
        outcomes = {"diverged": RunStatus.DIVERGED, "pruned": RunStatus.PRUNED}
        return outcomes.get(outcome["failure_kind"], RunStatus.FAILED)
    return RunStatus.INCOMPLETE


def _why_unused(labels: Mapping[str, Any], values: Mapping[str, Any], plan: Plan, winners: Winners) -> str:
    arm, phase, seed = labels["arm"], labels["phase"], labels["continuation_seed"]
    if arm not in winners:
        return "the plan has no such arm"
    if phase not in (Phase.TUNE, Phase.CONFIRM):
        return f"phase {phase} is not compared"
    seeds = plan.confirm if phase == Phase.CONFIRM else plan.tune
    is_known = seed in seeds.continuation_seeds or (seed == 0 and not plan.arm(arm).continued)
    if labels["base_seed"] not in seeds.base_seeds or not is_known:
        return "the plan has no such seeds"
    if phase == Phase.TUNE:
        return ""
    winner = winners[arm]
    if winner is None:
        return "the search has no winner yet"
    return "" if holds(values, winner) else "not trained with the winner's parameters"


def _mark_duplicates(frame: pd.DataFrame) -> pd.DataFrame:
    """Of several confirm runs for one arm and seeds keep a completed one, then the first by name."""
    confirm = frame[(frame["phase"] == Phase.CONFIRM) & (frame["unused"] == "")]
    order = confirm.assign(rank=confirm["status"] != RunStatus.COMPLETED).sort_values(["rank", "run_id"])
    losers = order.index[order.duplicated(["arm", "base_seed", "continuation_seed"])]
    frame.loc[losers, "unused"] = "another run has the same arm and seeds"
    return frame
