"""What a study found, as DataFrames of strings for `analysis.render`. What cannot be trusted says why.

What it took is in `analysis.audit`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from analysis.audit import budget_table
from analysis.contrasts import FEW_UNITS, Contrast, confirm_status, declared_contrasts, drift, primary_column, used_runs
from analysis.frames import RunStatus
from analysis.power import units_needed
from analysis.render import signed
from analysis.statistics import PairedResult, PairedTest, paired_result, unit_values
from analysis.winners import winning_parameters, winning_trial
from study.plan.model import Arm, Plan
from study.plan.space import FloatRange

__all__ = [
    "budget_table", "comparison_columns", "comparison_frame", "comparison_table", "components_table", "contrasts_table",
    "secondary_table", "winners_table",
]  # fmt: skip

_EDGE = 0.05  # of a range: a winner this near to a bound suggests that the range was too narrow
_NAMES = {"linear_probe": "probe", "knn": "kNN"}
_BEFORE = (
    "contrast", "Δ (pp)", "95 % CI", "n", "wins", "effect", "p", "p sign-flip", "floor", "p Holm", "MDD (pp)",
)  # fmt: skip
_STATES = (RunStatus.DIVERGED, RunStatus.FAILED, RunStatus.INCOMPLETE)


def comparison_columns(runs: pd.DataFrame, plan: Plan) -> dict[str, str]:
    """Return the accuracies to compare, column of `runs` → heading, the primary evaluation's first."""
    primary = primary_column(plan)
    names = [primary.split("/")[1], *(e.name for e in plan.evaluations)]
    found = {c for c in runs.columns if re.match(r"test/[^/]+/top1", c)} | {primary}
    chosen = sorted(found, key=lambda c: (names.index(c.split("/")[1]), _fraction(c), c))
    return {column: _heading(column, primary) for column in chosen}


