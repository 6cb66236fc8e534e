"""The declared contrasts of a study, judged on one metric, and how complete each arm is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from analysis.asked import require_metric
from analysis.frames import RunStatus
from analysis.pairing import unpaired_arms
from analysis.statistics import (
    ALPHA,
    NAN,
    PairedResult,
    PairedTest,
    holm,
    is_not_notable,
    paired_differences,
    paired_result,
)
from study.plan.model import Phase, Plan

FEW_UNITS = 3  # with two units, a spread has one degree of freedom: p-values far below any floor come by chance


@dataclass(frozen=True)
class Contrast:
    """One contrast on one metric.

    Attributes:
        left: the arm whose advantage is measured.
        right: the arm it is measured against.
        metric: column of the runs.
        differences: left − right per unit, in percentage points; NaN where a unit is missing.
        result: their analysis.
        p_holm: after Holm's correction over the declared contrasts; NaN unless `metric` is the primary one.
        is_not_notable: see `analysis.statistics.is_not_notable`; None unless `metric` is the primary one.
        is_primary: whether the contrasts on `metric` are the family that is tested; on any other metric there is an
            interval and no p-value.
        doubt: why the verdict must not be trusted though there is one: the arms differ in more than the arm, see
            `drift`, or there are fewer than `FEW_UNITS`; "" when there is no such reason.
        run_ids: the completed confirm runs of both arms.
    """

    left: str
    right: str
    metric: str
    differences: pd.Series[float]
    result: PairedResult
    p_holm: float = NAN
    is_not_notable: bool | None = None
    is_primary: bool = True
    doubt: str = ""
    run_ids: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """E.g. `e2mc − continued`."""
        return f"{self.left} − {self.right}"

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p-value is below 5 %."""
        return self.p_holm < ALPHA

    @property
    def verdict(self) -> str:
        """What the contrast allows to say, or why it allows nothing, and what is doubtful about it."""
        return f"{self.judgement} ({self.doubt})" if self.doubt else self.judgement

    @property
    def judgement(self) -> str:
        """The verdict in at most three words, or why there is none."""
        if self.result.reason:
            return self.result.reason
        if not self.is_primary:
            return "secondary"
        if math.isnan(self.p_holm):
            return "not tested"
        words = []
        if self.is_significant:
            words.append("better" if self.result.mean > 0 else "worse")
        if self.is_not_notable and not (self.is_significant and self.result.mean < 0):
            words.append("not notable")
        return ", ".join(words) or "undetermined"


def primary_column(plan: Plan) -> str:
    """Column of the primary metric: always on the test split, which only confirm runs read."""
    return f"test/{plan.primary}"


def declared_contrasts(
    runs: pd.DataFrame, plan: Plan, metric: str | None = None, *, test: PairedTest | None = PairedTest.PAIRED_T
) -> list[Contrast]:
    """Judge the plan's contrasts on one metric.

    Args:
        runs: see `analysis.frames.runs_frame`.
        plan: the study; its contrasts on the primary metric are one family, which Holm's method corrects.
        metric: column of `runs`; the primary metric by default. Any other is secondary and is not tested.
        test: whose p-values are corrected; None tests nothing, because the contrasts were not declared.

    Raises:
        ColumnsError: `runs` lacks a column, or `metric` holds something else than numbers.
        UnknownNameError: no run has such a metric.
    """
    column = metric or primary_column(plan)
    require_metric(runs, column, plan)
    is_primary = column == primary_column(plan) and test is not None
    lacking, drifted, used = gaps(runs, plan), drift(runs, plan), used_runs(runs)
    unpaired = unpaired_arms(runs, plan)
    judged = []
    for pair in plan.contrasts:
        differences = paired_differences(runs, pair, column, plan)
        why = "; ".join(lacking[arm] for arm in pair if lacking[arm])
        result = paired_result(differences, why)
        doubts = [f"{arm}: {drifted[arm]}" for arm in pair if drifted[arm]]
        doubts += [f"not paired: {unpaired[arm]} of {arm}" for arm in pair if arm in unpaired]
        if result.has_interval and result.n < FEW_UNITS:
            doubts.append(f"only {result.n} units")
        judged.append((pair, differences, result if is_primary else result.without_p(), ", ".join(doubts)))
    corrected = holm([result.p_of(test) if test else NAN for _, _, result, _ in judged])
    margin = plan.equivalence_margin_pp if is_primary else None
    return [
        Contrast(
            *pair,
            column,
            differences,
            result,
            p,
            is_not_notable(result, margin),
            is_primary,
            doubt=doubt,
            run_ids=tuple(run for arm in pair for run in used.get(arm, ())),
        )
        for (pair, differences, result, doubt), p in zip(judged, corrected, strict=True)
    ]


