"""The thresholds below which a trial is ended early: the median rule.

D. Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, §3.4: a trial is stopped when its
objective is below the median of those of completed trials at the same point; as in Optuna's MedianPruner, not before
five trials are complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from study.orchestration.snapshot import RunView
from study.plan.expand import tune_specs
from study.plan.model import Plan
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState

STARTUP_TRIALS = 5


def pruning_request(
    plan: Plan, spec: RunSpec, trials: Sequence[Trial], runs: Mapping[str, RunView]
) -> dict[str, Any] | None:
    """What a run of a trial is judged by between its epochs; None when the plan prunes nothing.

    Compared are runs with the same seeds of the arm's completed trials: other seeds are better or worse for all.
    """
    if plan.tune.pruning == "none":
        return None
    name, metric = plan.tune.objective.split("/")
    (evaluation,) = [e for e in plan.evaluations if e.name == name]
    seen: dict[int, list[float]] = {}
    for trial in trials:
        if trial.state is not TrialState.COMPLETE:
            continue
        for other in tune_specs(plan, plan.arm(spec.labels["arm"]), trial.params):
            is_same = all(other.labels[seed] == spec.labels[seed] for seed in ("base_seed", "continuation_seed"))
            if is_same and other.run_id in runs:
                for epoch, value in runs[other.run_id].interim.items():
                    seen.setdefault(epoch, []).append(value)
    thresholds = {str(epoch): median(values) for epoch, values in seen.items() if len(values) >= STARTUP_TRIALS}
    return {
        "evaluation": evaluation.as_json(),
        "metric": metric,
        "thresholds": thresholds,
    }
