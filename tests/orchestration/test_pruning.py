"""The median rule, from what completed trials of the same arm and seeds had reached."""

from __future__ import annotations

from statistics import median

import optuna
import pytest

from study.orchestration.pruning import STARTUP_TRIALS, pruning_request
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.expand import tune_specs
from study.search.trial import Trial, TrialState
from tests.fakes.tiny_study import tiny_plan

PLAN = tiny_plan("tune.pruning=median", "tune.base_seeds=[101, 102]", "continuation.epochs=3")
ARM = PLAN.arm("uniformity")


def tried(values: list[float], state: TrialState = TrialState.COMPLETE) -> tuple[list[Trial], dict[str, RunView]]:
    """Trials whose runs reached these objectives after one epoch, ten more on the second base."""
    trials, runs = [], {}
    for number, value in enumerate(values):
        trial = Trial(number, {"criterion.weight": 0.1 * (number + 1)}, state, 1.0)
        trials.append(trial)
        for shift, spec in zip((0.0, 10.0), tune_specs(PLAN, ARM, trial.params), strict=True):
            runs[spec.run_id] = RunView(RunStatus.COMPLETED, interim={1: value + shift, 2: value + shift + 1})
    return trials, runs


def thresholds(values: list[float], state: TrialState = TrialState.COMPLETE) -> list[dict[str, float]]:
    trials, runs = tried(values, state)
    specs = tune_specs(PLAN, ARM, {"criterion.weight": 0.9})
    return [pruning_request(PLAN, spec, trials, runs)["thresholds"] for spec in specs]  # type: ignore[index]


def test_thresholds_are_medians_of_the_same_seeds() -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.0]
    assert thresholds(values) == [
        {"1": median(values), "2": median(values) + 1},
        {"1": median(values) + 10, "2": median(values) + 11},
    ]


def test_nothing_is_pruned_before_five_trials_are_complete() -> None:
    assert thresholds([1.0] * (STARTUP_TRIALS - 1)) == [{}, {}]
    assert thresholds([1.0] * 9, TrialState.INFEASIBLE) == [{}, {}]


@pytest.mark.parametrize("value", [0.5, 1.9, 2.9, 3.1, 8.0])
def test_the_rule_is_optunas(value: float) -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    search = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    for reached in values:
        trial = search.ask()
        trial.report(reached, 1)
        search.tell(trial, reached)
    trial = search.ask()
    trial.report(value, 1)
    assert trial.should_prune() == (value < thresholds(values)[0]["1"])


def test_a_plan_without_pruning_asks_for_none() -> None:
    plan = tiny_plan()
    spec = tune_specs(plan, plan.arm("uniformity"), {"criterion.weight": 0.9})[0]
    assert pruning_request(plan, spec, [], {}) is None