def contrasts_frame(contrasts: list[Contrast]) -> pd.DataFrame:
    """Return the numbers behind the contrasts, one row each, unrounded, with the runs that they come from."""
    before = ("n", "num_planned", "mean", "low", "high", "sd", "effect", "t", "p")
    after = ("p_sign_flip", "p_floor", "wins", "upper", "detectable")
    return pd.DataFrame(
        [
            {"left": c.left, "right": c.right, "metric": c.metric}
            | {name: getattr(c.result, name) for name in before}
            | {"p_holm": c.p_holm}
            | {name: getattr(c.result, name) for name in after}
            | {"is_primary": c.is_primary, "verdict": c.verdict, "run_ids": " ".join(c.run_ids)}
            for c in contrasts
        ],
        columns=["left", "right", "metric", *before, "p_holm", *after, "is_primary", "verdict", "run_ids"],
    )


def used_runs(runs: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Name for each arm the completed confirm runs, which its numbers come from."""
    completed = runs[(runs["phase"] == Phase.CONFIRM) & (runs["status"] == RunStatus.COMPLETED)]
    return {str(arm): tuple(group["run_id"]) for arm, group in completed.groupby("arm")}


def drift(runs: pd.DataFrame, plan: Plan) -> dict[str, str]:
    """Say for each arm whether completed confirm runs had other code or data than most of the study; "" if not."""
    completed = runs[(runs["phase"] == Phase.CONFIRM) & (runs["status"] == RunStatus.COMPLETED)]
    found: dict[str, list[str]] = {arm.name: [] for arm in plan.arms}
    known = completed[completed["dataset"] != ""] if "dataset" in completed else completed.iloc[:0]
    if len(known):
        usual = known["dataset"].mode().iloc[0]
        for arm in known.loc[known["dataset"] != usual, "arm"].unique():
            found[str(arm)].append("other data")
    if "code_differs" in completed:
        for arm in completed.loc[completed["code_differs"] != "", "arm"].unique():
            found[str(arm)].append("other code")
    return {arm: ", ".join(words) for arm, words in found.items()}


def confirm_status(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Count each arm's confirm runs: `planned`, one column per `RunStatus`, and `missing`."""
    confirm = runs[runs["phase"] == Phase.CONFIRM]
    rows = []
    for arm in plan.arms:
        statuses = confirm.loc[confirm["arm"] == arm.name, "status"]
        counts = {status.value: int((statuses == status).sum()) for status in RunStatus}
        planned = len(plan.confirm.base_seeds) * len(plan.continuation_seeds(arm, Phase.CONFIRM))
        rows.append({"planned": planned, **counts, "missing": planned - len(statuses)})
    return pd.DataFrame(rows, index=pd.Index([arm.name for arm in plan.arms], name="arm"))


def gaps(runs: pd.DataFrame, plan: Plan) -> dict[str, str]:
    """Say for each arm how many confirm runs are completed, `mmcr 4/5 (1 diverged)`; "" when all are."""
    lacking = {}
    for arm, row in confirm_status(runs, plan).iterrows():
        ended_badly = ", ".join(f"{row[s]} {s}" for s in RunStatus if s != RunStatus.COMPLETED and row[s])
        count = f"{arm} {row['completed']}/{row['planned']}" + (f" ({ended_badly})" if ended_badly else "")
        lacking[str(arm)] = count if row["completed"] < row["planned"] else ""
    return lacking


def missing_runs(runs: pd.DataFrame, plan: Plan) -> dict[str, list[str]]:
    """Name for each arm the confirm runs that nobody has created yet, by their seeds: `b3-c1`."""
    confirm = runs[runs["phase"] == Phase.CONFIRM]
    there = set(zip(confirm["arm"], confirm["base_seed"], confirm["continuation_seed"], strict=True))
    missing = {}
    for arm in plan.arms:
        seeds = plan.continuation_seeds(arm, Phase.CONFIRM)
        cells = [(b, c) for b in plan.confirm.base_seeds for c in seeds]
        missing[arm.name] = [f"b{b}-c{c}" for b, c in cells if (arm.name, b, c) not in there]
    return missing
