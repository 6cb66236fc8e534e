"""The tables of a study: DataFrames of strings for `analysis.render`. What cannot be trusted says why."""

from __future__ import annotations

import math
import re
from collections import Counter

import pandas as pd

from analysis.contrasts import Contrast, confirm_status, declared_contrasts, primary_column
from analysis.frames import RunStatus
from analysis.render import signed
from analysis.statistics import PairedResult, paired_result, unit_values
from analysis.winners import winning_parameters, winning_trial
from study.plan.model import Arm, Phase, Plan
from study.plan.space import FloatRange

_EDGE = 0.05  # of a range: a winner this near to a bound suggests that the range was too narrow
_NAMES = {"linear_probe": "probe", "knn": "kNN"}
_STATES = (RunStatus.DIVERGED, RunStatus.FAILED, RunStatus.INCOMPLETE)


def comparison_columns(runs: pd.DataFrame, plan: Plan) -> dict[str, str]:
    """Return the accuracies to compare, column of `runs` → heading, the primary evaluation's first."""
    primary = primary_column(plan)
    names = [primary.split("/")[1], *(e.name for e in plan.evaluations)]
    found = {c for c in runs.columns if re.match(r"test/[^/]+/top1", c)} | {primary}
    chosen = sorted(found, key=lambda c: (names.index(c.split("/")[1]), _fraction(c), c))
    return {column: _heading(column, primary) for column in chosen}


def comparison_frame(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the numbers behind `comparison_table`: one row per arm and metric, unrounded."""
    rows = []
    for arm in plan.arms:
        for metric in comparison_columns(runs, plan):
            result = _arm_result(runs, arm, metric, plan)
            numbers = {
                name: getattr(result, name) for name in ("n", "num_planned", "mean", "low", "high", "sd", "reason")
            }
            rows.append({"arm": arm.name, "metric": metric, **numbers})
    return pd.DataFrame(rows)


def comparison_table(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return arm × accuracy: mean ± half-width of the 95 % t interval over units, and how many there are."""
    status = confirm_status(runs, plan).to_dict(orient="index")
    rows = []
    for arm in plan.arms:
        results = {h: _arm_result(runs, arm, c, plan) for c, h in comparison_columns(runs, plan).items()}
        least = min(results.values(), key=lambda result: result.n)
        lost = [f"{status[arm.name][state]} {state}" for state in _STATES if status[arm.name][state]]
        n = ", ".join([_n(least).removeprefix("n="), *lost])
        rows.append({"arm": arm.name, **{heading: _accuracy(r) for heading, r in results.items()}, "n": n})
    return pd.DataFrame(rows)


def contrasts_table(runs: pd.DataFrame, plan: Plan, metric: str | None = None) -> pd.DataFrame:
    """Return one row per declared contrast, on the primary metric unless `metric` names another column."""
    return pd.DataFrame(
        [_contrast_row(contrast) for contrast in declared_contrasts(runs, plan, metric)],
        columns=["contrast", "Δ (pp)", "95 % CI", "p", "p Holm", "wins", "verdict"],
    )


def winners_table(trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the parameters each arm is confirmed with, and which of them lie at the edge of their range."""
    rows = []
    for arm in plan.arms:
        params = winning_parameters(arm, plan, trials)
        best = winning_trial(trials, arm.name) if arm.is_tuned else None
        shown = ", ".join(f"{name.rpartition('.')[2]} = {value:.3g}" for name, value in (params or {}).items())
        edges = [
            name.rpartition(".")[2] for name, value in (params or {}).items() if _is_at_edge(arm.space[name], value)
        ]
        rows.append(
            {
                "arm": arm.name,
                "trial": "–" if best is None else str(best["number"]),
                "objective": "–" if best is None else f"{best['objective']:.2f}",
                "at edge of range": ", ".join(edges) or "–",
                "parameters": "no winner yet" if params is None else shown + _origin(arm),
            }
        )
    return pd.DataFrame(rows)


def budget_table(runs: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return what each arm cost and how its runs ended; trials are counted as ended / planned."""
    rows = []
    for arm in plan.arms:
        own, searched = runs[runs["arm"] == arm.name], trials[trials["arm"] == arm.name]
        ended = int((searched["state"] != "running").sum())
        counts = {state.value: str((own["status"] == state).sum()) for state in _STATES}
        cpu = {phase: own.loc[own["phase"] == phase, "cpu_s"].sum() for phase in (Phase.TUNE, Phase.CONFIRM)}
        rows.append(
            {
                "arm": arm.name,
                "trials": f"{ended}/{plan.tune.trials_per_arm}" if arm.is_tuned else "–",
                "runs": str(len(own)),
                **counts,
                "attempts": str(own["num_attempts"].sum()),
                "interrupted": _counted(own["interruptions"]),
                "tune CPU s": f"{cpu[Phase.TUNE]:.0f}",
                "confirm CPU s": f"{cpu[Phase.CONFIRM]:.0f}",
            }
        )
    return pd.DataFrame(rows)


def _counted(interruptions: pd.Series) -> str:
    """How often which class of endings interrupted an arm's runs."""
    counts = Counter(kind for text in interruptions for kind in text.split("; ") if kind)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "–"


def _arm_result(runs: pd.DataFrame, arm: Arm, metric: str, plan: Plan) -> PairedResult:
    values = unit_values(runs, arm.name, metric, plan)
    return paired_result(values if arm.continued or plan.unit == "base" else values.iloc[:1])


def _accuracy(result: PairedResult) -> str:
    if not result.is_complete:
        return _n(result)
    return (
        f"{result.mean:.2f} ± {result.half_width:.2f}" if result.has_interval else f"{result.mean:.2f} ({_n(result)})"
    )


def _n(result: PairedResult) -> str:
    return f"n={result.n}" if result.is_complete else f"n={result.n}/{result.num_planned}"


def _contrast_row(contrast: Contrast) -> dict[str, str]:
    result = contrast.result
    return {
        "contrast": contrast.label,
        "Δ (pp)": signed(result.mean) if result.is_complete else _n(result),
        "95 % CI": f"[{signed(result.low)}, {signed(result.high)}]" if result.has_interval else "–",
        "p": _p(result.p),
        "p Holm": _p(contrast.p_holm),
        "wins": f"{result.wins}/{result.n}" if result.is_complete else "–",
        "verdict": contrast.verdict,
    }


def _p(p: float) -> str:
    return "–" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _fraction(column: str) -> float:
    found = re.search(r"top1_([\d.]+)pct$", column)
    return float(found[1]) if found else math.inf


def _heading(column: str, primary: str) -> str:
    _, evaluation, metric = column.split("/")
    if math.isfinite(_fraction(column)):
        short = f"{_fraction(column):g} %"
    else:
        short = metric.removeprefix("top1").removeprefix("_")
    if evaluation == primary.split("/")[1] and short:
        return short
    return f"{_NAMES.get(evaluation, evaluation)} {short}".strip()


def _is_at_edge(bounds: FloatRange, value: float) -> bool:
    low, high, at = (math.log(x) if bounds.log else x for x in (bounds.low, bounds.high, value))
    return not _EDGE <= (at - low) / (high - low) <= 1 - _EDGE


def _origin(arm: Arm) -> str:
    if not arm.continued:
        return "not continued"
    if arm.inherits:
        return f" (from {arm.parent})"
    return "" if arm.space else "nothing tuned"
