"""Frames behind the figures of accuracy: per unit, against label fraction, against continued epochs."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
from scipy import special

from analysis.asked import require_metric
from analysis.frames import RunStatus
from analysis.statistics import CONFIDENCE, PairedResult, paired_differences, paired_result, unit_values
from study.plan.model import Phase, Plan

_FRACTION = re.compile(r"test/(?P<evaluation>[^/]+)/.*?(?P<percent>\d+(?:\.\d+)?)pct$")
_EPOCHS = "param/continuation.epochs"
INTERVAL_COLUMNS = ("mean", "low", "high", "n", "num_planned", "reason")


def units_frame(runs: pd.DataFrame, plan: Plan, metric: str) -> pd.DataFrame:
    """Return one row per arm and unit: `arm`, `unit` (a seed), `value` of the column `metric`, NaN where missing."""
    rows = [
        (arm.name, unit, value)
        for arm in plan.arms
        for unit, value in unit_values(runs, arm.name, metric, plan).items()
    ]
    return pd.DataFrame(rows, columns=["arm", "unit", "value"])


def label_fractions_frame(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return accuracy and advantage of every arm at every label fraction of the primary metric's evaluation.

    Columns: `arm`, `label_percent`, `mean`, `low`, `high`, `n`, `num_planned`, `reason` of the units' values, and the
    same with the prefix `delta_` of the paired differences to the reference; 95 % t intervals, NaN with a `reason`.
    """
    evaluation = plan.primary.split("/")[0]
    found = [m for m in map(_FRACTION.match, map(str, runs.columns)) if m and m["evaluation"] == evaluation]
    rows = []
    for match in sorted(found, key=lambda m: float(m["percent"])):
        for arm in plan.arms:
            values = unit_values(runs, arm.name, match[0], plan)
            differences = paired_differences(runs, (arm.name, plan.reference), match[0], plan)
            rows.append(
                {
                    "arm": arm.name,
                    "label_percent": float(match["percent"]),
                    **_interval(paired_result(values)),
                    **_interval(paired_result(differences), "delta_"),
                }
            )
    deltas = [f"delta_{name}" for name in INTERVAL_COLUMNS]
    return pd.DataFrame(rows, columns=["arm", "label_percent", *INTERVAL_COLUMNS, *deltas])


def epochs_frame(runs: pd.DataFrame, plan: Plan, metric: str) -> pd.DataFrame:
    """Return accuracy against continued epochs: `arm`, `epochs`, `n`, `mean`, `low`, `high`.

    Runs of an arm are grouped by the epochs they were continued for; those of the arm that is not continued by 0.
    Continuation seeds are averaged within their base before the 95 % t interval over bases is taken; when
    the unit is the continuation seed, over those. Runs that are not completed do not count: `n` says how many units do.
    """
    columns = ["arm", "epochs", "n", "mean", "low", "high"]
    require_metric(runs, metric, plan)
    if metric not in runs.columns:
        return pd.DataFrame(columns=columns)
    done = runs[(runs["phase"] == Phase.CONFIRM) & (runs["status"] == RunStatus.COMPLETED)]
    done = done[done["arm"].isin([arm.name for arm in plan.arms])]
    declared = pd.Series(plan.continuation.epochs, index=done.index)
    epochs = done[_EPOCHS].fillna(declared) if _EPOCHS in done.columns else declared
    epochs = epochs.where(done["arm"].map(lambda name: plan.arm(name).continued), 0)
    unit = done["base_seed"] if plan.unit == "base" else done["continuation_seed"]
    tidy = pd.DataFrame({"arm": done["arm"], "epochs": epochs.astype(float), "unit": unit, "value": done[metric]})
    return intervals(tidy[np.isfinite(tidy["value"].astype(float))], ["arm", "epochs"])[columns]


def intervals(values: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Average `value` per `unit` within each group, then return `n`, `mean` and 95 % t interval over the units.

    Columns: `by`, `n`, `mean`, `low`, `high`; the interval is NaN for one unit.
    """
    units = values.astype({"value": float}).groupby([*by, "unit"], sort=False)["value"].mean()
    stat = units.groupby(level=by, sort=True).agg(["count", "mean", "std"]).reset_index()
    n = stat["count"].to_numpy()
    quantile = np.where(n > 1, special.stdtrit(np.maximum(n - 1, 1), (1 + CONFIDENCE) / 2), math.nan)
    half = quantile * stat["std"].to_numpy(dtype=float) / np.sqrt(n)
    return stat.assign(n=n, low=stat["mean"] - half, high=stat["mean"] + half)[[*by, "n", "mean", "low", "high"]]


def _interval(result: PairedResult, prefix: str = "") -> dict[str, float | str]:
    return {prefix + name: getattr(result, name) for name in INTERVAL_COLUMNS}
