"""Paired comparisons of arms: a difference per unit, t intervals, two tests, Holm's correction, "not notable".

The unit is the base seed (`unit: base`): continuation seeds are averaged within their base before anything
else happens. With `unit: continuation` all runs share one checkpoint and every continuation seed is a unit. A
pair is never dropped silently: when a unit of either arm is missing, the result has a reason and no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pandas as pd
from scipy import special

from analysis.asked import require_arm, require_metric
from analysis.columns import require, require_numbers
from analysis.frames import RunStatus
from analysis.power import detectable_difference
from analysis.sign_flip import floor, sign_flip_p
from study.errors import StudyError
from study.plan.model import Phase, Plan

CONFIDENCE = 0.95
ALPHA = 0.05
NAN = math.nan
_NO_SPREAD = 1e-9  # relative to the largest value: what is left of rounding when all values are equal


class PairedTest(StrEnum):
    """How a p-value comes about; the first is what a study declares unless somebody chooses otherwise."""

    PAIRED_T = "paired t"  # exact when the differences are normal
    SIGN_FLIP = "sign-flip"  # exact when they are symmetric about zero; never below 2 / 2^n


def declared_test(plan: Plan) -> PairedTest:
    """The test that the plan declares."""
    return PairedTest.SIGN_FLIP if plan.test == "sign_flip" else PairedTest.PAIRED_T


@dataclass(frozen=True)
class PairedResult:
    """A one-sample t analysis of paired differences; also used for one arm's values.

    Attributes:
        n: units that have a value.
        num_planned: units that the plan asks for.
        mean: over the units that have a value; see `is_complete`.
        sd: sample standard deviation; NaN unless n >= 2.
        low: lower end of the two-sided 95 % t interval; NaN when `reason` is not empty.
        high: upper end.
        upper: one-sided 95 % upper bound of the mean.
        t: the t statistic of mean = 0.
        p: its two-sided p-value.
        p_sign_flip: see `analysis.sign_flip.sign_flip_p`.
        wins: units whose difference is above zero.
        effect: standardised effect of paired data, mean / sd (Cohen's d_z).
        reason: why there is no interval, or "".
    """

    n: int
    num_planned: int
    mean: float = NAN
    sd: float = NAN
    low: float = NAN
    high: float = NAN
    upper: float = NAN
    t: float = NAN
    p: float = NAN
    p_sign_flip: float = NAN
    wins: int = 0
    effect: float = NAN
    reason: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether there are an interval and a p-value to judge by."""
        return not self.reason

    @property
    def is_complete(self) -> bool:
        """Whether every planned unit has a value; only then does the mean compare like with like."""
        return self.n == self.num_planned

    @property
    def p_floor(self) -> float:
        """The smallest sign-flip p-value that this many units can give; NaN without one."""
        return NAN if math.isnan(self.p_sign_flip) else floor(self.n)

    @property
    def detectable(self) -> float:
        """The true mean found in four of five such studies, see `analysis.power`; NaN without an interval."""
        return detectable_difference(self.sd, self.n) if self.has_interval else NAN

    def p_of(self, test: PairedTest) -> float:
        """The two-sided p-value of `test`."""
        return self.p if test is PairedTest.PAIRED_T else self.p_sign_flip

    def without_p(self) -> PairedResult:
        """The same with an interval but no test: for metrics that no hypothesis was declared on."""
        return replace(self, t=NAN, p=NAN, p_sign_flip=NAN)

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def unit_values(runs: pd.DataFrame, arm: str, metric: str, plan: Plan) -> pd.Series[float]:
    """Return one value per unit of `arm`: NaN where any run of the unit is not completed or not finite.

    Args:
        runs: see `analysis.frames.runs_frame`.
        arm: an arm of the plan.
        metric: column of `runs`.
        plan: says which units there must be.

    Returns:
        Indexed by `base_seed`, or by `continuation_seed` when that is the unit.

    Raises:
        StudyError: the unit is the continuation seed and there are several base seeds, or two rows of `runs`
            stand for the same arm and seeds.
        ColumnsError: `runs` lacks a column, or `metric` holds something else than numbers.
        UnknownNameError: the plan has no such arm, or no run has such a metric.
    """
    require(runs)
    chosen_arm = require_arm(plan, arm)
    require_metric(runs, metric, plan)
    require_numbers(runs, metric)
    bases = list(plan.confirm.base_seeds)
    seeds = list(plan.continuation_seeds(chosen_arm, Phase.CONFIRM))
    chosen = (runs["phase"] == Phase.CONFIRM) & (runs["arm"] == arm) & (runs["status"] == RunStatus.COMPLETED)
    found: dict[tuple[int, int], float] = {}
    if metric in runs.columns:
        cells = zip(runs["base_seed"][chosen], runs["continuation_seed"][chosen], strict=True)
        found = dict(zip(cells, runs[metric][chosen], strict=True))
        if len(found) < chosen.sum():
            raise StudyError(f"arm {arm!r} has several completed confirm runs with the same seeds")
    values = pd.DataFrame(
        [[found.get((base, seed), NAN) for seed in seeds] for base in bases],
        index=pd.Index(bases, name="base_seed"),
        columns=pd.Index(seeds, name="continuation_seed"),
        dtype=float,
    )
    values = values.where(np.isfinite(values))
    if plan.unit == "base":
        return values.mean(axis="columns", skipna=False)
    if len(bases) != 1:
        raise StudyError(f"unit: continuation compares runs of one checkpoint, but the plan has base seeds {bases}")
    return values.iloc[0]


def paired_differences(runs: pd.DataFrame, contrast: tuple[str, str], metric: str, plan: Plan) -> pd.Series[float]:
    """Return left − right per unit, NaN where either arm has no value; arguments as for `unit_values`."""
    left, right = contrast
    return unit_values(runs, left, metric, plan) - unit_values(runs, right, metric, plan)


def paired_result(values: pd.Series[float], missing: str = "") -> PairedResult:
    """Analyse one value per unit.

    Args:
        values: NaN marks a missing unit.
        missing: says why units are missing, for `reason`.
    """
    present = np.asarray(values.dropna(), dtype=np.float64)
    n, num_planned = len(present), len(values)
    if n == 0:
        return PairedResult(n, num_planned, reason=missing or f"n=0/{num_planned}")
    mean, wins = float(present.mean()), int((present > 0).sum())
    sd = float(present.std(ddof=1)) if n > 1 else NAN
    partial = PairedResult(n, num_planned, mean, sd, wins=wins)
    if n < num_planned:
        return replace(partial, reason=missing or f"n={n}/{num_planned}")
    if n == 1:
        return replace(partial, reason="n=1: no interval")
    largest = np.abs(present).max()
    if largest <= _NO_SPREAD:
        return replace(partial, mean=0.0, sd=0.0, wins=0, p=1.0, p_sign_flip=1.0, reason="all values are zero")
    if sd <= _NO_SPREAD * largest:
        return replace(partial, reason="all values are equal: no spread to judge by")
    error = sd / math.sqrt(n)
    half = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
    return replace(
        partial,
        low=mean - half,
        high=mean + half,
        upper=mean + float(special.stdtrit(n - 1, CONFIDENCE)) * error,
        t=mean / error,
        p=2 * float(special.stdtr(n - 1, -abs(mean / error))),
        p_sign_flip=sign_flip_p(present),
        effect=mean / sd,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of one declared family by Holm's step-down method.

    A contrast without a p-value (NaN) stays without one but still counts as a member of the family: losing a
    run must not make the remaining tests easier to pass.
    """
    adjusted, largest = [NAN] * len(p_values), 0.0
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[i] = largest
    return adjusted


def is_not_notable(result: PairedResult, margin_pp: float | None) -> bool | None:
    """Whether the improvement is below `margin_pp`: the one-sided 95 % upper bound of the mean lies under it.

    Returns:
        None when there is no margin or no interval.
    """
    if margin_pp is None or not result.has_interval:
        return None
    return bool(result.upper < margin_pp)
