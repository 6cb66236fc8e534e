"""Which arms came to nothing, read from trials and runs; see `study.plan.fruitless` for what is said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.orchestration.decide import final_params
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.expand import tune_specs
from study.plan.fruitless import Fruitless, Loss, fruitless_confirmation, fruitless_search
from study.plan.model import Arm, Phase, Plan
from study.plan.spec import RunSpec
from study.search.trial import Trial, TrialState, winner

_OVER = (TrialState.COMPLETE, TrialState.INFEASIBLE)
Runs = Mapping[str, tuple[RunSpec, Phase, RunView]]


def fruitless_arms(plan: Plan, trials: Mapping[str, Sequence[Trial]], runs: Runs) -> list[Fruitless]:
    """The arms whose search is over without a winner, and those of whose confirming runs none has a value.

    Args:
        plan: the study.
        trials: the trials of every tuned arm.
        runs: every known run with its phase and view.
    """
    tuned = [arm for arm in plan.arms if arm.is_tuned]
    lost = [arm for arm in tuned if _is_over(plan, trials.get(arm.name, ())) and not winner(trials[arm.name])]
    found = [
        fruitless_search(
            plan, arm, [_loss(plan, arm, trial, runs) for trial in trials[arm.name]], for_all=lost == tuned
        )
        for arm in lost
    ]
    confirming: dict[str, list[RunView]] = {}
    for spec, phase, view in runs.values():
        if phase is Phase.CONFIRM:
            confirming.setdefault(str(spec.labels["arm"]), []).append(view)
    for arm in plan.arms:
        views = confirming.get(arm.name, [])
        if views and all(view.status is RunStatus.INFEASIBLE for view in views):
            params = final_params(plan, arm, trials) or {}
            found.append(fruitless_confirmation(plan, arm, [Loss(params, view.failure or "") for view in views]))
    return found


def _is_over(plan: Plan, trials: Sequence[Trial]) -> bool:
    return sum(trial.state in _OVER for trial in trials) >= plan.tune.trials_per_arm


def _loss(plan: Plan, arm: Arm, trial: Trial, runs: Runs) -> Loss:
    """A trial and the failure of the first of its runs that has one."""
    views = (runs[spec.run_id][2] for spec in tune_specs(plan, arm, trial.params) if spec.run_id in runs)
    return Loss(trial.params, next((view.failure for view in views if view.failure), ""))
