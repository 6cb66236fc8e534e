"""Which tuned parameter the objective of a search depends on.

The measure is the share of the variance of the objective's ranks that a parabola in the parameter's ranks explains:
R² of a regression on rank and squared rank. Ranks make it indifferent to the scale of parameter and objective, and to
outliers such as diverged trials' neighbours; the square lets it see an optimum inside the range, which a correlation
misses. It looks at one parameter at a time: interactions are not seen, and shares need not add up to one.

Chance explains something too. For independent data R² of k = 2 predictors and n trials has the 95 % quantile
k F / (k F + n - k - 1), with F the 95 % quantile of the F distribution with k and n - k - 1 degrees of freedom (exact
for normal data; Draper and Smith, "Applied Regression Analysis", ch. 4; for ranks an approximation). A parameter below
it is not shown to matter.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.columns import PARAM_PREFIX
from study.plan.model import Plan

MIN_TRIALS = 5
COLUMNS = ("arm", "parameter", "num_trials", "importance", "chance", "direction", "reason")
_PREDICTORS = 2


def importance_frame(trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return one row per tuned arm and parameter: `COLUMNS`.

    `importance` and `chance` (its 95 % quantile for a parameter without effect) are in [0, 1]; `direction` is
    Spearman's rank correlation. All three are NaN where `reason` says why.

    Args:
        trials: see `analysis.frames.trials_frame`; trials without an objective do not count.
        plan: says which arms were searched, and over what.
    """
    rows: list[dict[str, object]] = []
    for arm in plan.arms:
        own = trials[(trials["arm"] == arm.name) & np.isfinite(trials["objective"].astype(float))]
        for name in arm.space if arm.is_tuned else ():
            column = PARAM_PREFIX + name
            known = own[own[column].notna()] if column in own.columns else own.iloc[:0]
            rows.append({"arm": arm.name, "parameter": name, "num_trials": len(known), **_judged(known, column)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def explained(parameter: NDArray[np.float64], objective: NDArray[np.float64]) -> float:
    """Return R² of the objective's ranks regressed on the parameter's ranks and their squares."""
    x, y = stats.rankdata(parameter), stats.rankdata(objective)
    x = (x - x.mean()) / max(float(np.ptp(x)), 1.0)
    design = np.column_stack([np.ones_like(x), x, x**2])
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1 - ((y - fitted) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def chance_level(num_trials: int) -> float:
    """Return the 95 % quantile of `explained` for a parameter without effect; see the module."""
    rest = num_trials - _PREDICTORS - 1
    ratio = _PREDICTORS * float(stats.f.ppf(0.95, _PREDICTORS, rest))
    return ratio / (ratio + rest)


def _judged(known: pd.DataFrame, column: str) -> dict[str, object]:
    nothing = {"importance": math.nan, "chance": math.nan, "direction": math.nan}
    if len(known) < MIN_TRIALS:
        return {**nothing, "reason": f"{len(known)} trial(s) with an objective, needs {MIN_TRIALS}"}
    x, y = known[column].to_numpy(float), known["objective"].to_numpy(float)
    if not np.ptp(x) or not np.ptp(y):
        return {**nothing, "reason": f"all {'objectives' if np.ptp(x) else 'values of the parameter'} are equal"}
    direction = float(stats.spearmanr(x, y).statistic)
    return {"importance": explained(x, y), "chance": chance_level(len(x)), "direction": direction, "reason": ""}