def comparison_frame(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return the numbers behind `comparison_table`: one row per arm and metric, unrounded, and their runs."""
    rows, used = [], used_runs(runs)
    for arm in plan.arms:
        for metric in comparison_columns(runs, plan):
            result = _arm_result(runs, arm, metric, plan)
            numbers = {
                name: getattr(result, name) for name in ("n", "num_planned", "mean", "low", "high", "sd", "reason")
            }
            run_ids = " ".join(used.get(arm.name, ()))
            rows.append({"arm": arm.name, "metric": metric, **numbers, "run_ids": run_ids})
    return pd.DataFrame(rows)


def comparison_table(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return arm × accuracy: mean ± half-width of the 95 % t interval over units, and how many there are."""
    status, drifted = confirm_status(runs, plan).to_dict(orient="index"), drift(runs, plan)
    rows = []
    for arm in plan.arms:
        results = {h: _arm_result(runs, arm, c, plan) for c, h in comparison_columns(runs, plan).items()}
        least = min(results.values(), key=lambda result: result.n)
        lost = [f"{status[arm.name][state]} {state}" for state in _STATES if status[arm.name][state]]
        few = "few units" if least.has_interval and least.n < FEW_UNITS else ""
        n = ", ".join(filter(None, [_n(least).removeprefix("n="), *lost, few, drifted[arm.name]]))
        rows.append({"arm": arm.name, **{heading: _accuracy(r) for heading, r in results.items()}, "n": n})
    return pd.DataFrame(rows)


def contrasts_table(
    runs: pd.DataFrame, plan: Plan, metric: str | None = None, *, test: PairedTest = PairedTest.PAIRED_T
) -> pd.DataFrame:
    """Return one row per declared contrast, on the primary metric unless `metric` names another column.

    `p` is that of the paired t test, `p sign-flip` is exact, and never below `floor`; `p Holm` is corrected from that
    of `test`. `MDD` is the difference found in four of five such studies, at α = 0.05 without correction; the column
    after it says how many units would find the equivalence margin as surely.
    """
    margin = plan.equivalence_margin_pp
    rows = [_contrast_row(contrast, margin) for contrast in declared_contrasts(runs, plan, metric, test=test)]
    return pd.DataFrame(rows, columns=[*_BEFORE, *([f"n for {margin:g} pp"] if margin else []), "verdict"])


def secondary_table(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return contrast × every metric but the primary one: mean difference and 95 % interval; nothing is tested."""
    columns = {c: h for c, h in comparison_columns(runs, plan).items() if c != primary_column(plan)}
    families = {heading: declared_contrasts(runs, plan, column) for column, heading in columns.items()}
    rows = []
    for number, pair in enumerate(plan.contrasts):
        found = {heading: family[number] for heading, family in families.items()}
        n = min((c.result.n for c in found.values()), default=0)
        doubt = next((c.doubt for c in found.values() if c.doubt), "")
        cells = {heading: _difference(c.result) for heading, c in found.items()}
        rows.append({"contrast": " − ".join(pair), **cells, "n": f"{n}, {doubt}" if doubt else str(n)})
    return pd.DataFrame(rows, columns=["contrast", *columns.values(), "n"])


def components_table(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return what each part of a criterion is worth: one row per arm made from another, on the primary metric.

    The difference is that of the complete arm minus the one without the part. Where the plan declares that contrast,
    it has its corrected p-value and its verdict; elsewhere it is secondary, and has an interval alone.
    """
    children = [arm for arm in plan.arms if arm.parent is not None]
    pairs = [(str(arm.parent), arm.name) for arm in children]
    declared = {(c.left, c.right): c for c in declared_contrasts(runs, plan)}
    others = declared_contrasts(runs, replace(plan, contrasts=tuple(pairs)), test=None)
    rows = []
    for arm, pair, undeclared in zip(children, pairs, others, strict=True):
        contrast = declared.get(pair, undeclared)
        rows.append(
            {
                "arm": arm.name,
                "differs by": _differs_by(arm),
                "accuracy": _accuracy(_arm_result(runs, arm, primary_column(plan), plan)),
                "Δ (pp)": signed(contrast.result.mean) if contrast.result.is_complete else _n(contrast.result),
                "95 % CI": _interval(contrast.result),
                "p Holm": _p(contrast.p_holm),
                "n": str(contrast.result.n),
                "verdict": contrast.verdict,
            }
        )
    return pd.DataFrame(rows, columns=["arm", "differs by", "accuracy", "Δ (pp)", "95 % CI", "p Holm", "n", "verdict"])


def winners_table(trials: pd.DataFrame, plan: Plan, lost: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the parameters each arm is confirmed with, and which of them lie at the edge of their range.

    Args:
        trials: see `analysis.frames.trials_frame`.
        plan: the study.
        lost: arm → why it has no result; see `study.plan.fruitless.without_result`.
    """
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
                "parameters": (lost or {}).get(arm.name, "no winner yet") if params is None else shown + _origin(arm),
            }
        )
    return pd.DataFrame(rows)


def _arm_result(runs: pd.DataFrame, arm: Arm, metric: str, plan: Plan) -> PairedResult:
    values = unit_values(runs, arm.name, metric, plan)
    return paired_result(values)


def _accuracy(result: PairedResult) -> str:
    if not result.is_complete:
        return _n(result)
    return (
        f"{result.mean:.2f} ± {result.half_width:.2f}" if result.has_interval else f"{result.mean:.2f} ({_n(result)})"
    )


def _n(result: PairedResult) -> str:
    return f"n={result.n}" if result.is_complete else f"n={result.n}/{result.num_planned}"


def _contrast_row(contrast: Contrast, margin_pp: float | None) -> dict[str, str]:
    result = contrast.result
    row = {
        "contrast": contrast.label,
        "Δ (pp)": signed(result.mean) if result.is_complete else _n(result),
        "95 % CI": _interval(result),
        "n": str(result.n),
        "wins": f"{result.wins}/{result.n}" if result.is_complete else "–",
        "effect": _number(result.effect, signed),
        "p": _p(result.p),
        "p sign-flip": _p(result.p_sign_flip),
        "floor": _p(result.p_floor),
        "p Holm": _p(contrast.p_holm),
        "MDD (pp)": _number(result.detectable, lambda value: f"{value:.2f}"),
        "verdict": contrast.verdict,
    }
    if margin_pp:
        needed = units_needed(margin_pp, result.sd) if result.has_interval else None
        row[f"n for {margin_pp:g} pp"] = "–" if needed is None else str(needed)
    return row


def _interval(result: PairedResult) -> str:
    return f"[{signed(result.low)}, {signed(result.high)}]" if result.has_interval else "–"


def _difference(result: PairedResult) -> str:
    if not result.is_complete:
        return _n(result)
    return (
        f"{signed(result.mean)} {_interval(result)}" if result.has_interval else f"{signed(result.mean)} ({_n(result)})"
    )


def _number(value: float, text: Callable[[float], str]) -> str:
    return "–" if math.isnan(value) else text(value)


def _differs_by(arm: Arm) -> str:
    parts = [f"without {name}" for name in arm.dropped] + [f"{name} = {value}" for name, value in arm.swapped.items()]
    return ", ".join(parts) + (" (parent's parameters)" if arm.inherits else "")


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
