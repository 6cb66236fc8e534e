"""Which arms of a study came to nothing, by its frames; see `study.plan.fruitless` for what is said about them."""

from __future__ import annotations

import pandas as pd

from analysis.columns import PARAM_PREFIX
from analysis.records import RunStatus
from analysis.winners import winning_parameters, winning_trial
from study.plan.fruitless import Fruitless, Loss, fruitless_confirmation, fruitless_search
from study.plan.model import Arm, Phase, Plan

_OUTCOMES = (RunStatus.DIVERGED, RunStatus.PRUNED)
_MEMORY = "memory:"


def fruitless_arms(everything: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> list[Fruitless]:
    """Return the arms whose search is over without a winner, and those of whose confirming runs none has a value.

    Args:
        everything: see `analysis.frames.StudyFrames`.
        trials: see `analysis.frames.trials_frame`.
        plan: the study.
    """
    tuned = [arm for arm in plan.arms if arm.is_tuned]
    lost = [arm for arm in tuned if _num_ended(trials, arm) >= plan.tune.trials_per_arm and _has_no_winner(trials, arm)]
    failures = dict(zip(everything["run_id"], everything["failure"], strict=True))
    found = [fruitless_search(plan, arm, _losses(trials, arm, failures), for_all=lost == tuned) for arm in lost]
    confirm = everything[(everything["phase"] == Phase.CONFIRM) & (everything["unused"] == "")]
    for arm in plan.arms:
        own = confirm[confirm["arm"] == arm.name]
        planned = len(plan.confirm.base_seeds) * len(plan.continuation_seeds(arm, Phase.CONFIRM))
        is_outcome = own["status"].isin(_OUTCOMES) | own["failure"].str.startswith(_MEMORY)
        if len(own) == planned and is_outcome.all():
            params = winning_parameters(arm, plan, trials) or {}
            found.append(fruitless_confirmation(plan, arm, [Loss(params, str(text)) for text in own["failure"]]))
    return found


def _num_ended(trials: pd.DataFrame, arm: Arm) -> int:
    return int(((trials["arm"] == arm.name) & trials["state"].isin(("complete", "infeasible"))).sum())


def _has_no_winner(trials: pd.DataFrame, arm: Arm) -> bool:
    return winning_trial(trials, arm.name) is None


def _losses(trials: pd.DataFrame, arm: Arm, failures: dict[str, str]) -> list[Loss]:
    losses = []
    for _, trial in trials[trials["arm"] == arm.name].sort_values("number").iterrows():
        params = {name: float(trial[PARAM_PREFIX + name]) for name in arm.space}
        found = [failures[run_id] for run_id in trial["run_ids"] if failures.get(run_id)]
        losses.append(Loss(params, found[0] if found else ""))
    return losses
