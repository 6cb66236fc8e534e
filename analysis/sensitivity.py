"""Where in its search space each arm was tried, and what came of it."""

from __future__ import annotations

import pandas as pd

from analysis.columns import PARAM_PREFIX
from analysis.winners import winning_trial
from study.plan.model import Arm, Plan
from study.plan.space import FloatRange

_AXIS_COLUMNS = ("name", "low", "high", "log")
COLUMNS = (
    "arm", "number", "x", "y", "objective", "is_winner",
    *(f"{axis}_{name}" for axis in "xy" for name in _AXIS_COLUMNS),
)  # fmt: skip


def sensitivity_frame(trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Return one row per ended trial of every tuned arm: `COLUMNS`.

    `x` and `y` are the values of its first two parameters, those of the criterion first; `x_name`, `x_low`, `x_high`
    and `x_log` their range. An arm with one parameter has `y` NaN and `y_name` "". `objective` is NaN for a trial
    that diverged or was pruned.

    Args:
        trials: see `analysis.frames.trials_frame`.
        plan: says which arms were searched, and over what.
    """
    rows = []
    for arm in plan.arms:
        if not arm.is_tuned:
            continue
        own = trials[(trials["arm"] == arm.name) & (trials["state"] != "running")]
        x, y = _axes(arm)
        best = winning_trial(trials, arm.name)
        for _, trial in own.iterrows():
            rows.append(
                {
                    "arm": arm.name,
                    "number": trial["number"],
                    "objective": trial["objective"],
                    "is_winner": best is not None and bool(trial["number"] == best["number"]),
                    "x": trial.get(PARAM_PREFIX + x),
                    "y": trial.get(PARAM_PREFIX + y),
                    **_range("x", x, arm.space[x]),
                    **_range("y", y, arm.space.get(y)),
                }
            )
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"x": float, "y": float, "objective": float})


def _axes(arm: Arm) -> tuple[str, str]:
    names = sorted(arm.space, key=lambda name: name.startswith("continuation."))  # stable
    return names[0], names[1] if len(names) > 1 else ""


def _range(axis: str, name: str, bounds: FloatRange | None) -> dict[str, object]:
    values = (name, bounds.low, bounds.high, bounds.log) if bounds else (name, 0.0, 1.0, False)
    return {f"{axis}_{key}": value for key, value in zip(_AXIS_COLUMNS, values, strict=True)}
