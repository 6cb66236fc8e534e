"""Which parameters a search chose, and whether a run was trained with them.

A study directory may still hold confirm runs of an earlier winner, because a search that gained trials may
have found a better one. Such runs are nobody's result; `has_parameters` tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.columns import PARAM_PREFIX
from study.plan.expand import inherited
from study.plan.model import Arm, Plan

_CRITERION, _RECIPE = "criterion", ("epochs", "batch_size", "optimizer")


def winning_trial(trials: pd.DataFrame, arm: str) -> pd.Series | None:
    """Return the completed trial with the highest objective, of equals the first; None when there is none."""
    own = trials[(trials["arm"] == arm) & (trials["state"] == "complete") & trials["objective"].notna()]
    if own.empty:
        return None
    return own.sort_values(["objective", "number"], ascending=[False, True]).iloc[0]


def winning_parameters(arm: Arm, plan: Plan, trials: pd.DataFrame) -> dict[str, float] | None:
    """Return what the confirm runs of `arm` must be trained with.

    Args:
        arm: an arm of `plan`.
        plan: the study.
        trials: see `analysis.frames.trials_frame`.

    Returns:
        Dotted name → value, e.g. `criterion.weight`; empty when nothing of the arm is tuned; None when its
        search (or, for an arm that inherits, its parent's) has no completed trial yet.
    """
    if not arm.continued:
        return {}
    if arm.inherits and arm.parent is not None:
        winner = winning_parameters(plan.arm(arm.parent), plan, trials)
        return None if winner is None else inherited(arm, winner)
    if not arm.space:
        return {}
    best = winning_trial(trials, arm.name)
    return None if best is None else {name: float(best[PARAM_PREFIX + name]) for name in arm.space}


def has_parameters(training: Mapping[str, Any], params: Mapping[str, float]) -> bool:
    """Whether a run was trained with `params`.

    Args:
        training: `training` of the run's spec.
        params: dotted name → value; `criterion.<field>` is looked up in the criterion's parameters,
            `continuation.<field>` (e.g. `continuation.optimizer.lr`) in the training's recipe.
    """
    return holds(tunable_values(training), params)


def holds(actual: Mapping[str, Any], params: Mapping[str, float]) -> bool:
    """Whether `actual`, see `tunable_values`, has all of `params`."""
    return all(name in actual and same_value(actual[name], value) for name, value in params.items())


def tunable_part(training: Mapping[str, Any]) -> dict[str, Any]:
    """What `tunable_values` needs of a training: a fraction of it, where thousands are held in memory."""
    return {name: training[name] for name in (_CRITERION, *_RECIPE) if name in training}


def tunable_values(training: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted name → value of a run's criterion and recipe, named as a search names them."""
    recipe = {name: training[name] for name in _RECIPE if name in training}
    criterion = training[_CRITERION]
    strength = {"strength": criterion["strength"]}
    return {**_flat("criterion", criterion["params"]), **strength, **_flat("continuation", recipe)}


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        dotted = f"{prefix}.{name}"
        flat |= _flat(dotted, value) if isinstance(value, Mapping) else {dotted: value}
    return flat


def same_value(actual: Any, value: float) -> bool:
    """Whether two values of a parameter are equal, whatever became of their last bit."""
    if isinstance(actual, int | float):
        return math.isclose(actual, value, rel_tol=1e-9, abs_tol=0.0)
    return bool(actual == value)
