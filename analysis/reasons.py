"""Why a figure has nothing to show: sentences that are true of the study at hand."""

from __future__ import annotations

import pandas as pd

from analysis.frames import RunStatus
from study.plan.model import Phase, Plan


def why_no_contrasts(plan: Plan, chosen: str = "") -> str:
    """Say why there are no contrasts; `chosen` is what was wanted of them, e.g. `is with an ablation`."""
    if not plan.contrasts:
        return "the plan declares no contrasts"
    return f"none of the {len(plan.contrasts)} declared contrasts {chosen or 'was chosen'}"


def why_no_values(runs: pd.DataFrame, what: str) -> str:
    """Say why no confirm run has a value; `what` is the value, e.g. `an accuracy at a label fraction`."""
    confirm = runs[runs["phase"] == Phase.CONFIRM]
    if confirm.empty:
        return "no confirm run has started"
    counts = {str(status): int((confirm["status"] == status).sum()) for status in RunStatus}
    if counts[RunStatus.COMPLETED]:
        return f"none of the {counts[RunStatus.COMPLETED]} completed confirm runs has {what}"
    ended = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    return f"no confirm run is completed: {ended}"


def why_no_fractions(runs: pd.DataFrame, plan: Plan) -> str:
    """Say why there is no accuracy at a label fraction."""
    return why_no_values(runs, f"an accuracy of {plan.primary.split('/')[0]} at a label fraction")


def why_no_embeddings(runs: pd.DataFrame, plan: Plan, evaluation: str) -> str:
    """Say why there are no histograms and correlations of the projections."""
    planned = [planned.name for planned in plan.evaluations if planned.component.name == evaluation]
    if not planned:
        return f"the plan has no evaluation {evaluation}: add `{evaluation}: {{}}` to the evaluations of the sweep file"
    return why_no_values(runs, f"kept what {' or '.join(planned)} has seen")


def why_no_trials(trials: pd.DataFrame, plan: Plan) -> str:
    """Say why no trial has an objective."""
    if not any(arm.is_tuned for arm in plan.arms):
        return "nothing was tuned"
    ended = int((trials["state"] != "running").sum())
    if not ended:
        return "no trial has ended"
    return f"none of the {ended} trials that ended has an objective: they diverged, were pruned, or lacked memory"
