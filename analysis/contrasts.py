"""The declared contrasts of a study, judged on one metric, and how complete each arm is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from analysis.frames import RunStatus
from analysis.statistics import (
    ALPHA,
    NAN,
    PairedResult,
    holm,
    is_not_notable,
    paired_differences,
    paired_result,
)
from study.plan.model import Phase, Plan


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
    """

    left: str
    right: str
    metric: str
    differences: pd.Series[float]
    result: PairedResult
    p_holm: float = NAN
    is_not_notable: bool | None = None

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
        """What the contrast allows to say, in at most three words, or why it allows nothing."""
        if self.result.reason:
            return self.result.reason
        if math.isnan(self.p_holm):
            return "exploratory"
        words = []
        if self.is_significant:
            words.append("better" if self.result.mean > 0 else "worse")
        if self.is_not_notable and not (self.is_significant and self.result.mean < 0):
            words.append("not notable")
        return ", ".join(words) or "undetermined"


def primary_column(plan: Plan) -> str:
    """Column of the primary metric: always on the test split, which only confirm runs read."""
    return f"test/{plan.primary}"


def declared_contrasts(runs: pd.DataFrame, plan: Plan, metric: str | None = None) -> list[Contrast]:
    """Judge the plan's contrasts on `metric`, a column of `runs`; Holm corrects the primary one."""
    column = metric or primary_column(plan)
    lacking = gaps(runs, plan)
    judged = []
    for pair in plan.contrasts:
        differences = paired_differences(runs, pair, column, plan)
        why = "; ".join(lacking[arm] for arm in pair if lacking[arm])
        judged.append((pair, differences, paired_result(differences, why)))
    is_primary = column == primary_column(plan)
    corrected = holm([result.p for _, _, result in judged]) if is_primary else [NAN] * len(judged)
    margin = plan.equivalence_margin_pp if is_primary else None
    return [
        Contrast(*pair, column, differences, result, p, is_not_notable(result, margin))
        for (pair, differences, result), p in zip(judged, corrected, strict=True)
    ]


def contrasts_frame(contrasts: list[Contrast]) -> pd.DataFrame:
    """Return the numbers behind the contrasts, one row each, unrounded."""
    fields = ("n", "num_planned", "mean", "low", "high", "sd", "effect", "t", "p")
    return pd.DataFrame(
        [
            {"left": c.left, "right": c.right, "metric": c.metric}
            | {name: getattr(c.result, name) for name in fields}
            | {"p_holm": c.p_holm, "wins": c.result.wins, "upper": c.result.upper, "verdict": c.verdict}
            for c in contrasts
        ],
        columns=["left", "right", "metric", *fields, "p_holm", "wins", "upper", "verdict"],
    )


def confirm_status(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Count each arm's confirm runs: `planned`, one column per `RunStatus`, and `missing`."""
    confirm = runs[runs["phase"] == Phase.CONFIRM]
    rows = []
    for arm in plan.arms:
        statuses = confirm.loc[confirm["arm"] == arm.name, "status"]
        counts = {status.value: int((statuses == status).sum()) for status in RunStatus}
        planned = len(plan.confirm.base_seeds) * (len(plan.confirm.continuation_seeds) if arm.continued else 1)
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
        seeds = plan.confirm.continuation_seeds if arm.continued else (0,)
        cells = [(b, c) for b in plan.confirm.base_seeds for c in seeds]
        missing[arm.name] = [f"b{b}-c{c}" for b, c in cells if (arm.name, b, c) not in there]
    return missing
